// The run played again: the tape of its changes, and the columns of any moment for a `Lens` to show.
//
// **Guarantees.** The moment after the last change has the columns of the live store. A moment is reached by applying
// changes, never by a rule: what may follow what is the kernel's to know. Seeking costs at most the changes between two
// keyframes.
import { type NodeRecord, NO_SLOT, type Run, Status } from "../protocol.ts";
import { type Columns, recordOf } from "./columns.ts";
import type { Moment } from "./lens.ts";
import { order } from "./order.ts";
import { STATUS_COUNT, type Store } from "./store.ts";

/** Columns of equal length, one entry a change, as `core/tape.py` writes them. */
export interface Tape {
  /** Seconds since the run's zero, never falling; NaN for what was so from the beginning. */
  at: Float32Array;
  node: Uint32Array;
  slot: Uint16Array;
  status: Uint8Array;
  attempt: Uint8Array;
  isThinned: boolean;
}

const KEYFRAME = 2000;
/** Bytes that keyframes may take together; of a large graph there are fewer. */
const KEYFRAME_BYTES = 24e6;

export function readTape(bytes: Uint8Array): Tape {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const n = bytes.byteLength >= 8 ? view.getUint32(0, true) : 0;
  const tape = emptyTape(n);
  tape.isThinned = n > 0 && view.getUint32(4, true) === 1;
  for (let i = 0; i < n; i++) {
    tape.at[i] = view.getFloat32(8 + 4 * i, true);
    tape.node[i] = view.getUint32(8 + 4 * (n + i), true);
    tape.slot[i] = view.getUint16(8 + 8 * n + 2 * i, true);
    tape.status[i] = view.getUint8(8 + 10 * n + i);
    tape.attempt[i] = view.getUint8(8 + 11 * n + i);
  }
  return tape;
}

function emptyTape(n: number): Tape {
  return {
    at: new Float32Array(n),
    node: new Uint32Array(n),
    slot: new Uint16Array(n),
    status: new Uint8Array(n),
    attempt: new Uint8Array(n),
    isThinned: false,
  };
}

/**
 * What the attempts tell, for a page whose kernel is gone: when each began and ended. When nodes were put back they do
 * not tell, so an attempt follows the one before it at once.
 */
export function tapeOfAttempts(store: Store): Tape {
  const all: { at: number; rank: number; record: NodeRecord; status: number }[] = [];
  const blockedAt = new Float64Array(store.total);
  for (const node of order(store)) {
    for (const record of attemptsOf(store, node)) {
      if (!Number.isNaN(record.started)) all.push({ at: record.started, rank: 2, record, status: Status.RUNNING });
      if (record.status === Status.PARENT_FAILED) {
        for (const parent of store.parentsOf(node)) {
          const own = store.status[parent] === Status.PARENT_FAILED ? blockedAt[parent] : store.ended[parent];
          if (isBad(store.status[parent])) blockedAt[node] = Math.max(blockedAt[node] ?? 0, own || 0);
        }
        all.push({ at: blockedAt[node] ?? 0, rank: 1, record, status: record.status });
      } else if (record.status > Status.RUNNING) all.push({ at: record.ended, rank: 0, record, status: record.status });
    }
  }
  all.sort((a, b) => (a.at || 0) - (b.at || 0) || a.rank - b.rank);
  const tape = emptyTape(all.length);
  all.forEach(({ at, record, status }, i) => {
    tape.at[i] = at;
    tape.node[i] = record.index;
    tape.slot[i] = record.slot;
    tape.status[i] = status;
    tape.attempt[i] = record.attempt;
  });
  return tape;
}

function isBad(status: number | undefined): boolean {
  return status === Status.FAILED || status === Status.CANCELLED || status === Status.PARENT_FAILED;
}

/** All attempts of a node that the page knows, the present one last. */
export function attemptsOf(store: Store, node: number): NodeRecord[] {
  return [...(store.past.get(node) ?? []), recordOf(store, node)];
}

export class Replay {
  readonly tape: Tape;
  /** Changes applied. */
  cursor = 0;
  /** Seconds since the run's zero. */
  time = 0;
  readonly end: number;
  /** Place of the first failure; -1 without one. */
  readonly firstFailure: number;
  private readonly store: Store;
  private columns: Columns;
  private readonly counts = new Uint32Array(STATUS_COUNT);
  private readonly markCounts: Uint32Array;
  private past = new Map<number, NodeRecord[]>();
  private pastCount = 0;
  private readonly archived: { cursor: number; record: NodeRecord }[] = [];
  private readonly keyframes: Columns[] = [];
  private readonly step: number;
  /** Changes that were there when the run began. */
  private readonly start: number;

  constructor(store: Store, tape: Tape) {
    this.store = store;
    this.tape = tape;
    const n = tape.node.length;
    this.step = Math.max(KEYFRAME, Math.ceil((n * 12 * store.total) / KEYFRAME_BYTES));
    this.columns = blank(store.total);
    this.markCounts = new Uint32Array(store.markCount * STATUS_COUNT);
    for (let i = 0; i < n; i++) {
      if (i % this.step === 0) this.keyframes.push(copy(this.columns));
      this.archive(i);
      this.apply(i);
    }
    const { run } = store;
    const took = run?.started != null && run.is_ended && run.ended !== null ? run.ended - run.started : 0;
    this.end = Math.max(tape.at[n - 1] || 0, took);
    this.firstFailure = tape.status.indexOf(Status.FAILED);
    this.columns = blank(store.total);
    this.count();
    this.seek(0);
    this.start = this.cursor;
  }

  get length(): number {
    return this.tape.node.length;
  }

