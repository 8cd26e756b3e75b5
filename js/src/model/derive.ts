// What follows from the columns: words, orders, bars, time left, and which nodes an action would touch.
import { type Action, Status } from "../protocol.ts";
import { STATUS_COUNT, type Store } from "./store.ts";
import { say } from "./words.ts";

/** Worst first: what an aggregate shows, and the order of every list. */
export const URGENCY: readonly number[] = [
  Status.FAILED,
  Status.RUNNING,
  Status.PARENT_FAILED,
  Status.NOT_STARTED,
  Status.CANCELLED,
  Status.COMPLETED,
];

/** Left to right in every bar. */
export const BAR_ORDER: readonly number[] = [
  Status.COMPLETED,
  Status.RUNNING,
  Status.FAILED,
  Status.PARENT_FAILED,
  Status.CANCELLED,
  Status.NOT_STARTED,
];

const MIN_FINISHED = 5;
const HIDE_UNDER_S = 5;

/** The most urgent status among counts; what a mark shows. */
export function worst(counts: ArrayLike<number>, base = 0): number {
  for (const status of URGENCY) if ((counts[base + status] ?? 0) > 0) return status;
  return Status.NOT_STARTED;
}

/** The status that a run shows, worked out from its nodes: it runs while any node does. */
export function runStatus(counts: ArrayLike<number>, isStarted: boolean, isEnded: boolean): number {
  const of = (status: number): number => counts[status] ?? 0;
  if (of(Status.RUNNING) > 0) return Status.RUNNING;
  if (isStarted && !isEnded && of(Status.NOT_STARTED) > 0) return Status.RUNNING;
  if (of(Status.FAILED) > 0) return Status.FAILED;
  if (of(Status.CANCELLED) > 0) return Status.CANCELLED;
  if (of(Status.NOT_STARTED) > 0) return Status.NOT_STARTED;
  if (of(Status.PARENT_FAILED) > 0) return Status.PARENT_FAILED;
  return of(Status.COMPLETED) > 0 || isStarted ? Status.COMPLETED : Status.NOT_STARTED;
}

export interface Segment {
  status: number;
  from: number;
  width: number;
}

/**
 * A bar of `width` pixels: one segment per status that has nodes, in `BAR_ORDER`, none under `least` (failures none
 * under `leastFailed`). What the small ones gain is taken from the others by their size.
 */
export function segments(
  counts: ArrayLike<number>,
  width: number,
  least = 2,
  base = 0,
  leastFailed = least,
): Segment[] {
  let total = 0;
  for (let status = 1; status < STATUS_COUNT; status++) total += counts[base + status] ?? 0;
  if (total === 0 || width <= 0) return [];
  const shown = BAR_ORDER.filter((status) => (counts[base + status] ?? 0) > 0);
  const widths = shown.map((status) => {
    const floor = status === Status.FAILED ? leastFailed : least;
    return Math.max(floor, ((counts[base + status] ?? 0) / total) * width);
  });
  let over = widths.reduce((sum, each) => sum + each, 0) - width;
  const biggestFirst = widths.map((_, index) => index).sort((a, b) => (widths[b] ?? 0) - (widths[a] ?? 0));
  for (const index of biggestFirst) {
    const own = widths[index] ?? 0;
    const taken = Math.min(over, Math.max(0, own - leastFailed));
    widths[index] = own - taken;
    over -= taken;
    if (over <= 0) break;
  }
  let from = 0;
  return shown.map((status, index) => {
    const segment = { status, from, width: widths[index] ?? 0 };
    from += segment.width;
    return segment;
  });
}

/** Nodes that will not change by themselves. */
export function finished(counts: ArrayLike<number>): number {
  return (counts[3] ?? 0) + (counts[4] ?? 0) + (counts[5] ?? 0) + (counts[6] ?? 0);
}

export interface TimeLeft {
  low: number;
  high: number;
}

/**
 * Seconds that a running graph still needs, as a range, or null where nothing sensible can be said: before
 * `MIN_FINISHED` nodes are Completed, and while a function has nodes left but none that has been measured. The lower
 * bound is the work left over the slots, or the longest chain of marks if that is longer; the upper one is both
 * together.
 */
