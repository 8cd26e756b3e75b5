// The run along time: rows in three orders, an axis that folds idle breaks, and when a node could have started.
import { type NodeRecord, NO_SLOT, Status } from "../protocol.ts";
import { recordOf } from "./columns.ts";
import { attemptsOf } from "./replay.ts";
import type { Store } from "./store.ts";

export type Order = "nodes" | "slots" | "duration";

export interface Break {
  from: number;
  to: number;
}

/** Idle that is folded: longer than this, and than this share of the whole. */
const IDLE_S = 30;
const IDLE_SHARE = 0.1;
const BUCKETS = 4096;

/** Spans in which nothing ran, worth folding. O(nodes). */
export function idleOf(store: Store): Break[] {
  const end = store.horizon();
  const least = Math.max(IDLE_S, IDLE_SHARE * end);
  if (!(end > least)) return [];
  const width = end / BUCKETS;
  const busy = new Int32Array(BUCKETS + 1);
  const add = (started: number, ended: number): void => {
    if (Number.isNaN(started)) return;
    const first = Math.min(BUCKETS - 1, Math.floor(started / width));
    const last = Math.min(BUCKETS - 1, Math.floor((Number.isNaN(ended) ? end : ended) / width));
    busy[first] = (busy[first] ?? 0) + 1;
    busy[last + 1] = (busy[last + 1] ?? 0) - 1;
  };
  for (let node = 0; node < store.total; node++)
    add(store.started[node] ?? Number.NaN, store.ended[node] ?? Number.NaN);
  for (const list of store.past.values()) for (const { started, ended } of list) add(started, ended);
  const found: Break[] = [];
  let from = 0;
  for (let at = 0, running = 0; at <= BUCKETS; at++) {
    running += busy[at] ?? 0;
    const isBusy = running > 0 || at === BUCKETS;
    if (!isBusy) continue;
    if ((at - from) * width >= least) found.push({ from: from * width, to: at * width });
    from = at + 1;
  }
  return found;
}

/** Pixels of a folded break. */
export const BREAK = 24;

/** Seconds to pixels and back. Folded breaks are `BREAK` wide; what is left goes to the window. */
export class Axis {
  /** Pixels a second. */
  readonly k: number;
  readonly from: number;
  readonly width: number;
  readonly breaks: readonly Break[];
  /** Where it begins in the picture; `x` counts from there. */
  readonly left: number;
  private readonly before: number;

  /** The window is given in seconds without folded ones. */
  constructor(from: number, to: number, width: number, breaks: readonly Break[], left = 0) {
    this.from = from;
    this.left = left;
    this.width = width;
    this.breaks = breaks;
    const starts = breaks.map((each) => squeeze(breaks, each.from));
    this.before = starts.filter((at) => at < from).length;
    const within = starts.filter((at) => at >= from && at < to).length;
    this.k = Math.max(1, width - BREAK * within) / Math.max(1e-6, to - from);
  }

  x(time: number): number {
    let folded = 0;
    let count = -this.before;
    let part = 0;
    for (const each of this.breaks) {
      if (time >= each.to) {
        folded += each.to - each.from;
        count += 1;
      } else {
        if (time > each.from) {
          folded += time - each.from;
          part = ((time - each.from) / (each.to - each.from)) * BREAK;
        }
        break;
      }
    }
    return (time - folded - this.from) * this.k + count * BREAK + part;
  }

  time(x: number): number {
    for (const each of this.breaks) {
      const start = this.x(each.from);
      if (x < start) break;
      if (x < start + BREAK) return each.from + ((x - start) / BREAK) * (each.to - each.from);
    }
    let low = 0;
    let shift = -this.before * BREAK;
    for (const each of this.breaks) {
      if (x < this.x(each.to)) break;
      low += each.to - each.from;
      shift += BREAK;
    }
    return (x - shift) / this.k + this.from + low;
  }

