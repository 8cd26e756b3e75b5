// What is on screen: model + places + camera -> marks with their boxes, texts and level of detail. And what was hit.
import { STATUS_COUNT, type Store } from "../model/store.ts";
import { blockerOf, ranFor, URGENCY, worst } from "../model/derive.ts";
import { isSlow } from "../model/left.ts";
import { duration, plain, say, timeOfDay } from "../model/words.ts";
import { Status } from "../protocol.ts";
import { Board, type Open } from "./board.ts";
import { type Box, CARD, type Places, SLIP } from "./place.ts";

/** Screen = (world - x, y) * k. */
export interface Camera {
  x: number;
  y: number;
  k: number;
}

export type Level = "card" | "chip" | "pill" | "block" | "cell";

/** How a mark stands to what is under the pointer. */
export type Emphasis = "normal" | "lit" | "dim";

export interface SceneMark {
  mark: number;
  x: number;
  y: number;
  width: number;
  height: number;
  status: number;
  size: number;
  isStack: boolean;
  hasSlips: boolean;
  name: string;
  detail: string;
  badge: string;
  /** Counts by status number start here in the store's `markCounts`. */
  base: number;
  emphasis: Emphasis;
  /** Less than 1 for what is on its way out. */
  opacity: number;
  isSelected: boolean;
  isFocused: boolean;
  /** Drawn with a casing: on the critical path. */
  isCased: boolean;
  /** A bar as high as the logarithm of its members. */
  isStrip: boolean;
  /** What an open stack shows; null for a closed one. */
  board: Board | null;
}

export interface SceneEdge {
  edge: number;
  /** Screen pixels, as in `Places.lines`. */
  line: Float64Array;
  count: number;
  /** A "cycle" is no way that a run can take. */
  style: "normal" | "up" | "down" | "dim" | "cycle";
  isCased: boolean;
  /** Drawn as wide as many edges are. */
  isRibbon: boolean;
}

/** Marks too small to draw one by one: a square with the worst status over the mix. */
export interface Cell {
  x: number;
  y: number;
  status: number;
  counts: Uint32Array;
}

export interface Scene {
  level: Level;
  camera: Camera;
  width: number;
  height: number;
  marks: SceneMark[];
  edges: SceneEdge[];
  /** Edges in view that are too many to draw: those that stand for the fewest. */
  left: number;
  cells: Cell[];
  /** Marks wholly or partly in the view itself. */
  shown: number;
  isAnyRunning: boolean;
  isAnyYoung: boolean;
}

export interface SceneInput {
  store: Store;
  places: Places;
  camera: Camera;
  width: number;
  height: number;
  selected: ReadonlySet<number>;
  focused: number;
  /** Marks above and below the hovered one, itself in both; null without hover. */
  lit: { up: ReadonlySet<number>; down: ReadonlySet<number> } | null;
  /** Marks that an action under the pointer would touch; null without one. */
  touched: ReadonlySet<number> | null;
  /** What a filter means: marks with a member of it, and per node 1 for what it means. Null without one. */
  wanted?: { marks: ReadonlySet<number>; mask: Uint8Array } | null;
  hasEdges: boolean;
  errorOf: (node: number) => string;
  /** Marks and edges (by their numbers) that are drawn with a casing: a path that is pointed out. */
  cased?: { marks: ReadonlySet<number>; edges: ReadonlySet<number> } | null;
  /** Marks that stand open. */
  opens?: ReadonlyMap<number, Open>;
  /** The tile under the keyboard. */
  cursor?: { mark: number; tile: number } | null;
}

const MOST_CARDS = 300;
const MOST_MARKS = 2000;
const MOST_EDGES = 2000;
const MARGIN = 200;
/** From this many nodes on, edges between groups are ribbons, and from that many on groups are strips. */
const RIBBONS_FROM = 5_000;
const STRIPS_FROM = 50_000;
export const CELL = 8;
export const LEVELS: readonly (readonly [Level, number])[] = [
  ["card", 120],
  ["chip", 60],
  ["pill", 24],
  ["block", 8],
];

export function hasStrips(store: Store): boolean {
  return store.total >= STRIPS_FROM;
}

/** By the width of a card on screen. */
export function levelOf(k: number): Level {
  for (const [level, least] of LEVELS) if (CARD.width * k >= least - 1e-9) return level;
  return "cell";
}

