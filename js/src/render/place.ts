// From ranks and slots to pixels: two monotone maps, so that order never changes. Pure; nothing is arranged here.
import type { MarkEdges, MarkKind, Marks } from "../protocol.ts";

export type Direction = "right" | "down";

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

/** World pixels (at 100 %). Columns over the marks, and a line per edge. */
export interface Places {
  direction: Direction;
  x: Float64Array;
  y: Float64Array;
  width: Float64Array;
  height: Float64Array;
  /** Per edge: x and y of its port, of where it enters and leaves each rank it crosses, and of its other port. */
  lines: readonly Float64Array[];
  bounds: Box;
  /** Marks that are shown, null for all. The others have no place: NaN; their edges no points. */
  shown: ReadonlySet<number> | null;
}

export const CARD = { width: 168, height: 44 } as const;
export const STACK = { width: 176, height: 58 } as const;
/** Two slips, three pixels each, show below a stack. */
export const SLIP = 3;
export const GAP_ACROSS = 24;
export const GAP_ALONG = 56;

/** World pixels that a mark takes; `slips` more show below it. */
export interface Size {
  width: number;
  height: number;
  slips: number;
}

export function sizeOf(kind: MarkKind): Size {
  return kind === "card" ? { ...CARD, slips: 0 } : { ...STACK, slips: kind === "chain" ? 0 : 2 * SLIP };
}

/** Of a group in a large graph: one bar, as high as the logarithm of its members. */
export function stripSize(members: number): Size {
  return { width: STACK.width, height: Math.round(36 + 22 * Math.log10(Math.max(1, members))), slips: 0 };
}

/**
 * Where every mark stands; with `shown`, where these do once the others are taken away. `sizes` gives the room of what
 * is open or a strip: both maps make room for it, and nothing changes its order. Cost: O(marks log marks + bends).
 */
export function place(
  all: Marks,
  allEdges: MarkEdges,
  direction: Direction,
  shown: ReadonlySet<number> | null = null,
  sizes: (mark: number) => Size = (mark) => sizeOf(all.kind[mark] ?? "card"),
): Places {
  const { marks, edges } = shown ? closeUp(all, allEdges, shown) : { marks: all, edges: allEdges };
  const count = marks.kind.length;
  const isRight = direction === "right";
  const isShown = (mark: number): boolean => shown?.has(mark) ?? true;
  const own = marks.kind.map((_, mark) => (isShown(mark) ? sizes(mark) : { width: 0, height: 0, slips: 0 }));
  const along = (mark: number): number => (isRight ? (own[mark]?.width ?? 0) : heightOf(own[mark]));
  const across = (mark: number): number => (isRight ? heightOf(own[mark]) : (own[mark]?.width ?? 0));

  const ranks = rankOffsets(marks.rank, along);
  const toAcross = acrossMap(marks.slot, across, isRight ? CARD.height + GAP_ACROSS : CARD.width + GAP_ACROSS);

  const places: Places = {
    direction,
    x: new Float64Array(count),
    y: new Float64Array(count),
    width: new Float64Array(count),
    height: new Float64Array(count),
    lines: [],
    bounds: { x: 0, y: 0, width: 0, height: 0 },
    shown,
  };
  for (let mark = 0; mark < count; mark++) {
    if (!isShown(mark)) {
      places.x[mark] = Number.NaN;
      places.y[mark] = Number.NaN;
      continue;
    }
    const size = own[mark] ?? sizeOf("card");
    const start = ranks.start[marks.rank[mark] ?? 0] ?? 0;
    const middle = toAcross(marks.slot[mark] ?? 0);
    places.width[mark] = size.width;
    places.height[mark] = size.height;
    places.x[mark] = isRight ? start : middle - size.width / 2;
    places.y[mark] = isRight ? middle - size.height / 2 : start;
  }
  places.lines = edges.source.map((source, edge) =>
    isShown(source) && isShown(edges.target[edge] ?? 0)
      ? line(places, edges, edge, ranks, toAcross, marks.rank)
      : new Float64Array(0),
  );
  places.bounds = withLines(boundsOf(places, shown ?? Array.from({ length: count }, (_, mark) => mark)), places.lines);
  return places;
}