  /** Moments with a label, about every `room` pixels. */
  ticks(room = 90): number[] {
    const step = stepOf(room / this.k);
    const found: number[] = [];
    const end = this.time(this.width);
    let at = Math.max(0, Math.ceil(this.time(0) / step - 1e-9)) * step;
    while (at <= end && found.length < 200) {
      const idle = this.breaks.find((each) => at > each.from && at < each.to);
      if (idle) {
        at = Math.ceil(idle.to / step) * step;
        continue;
      }
      found.push(at);
      at += step;
    }
    return found;
  }
}

/** A moment in seconds without the folded ones. */
export function squeeze(breaks: readonly Break[], time: number): number {
  let folded = 0;
  for (const each of breaks) folded += Math.max(0, Math.min(time, each.to) - each.from);
  return time - folded;
}

const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];

function stepOf(least: number): number {
  if (least >= 1) return STEPS.find((step) => step >= least) ?? Math.ceil(least / 86400) * 86400;
  const power = 10 ** Math.floor(Math.log10(Math.max(least, 1e-4)));
  return [1, 2, 5, 10].map((each) => each * power).find((step) => step >= least) ?? 1;
}

/** When a node could have started first: its last parent's end. NaN while a parent is not Completed. */
export function readyAt(store: Store, node: number): number {
  let ready = 0;
  for (const parent of store.parentsOf(node)) {
    if (store.status[parent] !== Status.COMPLETED) return Number.NaN;
    ready = Math.max(ready, store.ended[parent] ?? Number.NaN);
  }
  return ready;
}

/**
 * Rows from top to bottom. A node is its index, a group `~mark`, a slot its number; `isInner` is 1 for nodes of an open
 * group.
 */
export interface Rows {
  ids: Int32Array;
  isInner: Uint8Array;
}

export function rowsOf(
  store: Store,
  order: Order,
  open: ReadonlySet<number>,
  mask: Uint8Array | null,
  attempt = 0,
): Rows {
  const ids = order === "nodes" ? null : order === "slots" ? slotsOf(store) : longestFirst(store, mask, attempt);
  if (ids) return { ids, isInner: new Uint8Array(ids.length) };
  const { markCount, total, markOf, started } = store;
  const first = new Float64Array(markCount).fill(Number.POSITIVE_INFINITY);
  const has = new Uint8Array(markCount);
  for (let node = 0; node < total; node++) {
    if (mask && mask[node] !== 1) continue;
    const mark = markOf[node] ?? 0;
    has[mark] = 1;
    const at = began(store, node, started[node] ?? Number.NaN);
    if (at < (first[mark] ?? 0)) first[mark] = at;
  }
  const ranks = store.picture?.marks.rank ?? [];
  const places = store.picture?.marks.order ?? [];
  const marks = [...has.keys()].filter((mark) => has[mark] === 1);
  const by = (a: number, b: number): number => {
    const [at, other] = [first[a] ?? 0, first[b] ?? 0];
    return at !== other ? at - other : (ranks[a] ?? 0) - (ranks[b] ?? 0) || (places[a] ?? 0) - (places[b] ?? 0);
  };
  const found: number[] = [];
  const inner: number[] = [];
  for (const mark of marks.sort(by)) {
    const members = store.membersOf(mark);
    if (members.length === 1) {
      found.push(members[0] ?? 0);
      continue;
    }
    found.push(~mark);
    if (!open.has(mark)) continue;
    const shown = mask ? members.filter((node) => mask[node] === 1) : members;
    for (const node of sorted(shown, (each) => began(store, each, started[each] ?? Number.NaN))) {
      inner.push(found.length);
      found.push(node);
    }
  }
  const isInner = new Uint8Array(found.length);
  for (const at of inner) isInner[at] = 1;
  return { ids: Int32Array.from(found), isInner };
}

/** Start of the first attempt; Infinity for what never began. */
function began(store: Store, node: number, started: number): number {
  const past = store.past.size > 0 ? store.past.get(node)?.[0] : undefined;
  const at = past && !Number.isNaN(past.started) ? past.started : started;
  return Number.isNaN(at) ? Number.POSITIVE_INFINITY : at;
}

