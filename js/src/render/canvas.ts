// Marks and edges on a canvas. Draws in screen pixels, so that lines and letters stay sharp at every zoom.
import { segments } from "../model/derive.ts";
import { count, middle } from "../model/words.ts";
import { Status } from "../protocol.ts";
import { type Box, type Direction, SLIP } from "./place.ts";
import { CELL, type Scene, type SceneEdge, type SceneMark } from "./scene.ts";
import { fade, GLYPH_GRID, GLYPH_STROKE, GLYPHS, type StatusStyle, type Theme } from "./theme.ts";

const DIMMED = 0.3;
const CELL_GAP = 1;
/** Text is never smaller than this. */
const LEAST_TEXT = 9.5;
const DASHES: Record<StatusStyle["line"], readonly number[]> = { solid: [], dashed: [5, 4], dotted: [0.1, 3.4] };
const NO_STYLE: StatusStyle = {
  mark: "",
  ink: "",
  word: "",
  line: "solid",
  width: 1,
  band: 0,
  isFilled: false,
  isHatched: false,
  isStruck: false,
};

/** What draws, in which colours, and what it has worked out before. */
export interface Brush {
  readonly context: CanvasRenderingContext2D;
  theme: Theme;
  /** Texts that were made to fit. */
  readonly fitted: Map<string, string>;
  readonly shapes: readonly { stroke: Path2D | null; fill: Path2D | null }[];
}

export function makeBrush(context: CanvasRenderingContext2D, theme: Theme): Brush {
  const shapes = GLYPHS.map((glyph) => ({
    stroke: glyph.stroke ? new Path2D(glyph.stroke) : null,
    fill: glyph.fill ? new Path2D(glyph.fill) : null,
  }));
  return { context, theme, fitted: new Map(), shapes };
}

/** Makes the bitmap fit its box on screen; true if it had to change, and is empty now. */
export function fitBitmap(canvas: HTMLCanvasElement, width: number, height: number, ratio: number): boolean {
  const [wide, high] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (canvas.width === wide && canvas.height === high) return false;
  canvas.width = wide;
  canvas.height = high;
  return true;
}

/** Empties a canvas and sets it to screen pixels. */
export function begin(context: CanvasRenderingContext2D, ratio: number): void {
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, context.canvas.width, context.canvas.height);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.globalAlpha = 1;
}

// --- edges ---------------------------------------------------------------------------------------------------

export function drawEdges(brush: Brush, scene: Scene, direction: Direction): void {
  const isSmall = scene.level === "block" || scene.level === "cell";
  const order: SceneEdge["style"][] = ["dim", "normal", "down", "up"];
  for (const style of order) {
    const edges = scene.edges.filter((edge) => edge.style === style);
    if (edges.length > 0) drawEdgesOf(brush, scene, edges, style, direction, isSmall);
  }
}

function drawEdgesOf(
  { context, theme }: Brush,
  scene: Scene,
  edges: readonly SceneEdge[],
  style: SceneEdge["style"],
  direction: Direction,
  isSmall: boolean,
): void {
  const k = scene.camera.k;
  const isLit = style === "up" || style === "down";
  context.save();
  context.strokeStyle = isLit ? theme.secondary : theme.edge;
  context.fillStyle = context.strokeStyle;
  context.globalAlpha = style === "dim" ? DIMMED : isSmall ? 0.55 : 1;
  context.lineCap = "round";
  if (style === "down") context.setLineDash([6, 5]);
  const arrow = isSmall || scene.level === "pill" ? 0 : isLit ? 8 : 6 * Math.min(1.25, Math.max(0.8, k));
  const byWidth = new Map<number, SceneEdge[]>();
  for (const edge of edges) {
    const width = isLit ? 2.5 : edgeWidth(edge.count, isSmall, k);
    const list = byWidth.get(width);
    if (list) list.push(edge);
    else byWidth.set(width, [edge]);
  }
  const tips: { edge: SceneEdge; width: number }[] = [];
  for (const [width, group] of byWidth) {
    context.lineWidth = width;
    context.beginPath();
    for (const edge of group) {
      traceEdge(context, edge.line, direction, arrow);
      tips.push({ edge, width });
    }
    context.stroke();
  }
  context.setLineDash([]);
  if (arrow > 0) {
    context.beginPath();
    for (const { edge, width } of tips) traceArrow(context, edge.line, direction, arrow + Math.max(0, width - 1.5));
    context.fill();
  }
  context.restore();
}

