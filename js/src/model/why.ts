// Why a node has not started: its parents, the workers, the slow motion, or that nobody has started the graph.
import { Status } from "../protocol.ts";
import type { Store } from "./store.ts";
import { readyAt } from "./timeline.ts";
import { clock, plain, say } from "./words.ts";

/** In one line; empty where there is nothing to say, because the run is over or the edges have not come yet. */
export function whyWaits(store: Store, node: number): string {
  const waits: number[] = [];
  for (const parent of store.parentsOf(node)) if (store.status[parent] !== Status.COMPLETED) waits.push(parent);
  const [first = -1] = waits;
  if (first >= 0) {
    const name = plain(store.nameOf(first));
    return waits.length > 1 ? say("why.parents", { name, n: waits.length - 1 }) : say("why.parent", { name });
  }
  const { run } = store;
  if (!store.parents && store.total > 1) return "";
  if (run?.started == null) return say("why.not_started");
  if (run.is_ended) return "";
  const since = readyAt(store, node);
  const ready = Number.isNaN(since) ? 0 : Math.max(0, store.runTime() - since);
  const busy = store.counts[Status.RUNNING] ?? 0;
  if (run.slots > 0 && busy >= run.slots) return say("why.busy", { n: run.slots, time: clock(ready) });
  if (run.pace) return say("why.slow", { time: String(run.pace) });
  return say("why.next");
}