  get isAtEnd(): boolean {
    return this.cursor === this.length && this.time >= this.end;
  }

  seek(time: number): void {
    this.time = Math.min(this.end, Math.max(0, time));
    let low = 0;
    let high = this.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.tape.at[middle] || 0) <= this.time) low = middle + 1;
      else high = middle;
    }
    this.toCursor(low);
  }

  /** To the next or the last event; what one event changed changes together. */
  stepBy(direction: number): void {
    const { at } = this.tape;
    let to = this.cursor;
    if (direction > 0) to = Math.min(this.length, to + 1);
    else {
      while (to > this.start && (at[to - 1] || 0) === (at[this.cursor - 1] || 0)) to -= 1;
    }
    while (direction > 0 && to < this.length && (at[to] || 0) === (at[to - 1] || 0)) to += 1;
    this.time = to > 0 ? at[to - 1] || 0 : 0;
    this.toCursor(to);
  }

  /** To the moment of the first failure. Returns the node, -1 without one. */
  toFailure(): number {
    if (this.firstFailure < 0) return -1;
    this.seek(this.tape.at[this.firstFailure] || 0);
    return this.tape.node[this.firstFailure] ?? -1;
  }

  /** Its arrays are the replay's own, and change when it goes on. */
  moment(): Moment {
    const live = this.store.run;
    const isOver = this.isAtEnd && (live?.is_ended ?? false);
    return {
      ...this.columns,
      time: this.time,
      end: this.end,
      counts: this.counts,
      markCounts: this.markCounts,
      past: this.past,
      run: {
        ...(live as Run),
        counts: [...this.counts],
        is_ended: isOver,
        ended: isOver ? (live?.ended ?? null) : null,
      },
    };
  }

  private toCursor(to: number): void {
    const frame = Math.min(this.keyframes.length - 1, Math.floor(to / this.step));
    if (to < this.cursor || frame * this.step > this.cursor) {
      const kept = this.keyframes[frame];
      this.columns = kept ? copy(kept) : blank(this.store.total);
      this.cursor = kept ? frame * this.step : 0;
      this.count();
    }
    while (this.cursor < to) {
      this.apply(this.cursor);
      this.cursor += 1;
    }
    this.setPast();
  }

  private apply(i: number): void {
    const { tape, columns, store } = this;
    const node = tape.node[i] ?? 0;
    if (node >= store.total) return;
    const status = tape.status[i] ?? 0;
    const was = columns.status[node] ?? 0;
    columns.status[node] = status;
    columns.attempt[node] = tape.attempt[i] ?? 0;
    columns.slot[node] = tape.slot[i] ?? NO_SLOT;
    const at = tape.at[i] ?? Number.NaN;
    if (status === Status.RUNNING) {
      columns.started[node] = at;
      columns.ended[node] = Number.NaN;
    } else if (status === Status.NOT_STARTED || status === Status.PARENT_FAILED) {
      columns.started[node] = Number.NaN;
      columns.ended[node] = Number.NaN;
    } else {
      columns.ended[node] = at;
      if (was !== Status.RUNNING) columns.started[node] = Number.NaN;
    }
    const base = (store.markOf[node] ?? 0) * STATUS_COUNT;
    add(this.counts, was, -1);
    add(this.counts, status, 1);
    add(this.markCounts, base + was, -1);
    add(this.markCounts, base + status, 1);
  }

  /** The attempt that the change replaces, if it does: noted once, while the tape is read. */
  private archive(i: number): void {
    const { columns, tape } = this;
    const node = tape.node[i] ?? 0;
    const status = tape.status[i] ?? 0;
    const isNew = status === Status.NOT_STARTED || status === Status.RUNNING || status === Status.PARENT_FAILED;
    if (!isNew || node >= this.store.total || Number.isNaN(columns.ended[node] ?? Number.NaN)) return;
    if (!columns.attempt[node]) return;
    this.archived.push({ cursor: i + 1, record: recordOf(columns, node) });
  }

  private setPast(): void {
    let count = this.pastCount;
    while (count > 0 && (this.archived[count - 1]?.cursor ?? 0) > this.cursor) count -= 1;
    if (count < this.pastCount) {
      this.past = new Map();
      this.pastCount = 0;
    }
    for (let entry = this.archived[this.pastCount]; entry && entry.cursor <= this.cursor; ) {
      const list = this.past.get(entry.record.index);
      if (list) list.push(entry.record);
      else this.past.set(entry.record.index, [entry.record]);
      this.pastCount += 1;
      entry = this.archived[this.pastCount];
    }
  }

  private count(): void {
    this.counts.fill(0);
    this.markCounts.fill(0);
    for (let node = 0; node < this.store.total; node++) {
      const status = this.columns.status[node] ?? 0;
      add(this.counts, status, 1);
      add(this.markCounts, (this.store.markOf[node] ?? 0) * STATUS_COUNT + status, 1);
    }
  }
}

function add(column: Uint32Array, at: number, amount: number): void {
  column[at] = (column[at] ?? 0) + amount;
}

function blank(total: number): Columns {
  return {
    status: new Uint8Array(total).fill(Status.NOT_STARTED),
    attempt: new Uint8Array(total),
    slot: new Uint16Array(total).fill(NO_SLOT),
    started: new Float32Array(total).fill(Number.NaN),
    ended: new Float32Array(total).fill(Number.NaN),
  };
}

function copy(columns: Columns): Columns {
  return {
    status: columns.status.slice(),
    attempt: columns.attempt.slice(),
    slot: columns.slot.slice(),
    started: columns.started.slice(),
    ended: columns.ended.slice(),
  };
}