/** The same order with the ranks closed up that hold nothing shown, and slots that nothing shown is near. */
function closeUp(marks: Marks, edges: MarkEdges, shown: ReadonlySet<number>): { marks: Marks; edges: MarkEdges } {
  const own = [...shown];
  const ranks = [...new Set(own.map((mark) => marks.rank[mark] ?? 0))].sort((a, b) => a - b);
  const rankOf = new Map(ranks.map((rank, at) => [rank, at]));
  const isKept = edges.source.map((source, edge) => shown.has(source) && shown.has(edges.target[edge] ?? 0));
  // Of the bends of a kept edge those stay that cross a rank which is still there.
  const bends = edges.bends.map((own, edge) => {
    const first = (marks.rank[edges.source[edge] ?? 0] ?? 0) + 1;
    return isKept[edge] ? own.filter((_, at) => rankOf.has(first + at)) : [];
  });
  const used = [...new Set([...own.map((mark) => marks.slot[mark] ?? 0), ...bends.flat()])].sort((a, b) => a - b);
  const slotOf = new Map<number, number>();
  let at = 0;
  used.forEach((slot, index) => {
    if (index > 0) at += Math.min(1, slot - (used[index - 1] ?? 0));
    slotOf.set(slot, at);
  });
  return {
    marks: {
      ...marks,
      rank: marks.rank.map((rank, mark) => (shown.has(mark) ? (rankOf.get(rank) ?? 0) : 0)),
      slot: marks.slot.map((slot, mark) => (shown.has(mark) ? (slotOf.get(slot) ?? 0) : 0)),
    },
    edges: { ...edges, bends: bends.map((own) => own.map((slot) => slotOf.get(slot) ?? 0)) },
  };
}

/** Edges may run outside of all marks. */
function withLines(box: Box, lines: readonly Float64Array[]): Box {
  let [left, top, right, bottom] = [box.x, box.y, box.x + box.width, box.y + box.height];
  for (const own of lines) {
    for (let at = 0; at < own.length; at += 2) {
      left = Math.min(left, own[at] ?? left);
      right = Math.max(right, own[at] ?? right);
      top = Math.min(top, own[at + 1] ?? top);
      bottom = Math.max(bottom, own[at + 1] ?? bottom);
    }
  }
  return { x: left, y: top, width: right - left, height: bottom - top };
}

function heightOf(size: Size | undefined): number {
  return size ? size.height + size.slips : 0;
}

interface Ranks {
  start: Float64Array;
  width: Float64Array;
}

/** Prefix sums of the widest mark of each rank. */
function rankOffsets(rank: readonly number[], along: (mark: number) => number): Ranks {
  const last = rank.reduce((most, each) => Math.max(most, each), -1);
  const width = new Float64Array(last + 1);
  rank.forEach((own, mark) => {
    width[own] = Math.max(width[own] ?? 0, along(mark));
  });
  const start = new Float64Array(last + 1);
  let at = 0;
  for (let index = 0; index <= last; index++) {
    start[index] = at;
    at += (width[index] ?? 0) + GAP_ALONG;
  }
  return { start, width };
}

/**
 * Slots to pixels. A slot is as wide as a card and its gap, but within half a slot of a larger mark as wide as that
 * one needs: neighbours never touch, and what has one slot stays on one line in every rank.
 */
