// Nodes with their parents before them.
import type { Store } from "./store.ts";

const kept = new WeakMap<object, Uint32Array>();

/** All nodes, parents first. Kept as long as the edges are. */
export function order(store: Store): Uint32Array {
  const { parents, children, total } = store;
  if (!parents || !children) return Uint32Array.from({ length: total }, (_, node) => node);
  const known = kept.get(children);
  if (known) return known;
  const open = new Uint32Array(total);
  const made = new Uint32Array(total);
  let end = 0;
  for (let node = 0; node < total; node++) {
    open[node] = (parents.start[node + 1] ?? 0) - (parents.start[node] ?? 0);
    if (open[node] === 0) made[end++] = node;
  }
  for (let at = 0; at < end; at++) {
    const node = made[at] ?? 0;
    for (let i = children.start[node] ?? 0; i < (children.start[node + 1] ?? 0); i++) {
      const child = children.items[i] ?? 0;
      open[child] = (open[child] ?? 0) - 1;
      if (open[child] === 0) made[end++] = child;
    }
  }
  const whole = made.subarray(0, end);
  kept.set(children, whole);
  return whole;
}