export function timeLeft(store: Store): TimeLeft | null {
  const { picture, run } = store;
  if (!picture || !run || finished(store.counts) < MIN_FINISHED) return null;
  const now = store.runTime();
  const keys = functionsOf(store);
  const { sums, counts, total } = measured(store, keys);
  if (total < MIN_FINISHED) return null;
  const mean = (mark: number): number => {
    const key = keys[mark] ?? 0;
    return (counts[key] ?? 0) > 0 ? (sums[key] ?? 0) / (counts[key] ?? 1) : Number.NaN;
  };
  const spent = runningFor(store, now);
  const slots = Math.max(1, run.slots || (store.counts[Status.RUNNING] ?? 1));
  const ownLeft = new Float64Array(store.markCount);
  let work = 0;
  for (let mark = 0; mark < store.markCount; mark++) {
    const base = mark * STATUS_COUNT;
    const waiting = store.markCounts[base + Status.NOT_STARTED] ?? 0;
    const running = store.markCounts[base + Status.RUNNING] ?? 0;
    if (waiting + running === 0) continue;
    if (Number.isNaN(mean(mark))) return null;
    const begun = running ? Math.max(0.1 * mean(mark), mean(mark) - (spent[mark] ?? 0) / running) : 0;
    work += waiting * mean(mark) + running * begun;
    ownLeft[mark] = Math.max(begun, waiting ? Math.ceil(waiting / slots) * mean(mark) : 0);
  }
  const chain = longestChain(store, ownLeft);
  const low = Math.max(work / slots, chain);
  if (!(low >= 0)) return null;
  return { low, high: Math.max(low * 1.25, Math.min(work / slots + chain, low * 2)) };
}

/** Per mark a number that it shares with all marks of the same function; a mark of several has one of its own. */
function functionsOf(store: Store): Uint32Array {
  const keys = new Uint32Array(store.markCount);
  const first = new Map<number, number>();
  for (let mark = 0; mark < store.markCount; mark++) {
    const group = store.picture?.marks.group?.[mark] ?? -1;
    if (group >= 0 && !first.has(group)) first.set(group, mark);
    keys[mark] = (group >= 0 ? first.get(group) : mark) ?? mark;
  }
  return keys;
}

function measured(store: Store, keys: Uint32Array): { sums: Float64Array; counts: Float64Array; total: number } {
  const sums = new Float64Array(store.markCount);
  const counts = new Float64Array(store.markCount);
  let total = 0;
  for (let node = 0; node < store.total; node++) {
    if (store.status[node] !== Status.COMPLETED) continue;
    const took = (store.ended[node] ?? Number.NaN) - (store.started[node] ?? Number.NaN);
    if (!(took >= 0)) continue;
    const key = keys[store.markOf[node] ?? 0] ?? 0;
    sums[key] = (sums[key] ?? 0) + took;
    counts[key] = (counts[key] ?? 0) + 1;
    total += 1;
  }
  return { sums, counts, total };
}

function runningFor(store: Store, now: number): Float64Array {
  const spent = new Float64Array(store.markCount);
  for (let node = 0; node < store.total; node++) {
    if (store.status[node] !== Status.RUNNING) continue;
    const since = now - (store.started[node] ?? now);
    const mark = store.markOf[node] ?? 0;
    if (since > 0) spent[mark] = (spent[mark] ?? 0) + since;
  }
  return spent;
}

function longestChain(store: Store, own: Float64Array): number {
  const marks = store.picture?.marks;
  const edges = store.picture?.edges;
  if (!marks || !edges) return 0;
  const order = edges.source.map((_, index) => index);
  order.sort((a, b) => (marks.rank[edges.source[a] ?? 0] ?? 0) - (marks.rank[edges.source[b] ?? 0] ?? 0));
  const upTo = own.slice();
  for (const edge of order) {
    const from = edges.source[edge] ?? 0;
    const to = edges.target[edge] ?? 0;
    upTo[to] = Math.max(upTo[to] ?? 0, (upTo[from] ?? 0) + (own[to] ?? 0));
  }
  return upTo.reduce((most, each) => Math.max(most, each), 0);
}

/** "about 1–2 min"; empty where it is not worth saying. */
export function timeLeftWords(left: TimeLeft | null): string {
  if (left === null) return say("summary.left_unknown");
  if (left.high < HIDE_UNDER_S) return "";
  if (left.high < 55) {
    const [low, high] = [roundUp(left.low, 5), roundUp(left.high, 5)];
    return low === high ? say("summary.left_s", { n: high }) : say("summary.left_s_range", { low, high });
  }
  const unit = left.high < 90 * 60 ? 60 : 3600;
  const low = Math.max(1, Math.round(left.low / unit));
  const high = Math.max(low, Math.ceil(left.high / unit));
  if (unit === 60)
    return low === high ? say("summary.left_min", { n: high }) : say("summary.left_min_range", { low, high });
  return low === high ? say("summary.left_h", { n: high }) : say("summary.left_h_range", { low, high });
}

function roundUp(value: number, step: number): number {
  return Math.max(step, Math.ceil(value / step) * step);
}