/** The smallest zoom at which a level is drawn. */
export function leastZoom(level: Level): number {
  return (LEVELS.find(([name]) => name === level)?.[1] ?? 1) / CARD.width;
}

/** Everything to draw. Cost: O(marks + edges) to find what is in view, the rest by what is. */
export function buildScene(input: SceneInput): Scene {
  const { camera, width, height } = input;
  const inView = marksIn(input, { x: -MARGIN, y: -MARGIN, width: width + 2 * MARGIN, height: height + 2 * MARGIN });
  let level = levelOf(camera.k);
  if (level === "card" && inView.length > MOST_CARDS) level = "chip";
  if (inView.length > MOST_MARKS) level = "cell";
  const scene: Scene = {
    level,
    camera,
    width,
    height,
    marks: [],
    edges: [],
    left: 0,
    cells: [],
    shown: marksIn(input, { x: 0, y: 0, width, height }).length,
    isAnyRunning: (input.store.counts[Status.RUNNING] ?? 0) > 0,
    isAnyYoung: false,
  };
  if (level === "cell") scene.cells = cells(input, inView);
  else for (const mark of inView) scene.marks.push(sceneMark(input, mark, level, scene));
  if (input.hasEdges) scene.edges = sceneEdges(input, scene);
  return scene;
}

/** Marks whose box on screen meets `box`. */
export function marksIn(input: Pick<SceneInput, "places" | "camera">, box: Box): number[] {
  const { places, camera } = input;
  const left = camera.x + box.x / camera.k;
  const top = camera.y + box.y / camera.k;
  const right = left + box.width / camera.k;
  const bottom = top + box.height / camera.k;
  const found: number[] = [];
  for (let mark = 0; mark < places.x.length; mark++) {
    const x = places.x[mark] ?? 0;
    const y = places.y[mark] ?? 0;
    if (Number.isNaN(x) || x > right || y > bottom || x + (places.width[mark] ?? 0) < left) continue;
    if (y + (places.height[mark] ?? 0) + 2 * SLIP >= top) found.push(mark);
  }
  return found;
}

export function toScreen(camera: Camera, box: Box): Box {
  return {
    x: (box.x - camera.x) * camera.k,
    y: (box.y - camera.y) * camera.k,
    width: box.width * camera.k,
    height: box.height * camera.k,
  };
}

/** The mark under a point of the screen, -1 for none. Small marks are hit within two pixels. */
export function hitTest(input: Pick<SceneInput, "places" | "camera">, x: number, y: number): number {
  const near = marksIn(input, { x: x - 2, y: y - 2, width: 4, height: 4 });
  return near.at(-1) ?? -1;
}

function sceneMark(input: SceneInput, mark: number, level: Level, scene: Scene): SceneMark {
  const { store, places, camera } = input;
  const marks = store.picture?.marks;
  const size = marks?.size[mark] ?? 1;
  const kind = marks?.kind[mark] ?? "card";
  const isStack = kind !== "card";
  const base = mark * STATUS_COUNT;
  const status = worst(store.markCounts, base);
  const node = marks?.first[mark] ?? 0;
  const isWritten = level === "card" || level === "chip";
  const box = toScreen(camera, {
    x: places.x[mark] ?? 0,
    y: places.y[mark] ?? 0,
    width: places.width[mark] ?? 0,
    height: places.height[mark] ?? 0,
  });
  if (level === "card" && !isStack && status === Status.RUNNING) scene.isAnyYoung ||= ranFor(store, node) < 1;
  return {
    ...box,
    mark,
    status,
    size,
    isStack,
    hasSlips: (kind === "stack" || kind === "band") && !hasStrips(store) && !input.opens?.has(mark),
    name: isWritten ? plain(marks?.name[mark] ?? "") : "",
    detail: level === "card" && !isStack ? detailOf(store, node, input.errorOf(node)) : "",
    badge: isWritten && !isStack ? badgeOf(store, node) : "",
    base,
    emphasis: emphasisOf(input, mark),
    opacity: 1,
    isSelected: input.selected.has(mark),
    isFocused: input.focused === mark,
    isCased: input.cased?.marks.has(mark) ?? false,
    isStrip: isStack && hasStrips(store),
    board: boardOf(input, mark),
  };
}

