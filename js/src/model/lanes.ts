// What each worker does and has just done. A slot is a worker of the run, numbered from 0.
import { type NodeRecord, NO_SLOT, Status } from "../protocol.ts";
import { recordOf } from "./columns.ts";
import type { Store } from "./store.ts";

export interface Lane {
  readonly slot: number;
  /** The attempt that it runs now; null while it is idle. */
  running: NodeRecord | null;
  /** Attempts that ended here, the latest first. */
  readonly recent: NodeRecord[];
}

/** Of so many workers all are shown; of more those that did something, and some beside. */
const ALL_UP_TO = 8;
const LEAST = 4;

/**
 * A lane for each worker, with at most `most` ended attempts; a record without a worker is in none. O(nodes).
 * `isAnyKnown` is false where nothing says which worker ran a node; `unused` are workers without a lane of their own.
 */
export function lanesOf(store: Store, most: number): { lanes: Lane[]; unused: number; isAnyKnown: boolean } {
  const slots = store.run?.slots ?? 0;
  const found: Lane[] = [];
  let used = 0;
  const laneOf = (slot: number): Lane => {
    for (let next = found.length; next <= slot; next++) found.push({ slot: next, running: null, recent: [] });
    return found[slot] as Lane;
  };
  const meet = (slot: number, status: number, started: number, ended: number, make: () => NodeRecord): void => {
    if (slot === NO_SLOT) return;
    if (status === Status.RUNNING) laneOf(slot).running = make();
    else if (ended >= 0 && started >= 0) keepLatest(laneOf(slot).recent, ended, make, most);
    else return;
    used = Math.max(used, slot + 1);
  };
  for (const list of store.past.values())
    for (const each of list) meet(each.slot, each.status, each.started, each.ended, () => each);
  const { status, slot, started, ended } = store;
  const none = Number.NaN;
  for (let node = 0; node < store.total; node++)
    meet(slot[node] ?? NO_SLOT, status[node] ?? 0, started[node] ?? none, ended[node] ?? none, () =>
      recordOf(store, node),
    );
  const shown = slots <= ALL_UP_TO ? Math.max(slots, used) : Math.max(used, LEAST);
  if (shown > 0) laneOf(shown - 1);
  return { lanes: found.slice(0, shown), unused: Math.max(0, slots - shown), isAnyKnown: used > 0 };
}

function keepLatest(recent: NodeRecord[], ended: number, make: () => NodeRecord, most: number): void {
  let at = recent.length;
  while (at > 0 && (recent[at - 1]?.ended ?? 0) < ended) at -= 1;
  if (at >= most) return;
  recent.splice(at, 0, make());
  if (recent.length > most) recent.pop();
}
