// The critical path: the chain of nodes whose times together are the longest. O(nodes + edges) on typed arrays.
import { Status } from "../protocol.ts";
import { estimates } from "./left.ts";
import { order } from "./order.ts";
import type { Store } from "./store.ts";
import { duration, say } from "./words.ts";

export interface CriticalPath {
  /** From its first node to its last. */
  nodes: number[];
  /** Seconds, by which it is the longest. */
  length: number;
  /** Seconds that the run took, or has taken so far. */
  run: number;
  /** True while times are estimated in part. */
  isSoFar: boolean;
}

const NONE = new Uint32Array(0);

/**
 * Measured times where there are some, estimated ones (the median of the function) for what runs or waits. Null before
 * anything is known.
 */
export function criticalPath(store: Store): CriticalPath | null {
  const { run, total, parents } = store;
  if (!run || run.started == null || total === 0) return null;
  const now = store.runTime();
  const isOver = run.is_ended && run.ended !== null;
  const guess = isOver ? null : estimates(store);
  const upTo = new Float64Array(total);
  const via = new Int32Array(total).fill(-1);
  const starts = parents?.start ?? NONE;
  const items = parents?.items ?? NONE;
  let last = -1;
  for (const node of order(store)) {
    const status = store.status[node] ?? 0;
    const began = store.started[node] ?? Number.NaN;
    let own = 0;
    if (status === Status.NOT_STARTED) own = guess?.middle(node) || 0;
    else if (status === Status.RUNNING) own = Math.max(now - began || 0, guess?.middle(node) || 0);
    else own = Math.max(0, (store.ended[node] ?? Number.NaN) - began) || 0;
    let best = 0;
    const end = starts[node + 1] ?? 0;
    for (let i = starts[node] ?? 0; i < end; i++) {
      const parent = items[i] ?? 0;
      const length = upTo[parent] ?? 0;
      if (length > best) {
        best = length;
        via[node] = parent;
      }
    }
    upTo[node] = best + own;
    if (last < 0 || (upTo[node] ?? 0) > (upTo[last] ?? 0)) last = node;
  }
  const length = upTo[last] ?? 0;
  if (!(length > 0)) return null;
  const nodes: number[] = [];
  for (let node = last; node >= 0; node = via[node] ?? -1) nodes.push(node);
  return {
    nodes: nodes.reverse(),
    length,
    run: isOver ? (run.ended ?? 0) - run.started : now,
    isSoFar: !isOver,
  };
}

/** "Critical path: 4 nodes, 82 s of 90 s (91 %)". */
export function criticalWords(path: CriticalPath): string {
  const values = { n: path.nodes.length, time: duration(path.length), run: duration(path.run) };
  // Estimates reach beyond what has passed: of a run that goes on there is no share yet.
  if (path.isSoFar) return say("critical.so_far", values);
  return say("critical.path", { ...values, share: Math.min(100, Math.round((100 * path.length) / path.run)) });
}
