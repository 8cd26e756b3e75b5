// How long a run still takes, as an honest range: what is left is played through on the slots there are, by what nodes
// of the same function took. `view/left.py` does the same; `tests/timing` holds the vectors that both are tested with.
import { Status } from "../protocol.ts";
import { ranFor } from "./derive.ts";
import { order } from "./order.ts";
import type { Groups, Store } from "./store.ts";
import { say } from "./words.ts";

const MIN_FINISHED = 5;
const HIDE_UNDER_S = 5;
/** Of what is left, the share that may belong to functions of which none has ended yet. */
const MOST_UNMEASURED = 0.2;
/** Above this many nodes bounds have to do: playing them through would take longer than a frame. */
const MOST_SIMULATED = 20_000;

export interface TimeLeft {
  low: number;
  high: number;
}

/** Seconds that a node of a function takes; NaN where none of it has ended. */
export interface Estimates {
  low(node: number): number;
  middle(node: number): number;
  high(node: number): number;
  /** How many nodes they come from. */
  measured: number;
  /** The highest of all functions. */
  most: number;
}

/** The graph as the estimate needs it. */
export interface Work {
  total: number;
  /** Node -> number of its function. */
  group: ArrayLike<number>;
  status: ArrayLike<number>;
  started: ArrayLike<number>;
  ended: ArrayLike<number>;
  parents: Groups | null;
  children: Groups | null;
  /** All nodes, parents first. */
  order: ArrayLike<number>;
  now: number;
  slots: number;
}

export function estimates(store: Store): Estimates {
  return estimate({ total: store.total, group: functionsOf(store), ...columns(store) });
}

const SLOW_S = 1;
const KEPT_MS = 1000;
/** While a recording plays they are made anew more often, but take at most this share of the time. */
const SHARE = 10;

interface Kept {
  found: Estimates;
  group: Uint32Array;
  shownAt: number;
  at: number;
  cost: number;
}
const kept = new WeakMap<Store, Kept>();
/** From here on, in place of functions, marks whose nodes are of several. */
const SEVERAL = 2 ** 31;

/** Took or takes more than twice the median of its function, and long enough for somebody to care. */
export function isSlow(store: Store, node: number): boolean {
  const took = ranFor(store, node);
  if (!(took >= SLOW_S)) return false;
  const { shownAt } = store;
  const group = store.groups?.of ?? functionsOf(store);
  const at = performance.now();
  let known = kept.get(store);
  const room = known && (Object.is(known.shownAt, shownAt) ? KEPT_MS : SHARE * known.cost);
  if (!known || known.group !== group || at > known.at + (room ?? 0)) {
    const found = estimate({ total: store.total, group, ...columns(store) });
    known = { found, group, shownAt, at, cost: performance.now() - at };
    kept.set(store, known);
  }
  // Until it is known which of its nodes are of which function, those of a mark of several are no measure of each other.
  return (group[node] ?? SEVERAL) < SEVERAL && took > 2 * known.found.middle(node);
}

/** Seconds that the run still needs, or null where nothing sensible can be said. */
export function timeLeft(store: Store): TimeLeft | null {
  if (!store.picture || !store.run || !store.children) return null;
  const { parents, children, total } = store;
  const slots = Math.max(1, store.run.slots || (store.counts[Status.RUNNING] ?? 1));
  const work = { total, group: functionsOf(store), ...columns(store), parents, children, slots };
  return left({ ...work, order: order(store), now: store.runTime() });
}

function columns({ status, started, ended }: Store): Pick<Work, "status" | "started" | "ended"> {
  return { status, started, ended };
}