/** Thicker for an edge that stands for many, within reason. */
function edgeWidth(members: number, isSmall: boolean, k: number): number {
  if (isSmall) return 0.75;
  const wide = 1.25 + Math.min(1.75, 0.6 * Math.log10(Math.max(1, members)));
  return Math.round(Math.max(1, wide * Math.min(1, 0.4 + 0.6 * k)) * 4) / 4;
}

export function traceEdge(context: CanvasPath, line: ArrayLike<number>, direction: Direction, arrow: number): void {
  const isRight = direction === "right";
  const last = line.length - 2;
  let x = line[0] ?? 0;
  let y = line[1] ?? 0;
  context.moveTo(x, y);
  for (let at = 2; at <= last; at += 2) {
    let toX = line[at] ?? 0;
    let toY = line[at + 1] ?? 0;
    if (at === last) {
      if (isRight) toX -= arrow * 0.8;
      else toY -= arrow * 0.8;
    }
    const along = isRight ? toX - x : toY - y;
    const pull = along > 0 ? along * 0.5 : 24 - along * 0.35;
    const isStraight = at % 4 === 0 && at !== last;
    if (isStraight) context.lineTo(toX, toY);
    else if (isRight) context.bezierCurveTo(x + pull, y, toX - pull, toY, toX, toY);
    else context.bezierCurveTo(x, y + pull, toX, toY - pull, toX, toY);
    x = toX;
    y = toY;
  }
}

function traceArrow(context: CanvasPath, line: ArrayLike<number>, direction: Direction, size: number): void {
  const x = line[line.length - 2] ?? 0;
  const y = line[line.length - 1] ?? 0;
  const half = size * 0.55;
  context.moveTo(x, y);
  if (direction === "right") {
    context.lineTo(x - size, y - half);
    context.lineTo(x - size, y + half);
  } else {
    context.lineTo(x - half, y - size);
    context.lineTo(x + half, y - size);
  }
  context.closePath();
}

// --- marks ---------------------------------------------------------------------------------------------------

export function drawMarks(brush: Brush, scene: Scene, counts: ArrayLike<number>): void {
  const { context } = brush;
  if (scene.level === "cell") {
    drawCells(brush, scene);
    return;
  }
  for (const mark of scene.marks) {
    context.globalAlpha = mark.emphasis === "dim" ? DIMMED : 1;
    if (scene.level === "card" || scene.level === "chip") drawCard(brush, scene, mark, counts);
    else drawPlain(brush, scene, mark, counts);
    context.globalAlpha = 1;
    if (mark.isSelected || mark.isFocused) drawRing(brush, scene, mark);
  }
}

function drawCells({ context, theme }: Brush, scene: Scene): void {
  for (const cell of scene.cells) {
    context.fillStyle = theme.status[cell.status]?.mark ?? theme.edge;
    context.fillRect(cell.x, cell.y, CELL - CELL_GAP, CELL - CELL_GAP);
  }
}