function slotsOf(store: Store): Int32Array {
  const has = new Uint8Array(NO_SLOT + 1);
  for (let node = 0; node < store.total; node++) {
    if (!Number.isNaN(store.started[node] ?? Number.NaN)) has[store.slot[node] ?? NO_SLOT] = 1;
  }
  for (const list of store.past.values()) for (const { slot, started } of list) if (started >= 0) has[slot] = 1;
  for (let slot = 0; slot < Math.min(store.run?.slots ?? 0, 1024); slot++) has[slot] = 1;
  const found: number[] = [];
  for (let slot = 0; slot <= NO_SLOT; slot++) if (has[slot] === 1) found.push(slot);
  return Int32Array.from(found);
}

function longestFirst(store: Store, mask: Uint8Array | null, attempt: number): Int32Array {
  const now = store.runTime();
  const nodes: number[] = [];
  for (let node = 0; node < store.total; node++) {
    if ((!mask || mask[node] === 1) && !Number.isNaN(took(store, node, attempt, now))) nodes.push(node);
  }
  return Int32Array.from(sorted(nodes, (node) => -took(store, node, attempt, now)));
}

/** Seconds that an attempt took or has taken, with 0 all of them together; NaN for what never began. */
export function took(store: Store, node: number, attempt = 0, now = store.runTime()): number {
  if (store.past.size > 0 && store.past.has(node)) {
    const all = attemptsOf(store, node).filter((each) => attempt === 0 || each.attempt === attempt);
    const times = all.map((each) => lasted(each, now)).filter((each) => each >= 0);
    return times.length > 0 ? times.reduce((sum, each) => sum + each, 0) : Number.NaN;
  }
  if (attempt !== 0 && store.attempt[node] !== attempt) return Number.NaN;
  const ended = store.ended[node] ?? Number.NaN;
  return Math.max(0, (ended >= 0 ? ended : now) - (store.started[node] ?? Number.NaN));
}

/** Seconds of one attempt until its end, or until now; NaN before it began. */
export function lasted({ started, ended }: { started: number; ended: number }, now: number): number {
  return Math.max(0, (ended >= 0 ? ended : now) - started);
}

/** By a key, then by index. Keys and places are sorted as plain numbers, which is several times faster than by a function. */
function sorted(nodes: ArrayLike<number>, key: (node: number) => number): number[] {
  const size = nodes.length;
  const keys = Float64Array.from({ length: size }, (_, at) => {
    const value = key(nodes[at] ?? 0);
    // Tenths of milliseconds, 2^17 places for nodes of equal keys.
    return (Number.isFinite(value) ? Math.round(value * 1e4) : 2 ** 35) * 2 ** 17 + (at % 2 ** 17);
  });
  if (size > 2 ** 17) return Array.from(nodes).sort((a, b) => key(a) - key(b) || a - b);
  keys.sort();
  return Array.from(keys, (each) => nodes[((each % 2 ** 17) + 2 ** 17) % 2 ** 17] ?? 0);
}

/** What each slot did: attempts `items[start[i]] ..` of the i-th slot. */
export interface BySlot {
  readonly start: Uint32Array;
  /** A node's latest attempt is its index; earlier ones stand in `past`, from `total` on. */
  readonly items: Uint32Array;
  readonly past: readonly NodeRecord[];
}

