// What follows from the columns: words, orders, bars, and which nodes an action would touch.
import { type Action, Status } from "../protocol.ts";
import { STATUS_COUNT, type Store } from "./store.ts";

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

/** Per node 1 if the action would touch it; null for no action. */
export function touchedBy(store: Store, action: Action | null, nodes: readonly number[]): Uint8Array | null {
  if (action === null) return null;
  const { own, follow } = effect(store, action, nodes);
  const touched = new Uint8Array(store.total);
  for (const list of [own, follow]) for (const node of list) touched[node] = 1;
  return touched;
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

/** Failed nodes in the order in which `f` walks them. */
export function failuresInOrder(store: Store): number[] {
  const marks = store.picture?.marks;
  const rank = (node: number): number => marks?.rank[store.markOf[node] ?? 0] ?? 0;
  return withStatus(store, Status.FAILED).sort((a, b) => rank(a) - rank(b) || a - b);
}