/** Pill and block: nothing but colour, and a glyph where there is room. */
function drawPlain(brush: Brush, scene: Scene, mark: SceneMark, counts: ArrayLike<number>): void {
  const { context, theme } = brush;
  const box = snap(mark, 1);
  const style = theme.status[mark.status] ?? NO_STYLE;
  const radius = Math.min(box.height / 2, scene.level === "pill" ? 4 : 2);
  if (mark.isStack && scene.level === "block") {
    // Thousands of clips are what a frame has no time for, and corners of two pixels are not seen.
    drawBar(brush, box, counts, mark.base);
    return;
  }
  context.beginPath();
  context.roundRect(box.x, box.y, box.width, box.height, radius);
  const isOpen = mark.status === Status.NOT_STARTED && !mark.isStack;
  if (mark.isStack) {
    context.save();
    context.clip();
    drawBar(brush, box, counts, mark.base);
    context.restore();
  } else {
    context.fillStyle = isOpen ? theme.canvas : style.mark;
    context.fill();
    if (isOpen) {
      context.strokeStyle = style.mark;
      context.lineWidth = 1;
      context.stroke();
    }
  }
  const glyph = Math.min(10, box.height - 2);
  if (scene.level === "pill" && glyph >= 7 && !mark.isStack) {
    const middleX = box.x + box.width / 2;
    drawGlyph(
      brush,
      mark.status,
      middleX - glyph / 2,
      box.y + (box.height - glyph) / 2,
      glyph,
      isOpen ? style.word : style.ink,
    );
  }
}

function drawCard(brush: Brush, scene: Scene, mark: SceneMark, counts: ArrayLike<number>): void {
  const { context, theme } = brush;
  const k = scene.camera.k;
  const style = theme.status[mark.status] ?? NO_STYLE;
  const isFilled = style.isFilled && !mark.isStack;
  const line = mark.isStack ? (mark.status === Status.FAILED ? 1.5 : 1) : style.width;
  const box = snap(mark, line);
  const radius = Math.min(8, Math.max(3, 6 * k));
  if (mark.hasSlips) drawSlips(brush, box, radius, k, style);
  context.beginPath();
  context.roundRect(box.x, box.y, box.width, box.height, radius);
  const isOpen = mark.status === Status.NOT_STARTED && !mark.isStack;
  context.fillStyle = isFilled ? style.mark : isOpen ? theme.canvas : theme.card;
  context.fill();
  if ((style.isHatched && !mark.isStack) || style.band > 0) {
    context.save();
    context.clip();
    if (style.isHatched && !mark.isStack) hatch(context, box, fade(style.mark, 0.2));
    if (style.band > 0) {
      context.fillStyle = style.mark;
      context.fillRect(box.x, box.y, Math.max(3, style.band * k) + 0.5, box.height);
    }
    context.restore();
  }
  context.strokeStyle = style.mark;
  context.lineWidth = line;
  context.setLineDash(mark.isStack ? [] : [...DASHES[style.line]]);
  if (style.line === "dotted" && !mark.isStack) context.lineCap = "round";
  context.beginPath();
  context.roundRect(box.x, box.y, box.width, box.height, radius);
  context.stroke();
  context.setLineDash([]);
  context.lineCap = "butt";
  const ink = isFilled ? style.ink : theme.text;
  const soft = isFilled ? style.ink : theme.secondary;
  if (mark.isStack) writeStack(brush, scene, mark, box, counts);
  else writeCard(brush, scene, mark, box, style, ink, soft, isFilled);
}

function drawSlips({ context, theme }: Brush, box: Box, radius: number, k: number, style: StatusStyle): void {
  for (const number of [2, 1]) {
    const shift = Math.max(1.5, SLIP * k) * number;
    const inset = Math.max(1.5, 4 * k) * number;
    context.beginPath();
    context.roundRect(box.x + inset, box.y + shift, box.width - 2 * inset, box.height, radius);
    context.fillStyle = theme.card;
    context.fill();
    context.strokeStyle = fade(style.mark, number === 1 ? 0.75 : 0.5);
    context.lineWidth = 1;
    context.stroke();
  }
}

