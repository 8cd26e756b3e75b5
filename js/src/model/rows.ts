// The rows of the list: groups and nodes in the order asked for, those of closed groups and those that a filter leaves
// out not among them. O(nodes log nodes) for all rows, done when the order can have changed, not when one scrolls.
import { ranFor, URGENCY, worst } from "./derive.ts";
import { waitedFor } from "./filter.ts";
import { STATUS_COUNT, type Store } from "./store.ts";

export const COLUMNS = ["status", "name", "duration", "waited", "attempts", "parents"] as const;
export type Column = (typeof COLUMNS)[number];

export interface Sorting {
  readonly column: Column;
  readonly isDown: boolean;
}

/** A node, or a group as `-1 - mark`. */
export type Row = number;

export const groupRow = (mark: number): Row => -1 - mark;
export const markOfRow = (row: Row): number => -1 - row;
export const isGroup = (row: Row): boolean => row < 0;

/** What the rows stand on besides the store. */
export interface RowOptions {
  readonly sorting: Sorting;
  readonly mask: Uint8Array | null;
  isOpen(mark: number): boolean;
}

export function rowsOf(store: Store, { sorting, mask, isOpen }: RowOptions): Row[] {
  const key = keyOf(store, sorting.column);
  const turn = sorting.isDown ? -1 : 1;
  const compare = (a: Item, b: Item): number =>
    (a.key < b.key ? -1 : a.key > b.key ? 1 : 0) * turn || a.first - b.first;
  const tops: Item[] = [];
  const inside = new Map<number, Item[]>();
  for (let mark = 0; mark < store.markCount; mark++) {
    const members: Item[] = [];
    for (const node of store.membersOf(mark))
      if (mask === null || mask[node] === 1) members.push({ row: node, first: node, key: key(node) });
    const [only] = members;
    if (only === undefined) continue;
    if (store.picture?.marks.size[mark] === 1) {
      tops.push(only);
      continue;
    }
    tops.push({ row: groupRow(mark), first: only.first, key: groupKey(store, sorting, mark, members) });
    if (isOpen(mark)) inside.set(mark, members.sort(compare));
  }
  tops.sort(compare);
  return tops.flatMap(({ row }) =>
    isGroup(row) ? [row, ...(inside.get(markOfRow(row)) ?? []).map((each) => each.row)] : [row],
  );
}

interface Item {
  row: Row;
  first: number;
  key: number | string;
}

/** What is not known comes last. */
function keyOf(store: Store, column: Column): (node: number) => number | string {
  const known = (value: number): number => (value >= 0 ? value : Number.POSITIVE_INFINITY);
  switch (column) {
    case "status":
      return (node) => URGENCY.indexOf(store.status[node] ?? 0);
    case "name":
      return (node) => store.nameOf(node).toLowerCase();
    case "duration":
      return (node) => known(ranFor(store, node));
    case "waited":
      return (node) => known(waitedFor(store, node));
    case "attempts":
      return (node) => store.attempt[node] ?? 0;
    case "parents":
      return (node) => store.parentsOf(node).length;
  }
}

/** A group stands where its most urgent, slowest or latest member would. */
function groupKey(store: Store, { column, isDown }: Sorting, mark: number, members: readonly Item[]): number | string {
  if (column === "name") return (store.picture?.marks.name[mark] ?? "").toLowerCase();
  if (column === "status") return URGENCY.indexOf(worst(store.markCounts, mark * STATUS_COUNT));
  let best = isDown ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY;
  for (const { key } of members)
    if (typeof key === "number") {
      const isKnown = Number.isFinite(key);
      if (isDown ? isKnown && key > best : key < best) best = key;
    }
  return Number.isFinite(best) ? best : Number.POSITIVE_INFINITY;
}
