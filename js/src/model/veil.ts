// Predict mode: what a view has shown so far stays as it is, node by node, until somebody has said what comes next.
//
// **Guarantees.** It stands between a lens and what the lens would show, so graph, list, timeline, counts and search of
// that view hide the same. Nodes that did not change are shown as they are, their times included. A run that has ended
// goes on while a node is hidden: that it is over would tell. Going back in a replay, opening and leaving one, and nodes
// that were added show what is there, and hide nothing.
import type { NodeRecord } from "../protocol.ts";
import type { Columns } from "./columns.ts";
import type { Seen } from "./lens.ts";
import { STATUS_COUNT, type Store } from "./store.ts";

export class Veil {
  /** Nodes that are not any more as they are shown. */
  readonly hidden = new Set<number>();
  asked = 0;
  right = 0;
  private readonly store: Store;
  private shown: Columns | null = null;
  private now: Seen | null = null;
  private time = Number.NaN;

  constructor(store: Store) {
    this.store = store;
  }

  /** What the lens shows in the place of `now`; `time` is that of the replay, NaN for the present. */
  readonly cover = (now: Seen, time: number): Seen => {
    const { shown } = this;
    const isJump =
      !shown ||
      shown.status.length !== now.status.length ||
      Number.isNaN(time) !== Number.isNaN(this.time) ||
      time < this.time;
    this.time = time;
    this.now = now;
    this.hidden.clear();
    const own = isJump ? copy(now) : shown;
    this.shown = own;
    if (!isJump) this.follow(now, own);
    return this.seen(now, own);
  };

  /** Nothing is held back any more; the score stays. */
  forget(): void {
    this.hidden.clear();
    this.shown = null;
    this.now = null;
  }

  /** How the node really is. */
  statusOf(node: number): number {
    return this.now?.status[node] ?? 0;
  }

  /** Says what a node has become, and shows it. True if that was right. */
  guess(node: number, status: number): boolean {
    const isRight = this.statusOf(node) === status;
    this.asked += 1;
    if (isRight) this.right += 1;
    this.reveal([node]);
    return isRight;
  }

  /** What is shown of these follows from now on; the lens has to look again. */
  reveal(nodes: Iterable<number>): void {
    const { now, shown } = this;
    for (const node of [...nodes]) {
      if (now && shown) put(shown, node, recordOf(now, node));
      this.hidden.delete(node);
    }
  }

  /** What is hidden stays, all else follows: by whole columns, since there may be many. */
  private follow(now: Seen, shown: Columns): void {
    const { status, attempt } = shown;
    const held: NodeRecord[] = [];
    for (let node = 0; node < status.length; node++) {
      const was = attempt[node] ?? 0;
      // The attempt comes after the status of a first picture: none is no other one.
      const isOther = was > 0 && now.attempt[node] !== was;
      if (isOther || now.status[node] !== status[node]) held.push(recordOf(shown, node));
    }
    for (const name of COLUMNS) shown[name].set(now[name]);
    for (const record of held) {
      this.hidden.add(record.index);
      put(shown, record.index, record);
    }
  }

  private seen(now: Seen, shown: Columns): Seen {
    const { store, hidden } = this;
    if (hidden.size === 0)
      return { ...shown, counts: now.counts, markCounts: now.markCounts, past: now.past, run: now.run };
    const counts = now.counts.slice();
    const markCounts = now.markCounts.slice();
    const past = new Map(now.past);
    for (const node of hidden) {
      const was = shown.status[node] ?? 0;
      const is = now.status[node] ?? 0;
      const base = (store.markOf[node] ?? 0) * STATUS_COUNT;
      add(counts, is, -1);
      add(counts, was, 1);
      add(markCounts, base + is, -1);
      add(markCounts, base + was, 1);
      const attempts = past.get(node)?.filter((each) => each.attempt < (shown.attempt[node] ?? 0));
      if (attempts?.length) past.set(node, attempts);
      else past.delete(node);
    }
    const run = now.run && { ...now.run, counts: [...counts], is_ended: false, ended: null };
    return { ...shown, counts, markCounts, past, run };
  }
}

function add(column: Uint32Array, at: number, amount: number): void {
  column[at] = (column[at] ?? 0) + amount;
}

const COLUMNS = ["status", "attempt", "slot", "started", "ended"] as const;

function copy({ status, attempt, slot, started, ended }: Columns): Columns {
  return {
    status: status.slice(),
    attempt: attempt.slice(),
    slot: slot.slice(),
    started: started.slice(),
    ended: ended.slice(),
  };
}

function recordOf(columns: Columns, index: number): NodeRecord {
  return {
    index,
    status: columns.status[index] ?? 0,
    attempt: columns.attempt[index] ?? 0,
    slot: columns.slot[index] ?? 0,
    started: columns.started[index] ?? Number.NaN,
    ended: columns.ended[index] ?? Number.NaN,
  };
}

function put(columns: Columns, node: number, { status, attempt, slot, started, ended }: NodeRecord): void {
  columns.status[node] = status;
  columns.attempt[node] = attempt;
  columns.slot[node] = slot;
  columns.started[node] = started;
  columns.ended[node] = ended;
}