function badgeOf(store: Store, node: number): string {
  const attempt = store.attempt[node] ?? 0;
  return [store.tagOf?.(node), isSlow(store, node) && "◷", attempt > 1 && `↻${attempt}`].filter(Boolean).join(" ");
}

function boardOf(input: SceneInput, mark: number): Board | null {
  const open = input.opens?.get(mark);
  if (!open) return null;
  const cursor = input.cursor?.mark === mark ? input.cursor.tile : -1;
  const mask = input.wanted?.mask ?? null;
  return new Board(input.store, mark, open, cursor, (node) => detailOf(input.store, node, input.errorOf(node)), mask);
}

function emphasisOf(input: SceneInput, mark: number): Emphasis {
  if (input.touched) return input.touched.has(mark) ? "lit" : "dim";
  if (!input.lit) return input.wanted?.marks.has(mark) === false ? "dim" : "normal";
  return input.lit.up.has(mark) || input.lit.down.has(mark) ? "lit" : "dim";
}

/** The second line of a card. */
export function detailOf(store: Store, node: number, error: string): string {
  const status = store.status[node] ?? 0;
  const took = ranFor(store, node);
  const ended = store.ended[node] ?? Number.NaN;
  switch (status) {
    case Status.RUNNING:
      return Number.isNaN(took) ? say("detail.starting") : elapsedOf(store, node, took);
    case Status.COMPLETED:
      return Number.isNaN(took) ? "" : duration(took);
    case Status.FAILED:
      if (error) return plain(error);
      return Number.isNaN(took) ? "" : say("detail.failed_after", { time: duration(took) });
    case Status.CANCELLED:
      if (Number.isNaN(ended) || store.run?.started == null) return say("detail.cancelled");
      return say("detail.cancelled_at", { time: timeOfDay(store.run.started + ended, store.now()) });
    case Status.PARENT_FAILED: {
      const blocker = blockerOf(store, node);
      return blocker < 0 ? say("detail.blocked") : say("detail.blocked_by", { name: plain(store.nameOf(blocker)) });
    }
    default:
      return waitingWords(store, node);
  }
}

/** How long a node has been running, and how far it says it is. */
export function elapsedOf(store: Store, node: number, took: number): string {
  const percent = store.progress.get(node);
  return percent === undefined ? ticking(took) : say("detail.progress", { time: ticking(took), n: percent });
}

/** Elapsed time of something that runs: tenths while they can be read, then whole seconds. */
export function ticking(seconds: number): string {
  if (seconds < 1) return `${seconds.toFixed(1)} s`;
  return seconds < 60 ? `${Math.floor(seconds)} s` : duration(Math.floor(seconds));
}

/** Why a node has not started, as far as the page knows. */
export function waitingWords(store: Store, node: number): string {
  if (store.whyOf) return store.whyOf(node);
  const waits: number[] = [];
  for (const parent of store.parentsOf(node)) if (store.status[parent] !== Status.COMPLETED) waits.push(parent);
  if (waits.length > 0) {
    const names = waits
      .slice(0, 2)
      .map((each) => plain(store.nameOf(each)))
      .join(", ");
    return say(waits.length === 1 ? "detail.waits_for_one" : "detail.waits_for", { n: waits.length, names });
  }
  if (store.run?.started == null) return say("detail.ready");
  if (store.run.is_ended) return "";
  return store.parents || store.total === 1 ? say("detail.waits_for_worker") : "";
}