function writeCard(
  brush: Brush,
  scene: Scene,
  mark: SceneMark,
  box: Box,
  style: StatusStyle,
  ink: string,
  soft: string,
  isFilled: boolean,
): void {
  const { context, theme } = brush;
  const k = scene.camera.k;
  const isCard = scene.level === "card";
  const nameSize = isCard ? Math.max(11, 13 * k) : Math.min(11.5, Math.max(LEAST_TEXT, box.height * 0.52));
  const detailSize = Math.max(9.5, 11 * k);
  const pad = isCard ? 10 * k : Math.max(4, 7 * k);
  const glyph = isCard ? Math.max(11, 14 * k) : Math.min(11, box.height - 5);
  const hasDetail = isCard && mark.detail !== "";
  const nameY = hasDetail ? box.y + box.height * 0.335 : box.y + box.height / 2;
  const left = box.x + pad + (style.band ? 2 * k : 0);
  const textX = left + glyph + Math.max(3.5, 6 * k);
  drawGlyph(brush, mark.status, left, nameY - glyph / 2, glyph, isFilled ? style.ink : style.word);
  let right = box.x + box.width - pad;
  if (mark.badge && box.width >= 70) {
    const size = Math.max(9.5, 11 * k);
    context.font = `500 ${size}px ${theme.uiFont}`;
    context.fillStyle = soft;
    context.textAlign = "right";
    context.textBaseline = "middle";
    context.fillText(`↻${mark.badge}`, right, nameY + 0.5);
    right -= context.measureText(`↻${mark.badge}`).width + 5 * k;
  }
  context.textAlign = "left";
  context.textBaseline = "middle";
  context.fillStyle = ink;
  context.font = `${isCard ? 600 : 500} ${nameSize}px ${theme.uiFont}`;
  // A name is written smaller before anything of it is left out.
  if (!isCard && mark.name.length < 60 && context.measureText(mark.name).width > right - textX) {
    context.font = `500 ${LEAST_TEXT}px ${theme.uiFont}`;
  }
  const name = fitText(brush, mark.name, right - textX);
  context.fillText(name, textX, nameY + 0.5);
  if (style.isStruck) strike(context, textX, nameY, context.measureText(name).width, ink);
  if (!hasDetail) return;
  context.font = `400 ${detailSize}px ${theme.uiFont}`;
  context.fillStyle = mark.status === Status.RUNNING ? style.word : soft;
  const detail = fitText(brush, mark.detail, box.x + box.width - pad - textX, true);
  context.fillText(detail, textX, box.y + box.height * 0.69 + 0.5);
}