export function estimate({ total, group, status, started, ended }: Omit<Work, keyof Played>): Estimates {
  const took = new Map<number, number[]>();
  let measured = 0;
  for (let node = 0; node < total; node++) {
    if (status[node] !== Status.COMPLETED) continue;
    const seconds = (ended[node] ?? Number.NaN) - (started[node] ?? Number.NaN);
    if (!(seconds >= 0)) continue;
    const key = group[node] ?? 0;
    const list = took.get(key);
    if (list) list.push(seconds);
    else took.set(key, [seconds]);
    measured += 1;
  }
  const known = new Map<number, [number, number, number]>();
  let most = Number.NaN;
  for (const [key, list] of took) {
    const found = summary(list);
    known.set(key, found);
    if (!(found[2] <= most)) most = found[2];
  }
  const of = (part: 0 | 1 | 2) => (node: number) => known.get(group[node] ?? 0)?.[part] ?? Number.NaN;
  return { low: of(0), middle: of(1), high: of(2), measured, most };
}

type Played = Pick<Work, "parents" | "children" | "order" | "now" | "slots">;

/** Low, median and high: median and mean, whichever is less or more, by the error of the mean. */
function summary(list: number[]): [number, number, number] {
  const sorted = Float64Array.from(list).sort();
  const n = sorted.length;
  const median = ((sorted[(n - 1) >> 1] ?? 0) + (sorted[n >> 1] ?? 0)) / 2;
  let sum = 0;
  for (const each of sorted) sum += each;
  const mean = sum / n;
  let squares = 0;
  for (const each of sorted) squares += (each - mean) ** 2;
  const error = Math.sqrt(squares / n / n);
  return [Math.max(median / 2, Math.min(median, mean) - error), median, Math.max(median, mean) + error];
}

export function left(work: Work, mostSimulated = MOST_SIMULATED): TimeLeft | null {
  const guess = estimate(work);
  if (guess.measured < MIN_FINISHED) return null;
  const low = new Float64Array(work.total);
  const high = new Float64Array(work.total);
  let open = 0;
  let unmeasured = 0;
  for (let node = 0; node < work.total; node++) {
    const status = work.status[node];
    if (status !== Status.NOT_STARTED && status !== Status.RUNNING) continue;
    open += 1;
    let [least, most] = [guess.low(node), guess.high(node)];
    if (Number.isNaN(least)) {
      unmeasured += 1;
      [least, most] = [0, guess.most];
    }
    if (status === Status.RUNNING) {
      const spent = Math.max(0, work.now - (work.started[node] ?? Number.NaN)) || 0;
      least = Math.max(0, least - spent);
      most = spent < most ? most - spent : most / 2;
    }
    low[node] = least;
    high[node] = most;
  }
  if (unmeasured > MOST_UNMEASURED * open) return null;
  const play = open <= mostSimulated ? simulate : bound;
  const range = { low: play(work, low, false), high: play(work, high, true) };
  return { low: range.low, high: Math.max(range.high, 1.1 * range.low) };
}

/** The end of the last node when each takes `seconds`: ready ones begin in their order as slots come free. */
function simulate(work: Work, seconds: Float64Array): number {
  const { total, status, parents, children, slots } = work;
  const unmet = new Uint32Array(total);
  const queue: number[] = [];
  const ends: number[] = [];
  const running: number[] = [];
  for (let node = 0; node < total; node++) {
    if (status[node] === Status.RUNNING) push(ends, running, seconds[node] ?? 0, node);
    if (status[node] !== Status.NOT_STARTED) continue;
    for (let i = parents?.start[node] ?? 0; i < (parents?.start[node + 1] ?? 0); i++) {
      if (status[parents?.items[i] ?? 0] !== Status.COMPLETED) unmet[node] = (unmet[node] ?? 0) + 1;
    }
    if (unmet[node] === 0) queue.push(node);
  }
  let now = 0;
  let next = 0;
  while (true) {
    while (next < queue.length && running.length < slots) {
      const node = queue[next++] ?? 0;
      push(ends, running, now + (seconds[node] ?? 0), node);
    }
    if (running.length === 0) return now;
    now = Math.max(now, ends[0] ?? 0);
    const node = pop(ends, running);
    for (let i = children?.start[node] ?? 0; i < (children?.start[node + 1] ?? 0); i++) {
      const child = children?.items[i] ?? 0;
      if (status[child] !== Status.NOT_STARTED) continue;
      unmet[child] = (unmet[child] ?? 0) - 1;
      if (unmet[child] === 0) queue.push(child);
    }
  }
}