/** Everything above or below a node, itself not included. Stops at `most`. */
export function reach(
  store: Store,
  nodes: Iterable<number>,
  down: boolean,
  most = Number.POSITIVE_INFINITY,
): Set<number> {
  const found = new Set<number>();
  const stack = [...nodes];
  const own = new Set(stack);
  while (stack.length > 0 && found.size < most) {
    const node = stack.pop() ?? 0;
    for (const next of down ? store.childrenOf(node) : store.parentsOf(node)) {
      if (found.has(next) || own.has(next)) continue;
      found.add(next);
      stack.push(next);
    }
  }
  return found;
}

/** The first Failed or Cancelled node above a blocked one, breadth first; -1 where none is known. */
export function blockerOf(store: Store, node: number): number {
  let level: number[] = [node];
  const seen = new Set(level);
  while (level.length > 0) {
    const next: number[] = [];
    for (const each of level) {
      for (const parent of store.parentsOf(each)) {
        if (seen.has(parent)) continue;
        seen.add(parent);
        const status = store.status[parent];
        if (status === Status.FAILED || status === Status.CANCELLED) return parent;
        if (status === Status.PARENT_FAILED) next.push(parent);
      }
    }
    level = next;
  }
  return -1;
}

/** What an action would do, by the page's own columns. */
export interface Effect {
  /** Nodes that it acts on. */
  own: number[];
  /** Nodes that change because of it. */
  follow: number[];
  /** Among both, nodes that are Completed now and would run again. */
  completed: number;
}

const NO_EFFECT: Effect = { own: [], follow: [], completed: 0 };

export function effect(store: Store, action: Action, nodes: readonly number[]): Effect {
  const is = (node: number, ...statuses: number[]): boolean => statuses.includes(store.status[node] ?? 0);
  const all = (...statuses: number[]): number[] => {
    const found: number[] = [];
    for (let node = 0; node < store.total; node++) if (is(node, ...statuses)) found.push(node);
    return found;
  };
  switch (action) {
    case "retry": {
      const own = nodes.filter((node) => is(node, Status.FAILED, Status.CANCELLED));
      return { own, follow: blockedBelow(store, own), completed: 0 };
    }
    case "retry_failed": {
      const own = all(Status.FAILED, Status.CANCELLED);
      return { own, follow: all(Status.PARENT_FAILED), completed: 0 };
    }
    case "retry_from": {
      const own = nodes.filter((node) => !is(node, Status.NOT_STARTED, Status.RUNNING));
      const follow = [...reach(store, own, true)];
      return { own, follow, completed: [...own, ...follow].filter((node) => is(node, Status.COMPLETED)).length };
    }
    case "cancel": {
      const own = nodes.filter((node) => is(node, Status.NOT_STARTED));
      const follow = [...reach(store, own, true)].filter((node) => is(node, Status.NOT_STARTED));
      return { own, follow, completed: 0 };
    }
    case "cancel_graph":
      return { own: all(Status.NOT_STARTED), follow: all(Status.RUNNING), completed: 0 };
    case "stop": {
      const own = (nodes.length ? [...nodes] : all(Status.RUNNING)).filter((node) => is(node, Status.RUNNING));
      return { own, follow: [], completed: 0 };
    }
    default:
      return NO_EFFECT;
  }
}

/** Parent Failed nodes below that nothing else blocks. */
function blockedBelow(store: Store, nodes: readonly number[]): number[] {
  const freed = new Set(nodes);
  const found: number[] = [];
  let level: readonly number[] = nodes;
  while (level.length > 0) {
    const next: number[] = [];
    for (const node of level) {
      for (const child of store.childrenOf(node)) {
        if (freed.has(child) || store.status[child] !== Status.PARENT_FAILED) continue;
        const isFree = store.parentsOf(child).every((parent) => freed.has(parent) || !isBad(store.status[parent] ?? 0));
        if (!isFree) continue;
        freed.add(child);
        found.push(child);
        next.push(child);
      }
    }
    level = next;
  }
  return found;
}

function isBad(status: number): boolean {
  return status === Status.FAILED || status === Status.CANCELLED || status === Status.PARENT_FAILED;
}

/** Nodes with a status, lowest index first, at most `most`. */
export function withStatus(store: Store, status: number, most = Number.POSITIVE_INFINITY): number[] {
  const found: number[] = [];
  for (let node = 0; node < store.total && found.length < most; node++) {
    if (store.status[node] === status) found.push(node);
  }
  return found;
}

/** Seconds that a node ran or has been running, NaN where it has not begun. */
export function ranFor(store: Store, node: number): number {
  const began = store.started[node] ?? Number.NaN;
  const over = store.ended[node] ?? Number.NaN;
  if (Number.isNaN(began)) return Number.NaN;
  if (!Number.isNaN(over)) return Math.max(0, over - began);
  return store.status[node] === Status.RUNNING ? Math.max(0, store.runTime() - began) : Number.NaN;
}