function writeStack(brush: Brush, scene: Scene, mark: SceneMark, box: Box, counts: ArrayLike<number>): void {
  const { context, theme } = brush;
  const k = scene.camera.k;
  const isCard = scene.level === "card";
  const pad = isCard ? 10 * k : Math.max(4, 8 * k);
  const hasBand = (theme.status[mark.status]?.band ?? 0) > 0;
  const left = box.x + pad + (hasBand ? 2 * k : 0);
  const right = box.x + box.width - pad;
  const nameSize = isCard ? Math.max(11, 13 * k) : Math.min(12, Math.max(9.5, 12.5 * k));
  const hasBar = isCard || box.height >= 24;
  const nameY = isCard ? box.y + 16 * k : box.y + (hasBar ? box.height * 0.4 : box.height / 2);
  context.textBaseline = "middle";
  context.textAlign = "right";
  context.font = `500 ${Math.max(9.5, nameSize - 1)}px ${theme.uiFont}`;
  context.fillStyle = theme.secondary;
  const times = `×${count(mark.size)}`;
  const timesWidth = context.measureText(times).width + 6 * k;
  const glyph = isCard ? 0 : Math.min(11, nameSize);
  const failed = isCard ? 0 : (counts[mark.base + Status.FAILED] ?? 0);
  const failedText = failed > 0 ? count(failed) : "";
  const failedFont = `700 ${Math.max(9.5, nameSize - 1)}px ${theme.uiFont}`;
  let textX = left + (glyph > 0 ? glyph + 4 : 0);
  if (failedText) {
    context.font = failedFont;
    textX += context.measureText(failedText).width + 2;
    context.font = `500 ${Math.max(9.5, nameSize - 1)}px ${theme.uiFont}`;
  }
  const nameFont = `600 ${nameSize}px ${theme.uiFont}`;
  const timesFont = context.font;
  context.font = nameFont;
  // In a chip the name comes first: slips and bar say already that there are many.
  const hasTimes = isCard || context.measureText(mark.name).width <= right - timesWidth - textX;
  if (hasTimes) {
    context.font = timesFont;
    context.fillText(times, right, nameY + 0.5);
  }
  if (glyph > 0)
    drawGlyph(brush, mark.status, left, nameY - glyph / 2, glyph, theme.status[mark.status]?.word ?? theme.text);
  context.textAlign = "left";
  if (failedText) {
    context.font = failedFont;
    context.fillStyle = theme.status[Status.FAILED]?.word ?? theme.text;
    context.fillText(failedText, left + glyph + 1, nameY + 0.5);
  }
  context.font = nameFont;
  context.fillStyle = theme.text;
  context.fillText(fitText(brush, mark.name, right - (hasTimes ? timesWidth : 0) - textX), textX, nameY + 0.5);
  if (isCard) writeCounts(brush, k, left, right, box.y + 33 * k, counts, mark.base);
  if (!hasBar) return;
  const height = isCard ? 6 * k : Math.max(3, 5 * k);
  const bar = { x: left, y: box.y + box.height - height - (isCard ? 8 * k : 5 * k), width: right - left, height };
  context.save();
  context.beginPath();
  context.roundRect(bar.x, bar.y, bar.width, bar.height, height / 2);
  context.clip();
  drawBar(brush, bar, counts, mark.base);
  context.restore();
}

const COUNT_ORDER = [
  Status.FAILED,
  Status.RUNNING,
  Status.PARENT_FAILED,
  Status.COMPLETED,
  Status.CANCELLED,
  Status.NOT_STARTED,
];

/** "✕3 ▶16 ✓620", worst first, as many as there is room for. */
function writeCounts(
  brush: Brush,
  k: number,
  left: number,
  right: number,
  y: number,
  counts: ArrayLike<number>,
  base: number,
): void {
  const { context, theme } = brush;
  const size = Math.max(9.5, 11 * k);
  const glyph = size - 0.5;
  let x = left;
  for (const status of COUNT_ORDER) {
    const own = counts[base + status] ?? 0;
    if (own === 0) continue;
    const text = count(own);
    const isLoud = status === Status.FAILED;
    context.font = `${isLoud ? 700 : 500} ${size}px ${theme.uiFont}`;
    const wide = glyph + 2.5 * k + context.measureText(text).width;
    if (x + wide > right) return;
    const colour = theme.status[status]?.word ?? theme.secondary;
    drawGlyph(brush, status, x, y - glyph / 2, glyph, colour);
    context.fillStyle = isLoud ? colour : theme.secondary;
    context.textAlign = "left";
    context.textBaseline = "middle";
    context.fillText(text, x + glyph + 2.5 * k, y + 0.5);
    x += wide + 9 * k;
  }
}

/** Segments side by side, failures at least four pixels wide. */
export function drawBar({ context, theme }: Brush, box: Box, counts: ArrayLike<number>, base: number): void {
  for (const segment of segments(counts, box.width, 2, base, Math.min(4, box.width / 6))) {
    const style = theme.status[segment.status] ?? NO_STYLE;
    const isOpen = segment.status === Status.NOT_STARTED;
    context.fillStyle = isOpen ? fade(style.mark, 0.28) : style.mark;
    context.fillRect(box.x + segment.from, box.y, segment.width, box.height);
  }
}