function sceneEdges(input: SceneInput, scene: Scene): SceneEdge[] {
  const { store, places, camera, lit } = input;
  const edges = store.picture?.edges;
  if (!edges) return [];
  const left = camera.x - MARGIN / camera.k;
  const top = camera.y - MARGIN / camera.k;
  const right = camera.x + (input.width + MARGIN) / camera.k;
  const bottom = camera.y + (input.height + MARGIN) / camera.k;
  let found: number[] = [];
  places.lines.forEach((line, edge) => {
    if (meets(line, left, top, right, bottom)) found.push(edge);
  });
  if (found.length > MOST_EDGES) {
    found.sort((a, b) => (edges.count[b] ?? 0) - (edges.count[a] ?? 0));
    scene.left = found.length - MOST_EDGES;
    found = found.slice(0, MOST_EDGES);
  }
  return found.map((edge) => {
    const from = edges.source[edge] ?? 0;
    const to = edges.target[edge] ?? 0;
    let style: SceneEdge["style"] = "normal";
    if (lit) {
      if (lit.up.has(from) && lit.up.has(to)) style = "up";
      else style = lit.down.has(from) && lit.down.has(to) ? "down" : "dim";
    } else if (input.touched) style = "dim";
    else if (input.wanted && !(input.wanted.marks.has(from) && input.wanted.marks.has(to))) style = "dim";
    else if (store.picture?.cyclic?.includes(edge)) style = "cycle";
    const line = Float64Array.from(places.lines[edge] ?? [], (value, index) =>
      index % 2 === 0 ? (value - camera.x) * camera.k : (value - camera.y) * camera.k,
    );
    const size = store.picture?.marks.size;
    const isRibbon = store.total >= RIBBONS_FROM && (size?.[from] ?? 1) > 1 && (size?.[to] ?? 1) > 1;
    const isCased = input.cased?.edges.has(edge) ?? false;
    return { edge, line, count: edges.count[edge] ?? 1, style, isCased, isRibbon };
  });
}

function meets(line: Float64Array, left: number, top: number, right: number, bottom: number): boolean {
  let [minX, minY, maxX, maxY] = [Infinity, Infinity, -Infinity, -Infinity];
  for (let at = 0; at < line.length; at += 2) {
    const x = line[at] ?? 0;
    const y = line[at + 1] ?? 0;
    minX = Math.min(minX, x);
    maxX = Math.max(maxX, x);
    minY = Math.min(minY, y);
    maxY = Math.max(maxY, y);
  }
  return maxX >= left && minX <= right && maxY >= top && minY <= bottom;
}

function cells(input: SceneInput, marks: readonly number[]): Cell[] {
  const { store, places, camera } = input;
  const found = new Map<number, Cell>();
  for (const mark of marks) {
    const x = ((places.x[mark] ?? 0) + (places.width[mark] ?? 0) / 2 - camera.x) * camera.k;
    const y = ((places.y[mark] ?? 0) + (places.height[mark] ?? 0) / 2 - camera.y) * camera.k;
    const column = Math.floor(x / CELL);
    const row = Math.floor(y / CELL);
    const key = (column + 4096) * 65536 + row + 4096;
    let cell = found.get(key);
    if (!cell) {
      cell = { x: column * CELL, y: row * CELL, status: 0, counts: new Uint32Array(STATUS_COUNT) };
      found.set(key, cell);
    }
    for (const status of URGENCY) {
      cell.counts[status] = (cell.counts[status] ?? 0) + (store.markCounts[mark * STATUS_COUNT + status] ?? 0);
    }
  }
  for (const cell of found.values()) cell.status = worst(cell.counts);
  return [...found.values()];
}

/** Marks above (`down` false) or below a mark by the edges between marks, itself included. */
export function reachMarks(store: Store, mark: number, down: boolean): Set<number> {
  const edges = store.picture?.edges;
  const found = new Set([mark]);
  if (!edges) return found;
  const next = new Map<number, number[]>();
  edges.source.forEach((source, edge) => {
    const target = edges.target[edge] ?? 0;
    const [from, to] = down ? [source, target] : [target, source];
    const list = next.get(from);
    if (list) list.push(to);
    else next.set(from, [to]);
  });
  const stack = [mark];
  while (stack.length > 0) {
    for (const each of next.get(stack.pop() ?? 0) ?? []) {
      if (found.has(each)) continue;
      found.add(each);
      stack.push(each);
    }
  }
  return found;
}

/** Camera that shows `box` whole, with a margin, never nearer than 100 % nor `most`. */
export function fitCamera(box: Box, width: number, height: number, margin = 24, most = 1): Camera {
  const k = Math.max(
    1e-4,
    Math.min(most, (width - 2 * margin) / Math.max(1, box.width), (height - 2 * margin) / Math.max(1, box.height)),
  );
  return {
    k,
    x: box.x + box.width / 2 - width / 2 / k,
    y: box.y + box.height / 2 - height / 2 / k,
  };
}

export function zoomAt(camera: Camera, factor: number, x: number, y: number, least: number, most: number): Camera {
  const k = Math.min(most, Math.max(least, camera.k * factor));
  return { k, x: camera.x + x / camera.k - x / k, y: camera.y + y / camera.k - y / k };
}
