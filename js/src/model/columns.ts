// What is known of each node, a column each.
import { type NodeRecord, NO_SLOT } from "../protocol.ts";

export interface Columns {
  status: Uint8Array;
  attempt: Uint8Array;
  slot: Uint16Array;
  started: Float32Array;
  ended: Float32Array;
}

/** The present attempt of a node. */
export function recordOf(columns: Columns, node: number): NodeRecord {
  return {
    index: node,
    status: columns.status[node] ?? 0,
    attempt: columns.attempt[node] ?? 0,
    slot: columns.slot[node] ?? NO_SLOT,
    started: columns.started[node] ?? Number.NaN,
    ended: columns.ended[node] ?? Number.NaN,
  };
}