export function drawGlyph(
  { context, shapes }: Brush,
  status: number,
  x: number,
  y: number,
  size: number,
  colour: string,
): void {
  const { stroke, fill } = shapes[status] ?? { stroke: null, fill: null };
  const scale = size / GLYPH_GRID;
  context.save();
  context.translate(x, y);
  context.scale(scale, scale);
  if (stroke) {
    context.strokeStyle = colour;
    context.lineWidth = Math.max(GLYPH_STROKE, 1.3 / scale);
    context.lineCap = "round";
    context.lineJoin = "round";
    context.stroke(stroke);
  }
  if (fill) {
    context.fillStyle = colour;
    context.fill(fill);
  }
  context.restore();
}

function drawRing({ context, theme }: Brush, scene: Scene, mark: SceneMark): void {
  const box = snap(mark, 2);
  const gap = 3;
  if (mark.hasSlips && (scene.level === "card" || scene.level === "chip")) {
    box.height += Math.round(2 * Math.max(1.5, SLIP * scene.camera.k));
  }
  const radius = Math.max(3, 6 * scene.camera.k) + gap;
  context.strokeStyle = theme.focus;
  context.lineWidth = 2;
  if (!mark.isSelected) context.setLineDash([4, 3]);
  context.beginPath();
  context.roundRect(box.x - gap, box.y - gap, box.width + 2 * gap, box.height + 2 * gap, radius);
  context.stroke();
  context.setLineDash([]);
}

function strike(context: CanvasRenderingContext2D, x: number, y: number, width: number, colour: string): void {
  context.strokeStyle = colour;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(x, Math.round(y) + 0.5);
  context.lineTo(x + width, Math.round(y) + 0.5);
  context.stroke();
}

function hatch(context: CanvasRenderingContext2D, box: Box, colour: string): void {
  context.strokeStyle = colour;
  context.lineWidth = 2;
  context.beginPath();
  for (let at = -box.height; at < box.width; at += 8) {
    context.moveTo(box.x + at, box.y + box.height);
    context.lineTo(box.x + at + box.height, box.y);
  }
  context.stroke();
}

/** A box whose border of `line` pixels lies on whole pixels. */
function snap(box: Box, line: number): Box {
  const half = line / 2;
  const x = Math.round(box.x) + half;
  const y = Math.round(box.y) + half;
  return {
    x,
    y,
    width: Math.max(1, Math.round(box.x + box.width) - half - x),
    height: Math.max(1, Math.round(box.y + box.height) - half - y),
  };
}

// --- text ----------------------------------------------------------------------------------------------------

const MOST_FITTED = 4000;

/** `text` as it fits into `room` pixels in the context's font: its middle left out, or its end. */
export function fitText({ context, fitted }: Brush, text: string, room: number, atEnd = false): string {
  if (room < 6 || text === "") return "";
  const key = `${context.font}|${Math.floor(room)}|${atEnd}|${text}`;
  const known = fitted.get(key);
  if (known !== undefined) return known;
  if (fitted.size > MOST_FITTED) fitted.clear();
  const made = fit(context, text, room, atEnd);
  fitted.set(key, made);
  return made;
}

function fit(context: CanvasRenderingContext2D, text: string, room: number, atEnd: boolean): string {
  const short = (most: number): string => {
    if (!atEnd) return middle(text, most);
    const points = Array.from(text.slice(0, 2 * most + 2));
    return points.length <= most
      ? text
      : `${points
          .slice(0, most - 1)
          .join("")
          .trimEnd()}…`;
  };
  if (text.length < 400 && context.measureText(text).width <= room) return text;
  let low = 1;
  let high = Math.min(text.length, 400);
  while (low < high) {
    const half = (low + high + 1) >> 1;
    if (context.measureText(short(half)).width <= room) low = half;
    else high = half - 1;
  }
  return low <= 1 ? "" : short(low);
}