/** Attempts by slot; with 0 all of them, else those of one number. O(attempts). */
export function bySlot(store: Store, slots: Int32Array, attempt = 0): BySlot {
  const place = new Int32Array(NO_SLOT + 1).fill(-1);
  slots.forEach((slot, at) => {
    place[slot] = at;
  });
  const isMeant = (number: number): boolean => attempt === 0 || number === attempt;
  const past: NodeRecord[] = [];
  for (const list of store.past.values())
    for (const each of list) if (each.started >= 0 && isMeant(each.attempt)) past.push(each);
  const { total } = store;
  const of = (item: number): number => {
    if (item >= total) return place[past[item - total]?.slot ?? NO_SLOT] ?? -1;
    if (Number.isNaN(store.started[item] ?? Number.NaN) || !isMeant(store.attempt[item] ?? 0)) return -1;
    return place[store.slot[item] ?? NO_SLOT] ?? -1;
  };
  const start = new Uint32Array(slots.length + 1);
  for (let item = 0; item < total + past.length; item++) {
    const at = of(item);
    if (at >= 0) start[at + 1] = (start[at + 1] ?? 0) + 1;
  }
  for (let at = 0; at < slots.length; at++) start[at + 1] = (start[at + 1] ?? 0) + (start[at] ?? 0);
  const next = start.slice();
  const items = new Uint32Array(start[slots.length] ?? 0);
  for (let item = 0; item < total + past.length; item++) {
    const at = of(item);
    if (at < 0) continue;
    items[next[at] ?? 0] = item;
    next[at] = (next[at] ?? 0) + 1;
  }
  return { start, items, past };
}

/** The attempts of the slot in a row. */
export function* attemptsIn(store: Store, slots: BySlot, row: number): Generator<NodeRecord> {
  for (let at = slots.start[row] ?? 0; at < (slots.start[row + 1] ?? 0); at++) {
    const item = slots.items[at] ?? 0;
    const own = slots.past[item - store.total];
    yield own ?? recordOf(store, item);
  }
}

export interface Density {
  /** Running at once, by pixel. */
  running: Float32Array;
  /** 1 where an attempt that Failed was running. */
  failed: Uint8Array;
  most: number;
}

/** How many of some nodes ran at each pixel. O(nodes + pixels). */
export function density(store: Store, nodes: ArrayLike<number>, axis: Axis, attempt: number, now: number): Density {
  const width = Math.max(1, Math.ceil(axis.width));
  const change = new Float32Array(width + 1);
  const bad = new Int32Array(width + 1);
  const { k, from: zero } = axis;
  const isPlain = axis.breaks.length === 0;
  const add = (status: number, started: number, ended: number): void => {
    if (Number.isNaN(started)) return;
    // Without a break, which is nearly always, a line of its own: this is done for every node in every frame.
    const over = ended >= 0 ? ended : now;
    const from = isPlain ? (started - zero) * k : axis.x(started);
    const to = isPlain ? (over - zero) * k : axis.x(over);
    if (to < 0 || from > width) return;
    const first = Math.max(0, Math.min(width - 1, Math.floor(from)));
    const last = Math.max(first + 1, Math.min(width, Math.ceil(to)));
    change[first] = (change[first] ?? 0) + 1;
    change[last] = (change[last] ?? 0) - 1;
    if (status !== Status.FAILED) return;
    const end = Math.max(last, Math.min(width, first + 3));
    bad[first] = (bad[first] ?? 0) + 1;
    bad[end] = (bad[end] ?? 0) - 1;
  };
  const hasPast = store.past.size > 0;
  const { status, started, ended } = store;
  for (let at = 0; at < nodes.length; at++) {
    const node = nodes[at] ?? 0;
    if (hasPast && store.past.has(node)) {
      for (const each of attemptsOf(store, node)) {
        if (attempt === 0 || each.attempt === attempt) add(each.status, each.started, each.ended);
      }
    } else if (attempt === 0 || store.attempt[node] === attempt) {
      add(status[node] ?? 0, started[node] ?? Number.NaN, ended[node] ?? Number.NaN);
    }
  }
  const found: Density = { running: new Float32Array(width), failed: new Uint8Array(width), most: 0 };
  for (let x = 0, sum = 0, failed = 0; x < width; x++) {
    sum += change[x] ?? 0;
    failed += bad[x] ?? 0;
    found.running[x] = sum;
    found.failed[x] = failed > 0 ? 1 : 0;
    if (sum > found.most) found.most = sum;
  }
  return found;
}