export function acrossMap(
  slots: readonly number[],
  across: (mark: number) => number,
  pitch: number,
): (slot: number) => number {
  const changes: { at: number; pitch: number; by: 1 | -1 }[] = [];
  slots.forEach((slot, mark) => {
    const own = across(mark) + GAP_ACROSS;
    if (own <= pitch) return;
    changes.push({ at: slot - 0.5, pitch: own, by: 1 }, { at: slot + 0.5, pitch: own, by: -1 });
  });
  changes.sort((a, b) => a.at - b.at);
  const from: number[] = [];
  const offset: number[] = [];
  const slope: number[] = [];
  const active = new Map<number, number>();
  let at = 0;
  let pixel = 0;
  let current = pitch;
  for (let index = 0; index < changes.length; ) {
    const where = changes[index]?.at ?? 0;
    pixel += (where - at) * current;
    at = where;
    for (; index < changes.length && changes[index]?.at === where; index++) {
      const change = changes[index];
      if (change) active.set(change.pitch, (active.get(change.pitch) ?? 0) + change.by);
    }
    current = pitch;
    for (const [wide, holders] of active) if (holders > 0) current = Math.max(current, wide);
    from.push(at);
    offset.push(pixel);
    slope.push(current);
  }
  return (slot) => {
    let low = 0;
    let high = from.length;
    while (low < high) {
      const half = (low + high) >> 1;
      if ((from[half] ?? 0) <= slot) low = half + 1;
      else high = half;
    }
    const first = from[0];
    if (low === 0) return first === undefined ? slot * pitch : (offset[0] ?? 0) - (first - slot) * pitch;
    return (offset[low - 1] ?? 0) + (slot - (from[low - 1] ?? 0)) * (slope[low - 1] ?? pitch);
  };
}

function line(
  places: Places,
  edges: MarkEdges,
  edge: number,
  ranks: Ranks,
  toAcross: (slot: number) => number,
  rank: readonly number[],
): Float64Array {
  const source = edges.source[edge] ?? 0;
  const target = edges.target[edge] ?? 0;
  const bends = edges.bends[edge] ?? [];
  const points: number[] = [];
  const isRight = places.direction === "right";
  const add = (along: number, across: number): void => {
    if (isRight) points.push(along, across);
    else points.push(across, along);
  };
  const middle = (mark: number): number =>
    isRight
      ? (places.y[mark] ?? 0) + (places.height[mark] ?? 0) / 2
      : (places.x[mark] ?? 0) + (places.width[mark] ?? 0) / 2;
  const begin = (mark: number): number => (isRight ? (places.x[mark] ?? 0) : (places.y[mark] ?? 0));
  const size = (mark: number): number => (isRight ? (places.width[mark] ?? 0) : (places.height[mark] ?? 0));
  add(begin(source) + size(source), middle(source));
  const first = (rank[source] ?? 0) + 1;
  bends.forEach((slot, index) => {
    const start = ranks.start[first + index] ?? 0;
    const pixel = toAcross(slot);
    add(start, pixel);
    add(start + (ranks.width[first + index] ?? 0), pixel);
  });
  add(begin(target), middle(target));
  return Float64Array.from(points);
}

/** The box round some marks. */
export function boundsOf(places: Places, marks: Iterable<number>): Box {
  let [left, top, right, bottom] = [Infinity, Infinity, -Infinity, -Infinity];
  for (const mark of marks) {
    const x = places.x[mark] ?? 0;
    const y = places.y[mark] ?? 0;
    if (Number.isNaN(x)) continue;
    left = Math.min(left, x);
    top = Math.min(top, y);
    right = Math.max(right, x + (places.width[mark] ?? 0));
    bottom = Math.max(bottom, y + (places.height[mark] ?? 0) + 2 * SLIP);
  }
  if (left > right) return { x: 0, y: 0, width: 0, height: 0 };
  return { x: left, y: top, width: right - left, height: bottom - top };
}

/** Left to right, but top to bottom in a narrow view, or for a graph far deeper than wide that is seen better so. */
export function chooseDirection(marks: Marks, edges: MarkEdges, width: number, height: number): Direction {
  if (width < 600) return "down";
  const flat = place(marks, edges, "right").bounds;
  if (flat.width <= 3 * width || flat.width <= 3 * flat.height) return "right";
  const tall = place(marks, edges, "down").bounds;
  return fitScale(tall, width, height) > 1.3 * fitScale(flat, width, height) ? "down" : "right";
}

/** The zoom at which `box` fills a view. */
export function fitScale(box: Box, width: number, height: number): number {
  return Math.min(width / Math.max(1, box.width), height / Math.max(1, box.height));
}