/** At least the work over the slots and the longest chain, at most both together. */
function bound(work: Work, seconds: Float64Array, isUpper: boolean): number {
  const upTo = new Float64Array(work.total);
  let sum = 0;
  let chain = 0;
  for (let at = 0; at < work.order.length; at++) {
    const node = work.order[at] ?? 0;
    let best = 0;
    for (let i = work.parents?.start[node] ?? 0; i < (work.parents?.start[node + 1] ?? 0); i++) {
      best = Math.max(best, upTo[work.parents?.items[i] ?? 0] ?? 0);
    }
    upTo[node] = best + (seconds[node] ?? 0);
    sum += seconds[node] ?? 0;
    chain = Math.max(chain, upTo[node] ?? 0);
  }
  return isUpper ? sum / work.slots + chain : Math.max(sum / work.slots, chain);
}

/** A heap of nodes by their end; equal ends by index, so that both languages play alike. */
function push(ends: number[], nodes: number[], end: number, node: number): void {
  let at = ends.length;
  while (at > 0) {
    const up = (at - 1) >> 1;
    if (!isBefore(end, node, ends[up] ?? 0, nodes[up] ?? 0)) break;
    ends[at] = ends[up] ?? 0;
    nodes[at] = nodes[up] ?? 0;
    at = up;
  }
  ends[at] = end;
  nodes[at] = node;
}

function pop(ends: number[], nodes: number[]): number {
  const first = nodes[0] ?? 0;
  const end = ends.pop() ?? 0;
  const node = nodes.pop() ?? 0;
  const size = ends.length;
  if (size === 0) return first;
  let at = 0;
  while (true) {
    let down = 2 * at + 1;
    if (down >= size) break;
    if (down + 1 < size && isBefore(ends[down + 1] ?? 0, nodes[down + 1] ?? 0, ends[down] ?? 0, nodes[down] ?? 0))
      down += 1;
    if (!isBefore(ends[down] ?? 0, nodes[down] ?? 0, end, node)) break;
    ends[at] = ends[down] ?? 0;
    nodes[at] = nodes[down] ?? 0;
    at = down;
  }
  ends[at] = end;
  nodes[at] = node;
  return first;
}

function isBefore(end: number, node: number, other: number, otherNode: number): boolean {
  return end < other || (end === other && node < otherNode);
}

const functions = new WeakMap<object, Uint32Array>();

/** Per node a number that it shares with all nodes of its function; marks of several functions have one of their own. */
function functionsOf(store: Store): Uint32Array {
  const known = functions.get(store.markOf);
  if (known) return known;
  const groups = store.picture?.marks.group ?? [];
  const keys = new Uint32Array(store.total);
  for (let node = 0; node < store.total; node++) {
    const mark = store.markOf[node] ?? 0;
    const group = groups[mark] ?? -1;
    keys[node] = group >= 0 ? group : SEVERAL + mark;
  }
  functions.set(store.markOf, keys);
  return keys;
}

/** "about 1–2 min left"; empty where it is not worth saying. */
export function timeLeftWords(range: TimeLeft | null): string {
  if (range === null) return say("summary.left_unknown");
  if (range.high < HIDE_UNDER_S) return "";
  const [unit, step, key] =
    range.high < 55
      ? ([1, 5, "s"] as const)
      : range.high < 5400
        ? ([60, 1, "min"] as const)
        : ([3600, 1, "h"] as const);
  const high = Math.ceil(range.high / unit / step) * step;
  const low = Math.min(high, Math.max(step, Math.round(range.low / unit / step) * step));
  return low === high ? say(`summary.left_${key}`, { n: high }) : say(`summary.left_${key}_range`, { low, high });
}
