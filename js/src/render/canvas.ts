// Marks on a canvas: cards, chips, stacks, strips, blocks and cells, in screen pixels, so that lines and letters stay
// sharp at every zoom.
import { segments } from "../model/derive.ts";
import { count } from "../model/words.ts";
import { Status } from "../protocol.ts";
import { type Board, drawBoard } from "./board.ts";
import { CASING, DIMMED } from "./edges.ts";
import { type Brush, drawGlyph, fitText, type Pen, setFont, snap, styleOf, widthOf } from "./pen.ts";
import { type Box, SLIP } from "./place.ts";
import { STATUS_COUNT } from "../model/store.ts";
import { CELL, type Scene, type SceneMark } from "./scene.ts";
import { fade, type StatusStyle } from "./theme.ts";

const CELL_GAP = 1;
/** Text is never smaller than this. */
const LEAST_TEXT = 9.5;
/** Room for four letters and what stands for the others. */
const LEAST_NAME = 28;
const DASHES: Record<StatusStyle["line"], readonly number[]> = { solid: [], dashed: [5, 4], dotted: [0.1, 3.4] };

// --- marks ---------------------------------------------------------------------------------------------------

/** All marks of a scene, on an empty canvas. */
export function drawMarks(brush: Brush, scene: Scene, counts: ArrayLike<number>): void {
  if (scene.level === "cell") drawCells(brush, scene);
  for (const mark of scene.marks) drawMark(brush, scene, mark, counts);
}

export function drawMark(brush: Brush, scene: Scene, mark: SceneMark, counts: ArrayLike<number>): void {
  const { context } = brush;
  context.globalAlpha = (mark.emphasis === "dim" ? DIMMED : 1) * mark.opacity;
  if (mark.isCased) drawCase(brush, scene, mark);
  const { board } = mark;
  if (board) drawBoard(brush, scene, mark, board, (at, box) => drawMember(brush, scene, mark, board, at, box, counts));
  else if (scene.level === "card" || scene.level === "chip") drawCard(brush, scene, mark, counts);
  else drawPlain(brush, scene, mark, counts);
  context.globalAlpha = 1;
  if (mark.isSelected || mark.isFocused) drawRing(brush, scene, mark);
}

function drawMember(
  brush: Brush,
  scene: Scene,
  mark: SceneMark,
  board: Board,
  at: number,
  box: Box,
  counts: ArrayLike<number>,
): void {
  const own = { board: null, isStack: false, hasSlips: false, isCased: false, isSelected: at === board.cursor };
  const words = { status: board.statusAt(at), name: board.nameAt(at), detail: board.detailAt(at), badge: "" };
  const emphasis = board.isPale(at) ? "dim" : mark.emphasis;
  drawMark(brush, scene, { ...mark, ...box, ...own, ...words, emphasis, isFocused: false }, counts);
}

/** What a mark looks like, in a text: two that are equal are drawn alike, and neither again. */
export function lookOf(mark: SceneMark, counts: ArrayLike<number>): string {
  if (!mark.isStack) return `${mark.status}|${mark.badge}|${mark.detail}|${mark.name}`;
  let look = mark.name;
  for (let status = 0; status < STATUS_COUNT; status++) look += `|${counts[mark.base + status] ?? 0}`;
  return mark.board ? `${look}|${mark.board.look()}` : look;
}

/** The part of the canvas that a mark covers, with its slips; rings are not part of it. */
export function coverOf(scene: Scene, mark: SceneMark): Box {
  const slips = mark.hasSlips ? 2 * Math.max(1.5, SLIP * scene.camera.k) + 1 : 0;
  const x = Math.floor(mark.x) - 1;
  const y = Math.floor(mark.y) - 1;
  return {
    x,
    y,
    width: Math.ceil(mark.x + mark.width) + 1 - x,
    height: Math.ceil(mark.y + mark.height + slips) + 1 - y,
  };
}

function drawCase({ context, theme }: Brush, scene: Scene, mark: SceneMark): void {
  const box = snap(mark, 0);
  const out = CASING / 2;
  const radius = Math.max(3, 6 * scene.camera.k) + out;
  context.strokeStyle = theme.critical;
  context.lineWidth = CASING;
  context.beginPath();
  context.roundRect(box.x - out, box.y - out, box.width + 2 * out, box.height + 2 * out, radius);
  context.stroke();
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
  const style = styleOf(theme, mark.status);
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
  const style = styleOf(theme, mark.status);
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
  if (style.isHatched && !mark.isStack) {
    context.save();
    context.clip();
    hatch(context, box, fade(style.mark, 0.2));
    context.restore();
  }
  if (style.band > 0) {
    context.fillStyle = style.mark;
    context.beginPath();
    context.roundRect(box.x, box.y, Math.max(3, style.band * k) + 0.5, box.height, [radius, 0, 0, radius]);
    context.fill();
  }
  context.strokeStyle = style.mark;
  context.lineWidth = line;
  const isPlain = mark.isStack || style.line === "solid";
  if (!isPlain) {
    context.setLineDash([...DASHES[style.line]]);
    if (style.line === "dotted") context.lineCap = "round";
  }
  context.beginPath();
  context.roundRect(box.x, box.y, box.width, box.height, radius);
  context.stroke();
  if (!isPlain) {
    context.setLineDash([]);
    context.lineCap = "butt";
  }
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
    const font = setFont(context, 500, size, theme.uiFont);
    const wide = widthOf(brush, font, mark.badge) + 5 * k;
    // Without its name nobody knows whose badge it is.
    if (right - textX - wide >= LEAST_NAME) {
      context.fillStyle = soft;
      context.textAlign = "right";
      context.textBaseline = "middle";
      context.fillText(mark.badge, right, nameY + 0.5);
      right -= wide;
    }
  }
  context.textAlign = "left";
  context.textBaseline = "middle";
  context.fillStyle = ink;
  let font = setFont(context, isCard ? 600 : 500, nameSize, theme.uiFont);
  // A name is written smaller before anything of it is left out.
  if (!isCard && mark.name.length < 60 && widthOf(brush, font, mark.name) > right - textX) {
    font = setFont(context, 500, LEAST_TEXT, theme.uiFont);
  }
  const name = fitText(brush, font, mark.name, right - textX);
  context.fillText(name, textX, nameY + 0.5);
  if (style.isStruck) strike(context, textX, nameY, widthOf(brush, font, name), ink);
  if (!hasDetail) return;
  font = setFont(context, 400, detailSize, theme.uiFont);
  context.fillStyle = mark.status === Status.RUNNING ? style.word : soft;
  const detail = fitText(brush, font, mark.detail, box.x + box.width - pad - textX, true);
  context.fillText(detail, textX, box.y + box.height * 0.69 + 0.5);
}

function writeStack(brush: Brush, scene: Scene, mark: SceneMark, box: Box, counts: ArrayLike<number>): void {
  const { context, theme } = brush;
  const k = scene.camera.k;
  const isCard = scene.level === "card";
  const pad = isCard ? 10 * k : Math.max(4, 8 * k);
  const hasBand = styleOf(theme, mark.status).band > 0;
  const left = box.x + pad + (hasBand ? 2 * k : 0);
  const right = box.x + box.width - pad;
  const large = isCard ? Math.max(11, 13 * k) : Math.min(11.5, Math.max(LEAST_TEXT, box.height * 0.3));
  const hasBar = isCard || box.height >= 24;
  const nameY = isCard ? box.y + 16 * k : mark.isStrip ? box.y + 14 * k : box.y + box.height * (hasBar ? 0.4 : 0.5);
  const smallSize = isCard ? Math.max(LEAST_TEXT, large - 1) : LEAST_TEXT;
  context.textBaseline = "middle";
  const times = `×${count(mark.size)}`;
  const timesFont = setFont(context, 500, smallSize, theme.uiFont);
  const timesWidth = widthOf(brush, timesFont, times) + (isCard ? 22 : 6) * k;
  const glyph = isCard ? 0 : Math.min(11, large);
  const failed = isCard ? 0 : (counts[mark.base + Status.FAILED] ?? 0);
  let textX = left + (glyph > 0 ? glyph + 4 : 0);
  if (failed > 0) {
    const text = count(failed);
    const font = setFont(context, 700, smallSize, theme.uiFont);
    context.textAlign = "left";
    context.fillStyle = styleOf(theme, Status.FAILED).word;
    context.fillText(text, left + glyph + 1, nameY + 0.5);
    textX += widthOf(brush, font, text) + 2;
  }
  if (glyph > 0) drawGlyph(brush, mark.status, left, nameY - glyph / 2, glyph, styleOf(theme, mark.status).word);
  let font = setFont(context, 600, large, theme.uiFont);
  // Smaller before anything is left out; then the name comes first: slips and bar say already that there are many.
  if (!isCard && widthOf(brush, font, mark.name) > right - timesWidth - textX)
    font = setFont(context, 600, LEAST_TEXT, theme.uiFont);
  const hasTimes = isCard || widthOf(brush, font, mark.name) <= right - timesWidth - textX;
  context.textAlign = "left";
  context.fillStyle = theme.text;
  context.fillText(fitText(brush, font, mark.name, right - (hasTimes ? timesWidth : 0) - textX), textX, nameY + 0.5);
  if (hasTimes) {
    font = setFont(context, 500, smallSize, theme.uiFont);
    context.textAlign = "right";
    context.fillStyle = theme.secondary;
    context.fillText(times, right - (isCard ? 16 * k : 0), nameY + 0.5);
  }
  if (isCard) {
    drawOpener(brush, right - 4 * k, nameY, k);
    writeCounts(brush, k, left, right, box.y + 33 * k, counts, mark.base);
  }
  if (!hasBar) return;
  const below = isCard ? 8 * k : 5 * k;
  const top = isCard ? 43 * k : mark.isStrip ? 25 * k : box.height;
  const height = mark.isStrip ? Math.max(4 * k, box.height - top - below) : isCard ? 6 * k : Math.max(3, 5 * k);
  const bar = { x: left, y: box.y + box.height - height - below, width: right - left, height };
  context.save();
  context.beginPath();
  context.roundRect(bar.x, bar.y, bar.width, bar.height, Math.min(height / 2, 3 * k));
  context.clip();
  drawBar(brush, bar, counts, mark.base);
  context.restore();
}

/** ▸: what lies here can be opened. */
function drawOpener({ context, theme }: Brush, x: number, y: number, k: number): void {
  const size = 4 * Math.max(0.8, k);
  context.fillStyle = theme.secondary;
  context.beginPath();
  context.moveTo(x - size * 0.5, y - size);
  context.lineTo(x + size * 0.6, y);
  context.lineTo(x - size * 0.5, y + size);
  context.closePath();
  context.fill();
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
    const font = setFont(context, isLoud ? 700 : 500, size, theme.uiFont);
    const wide = glyph + 2.5 * k + widthOf(brush, font, text);
    if (x + wide > right) return;
    const colour = styleOf(theme, status).word;
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
    const style = styleOf(theme, segment.status);
    const isOpen = segment.status === Status.NOT_STARTED;
    if (theme.isForced) {
      drawForced(context, { ...box, x: box.x + segment.from, width: segment.width }, style.mark, segment.status);
      continue;
    }
    context.fillStyle = isOpen ? fade(style.mark, 0.28) : style.mark;
    context.fillRect(box.x + segment.from, box.y, segment.width, box.height);
  }
}

/** One colour for all: what has not started is a line, what failed as high as the bar, all else half of that. */
function drawForced(context: Pen, box: Box, colour: string, status: number): void {
  const share = status === Status.FAILED || status === Status.COMPLETED ? 1 : status === Status.NOT_STARTED ? 0 : 0.5;
  const height = Math.max(1, box.height * share);
  context.fillStyle = colour;
  context.fillRect(box.x, box.y + (box.height - height) / 2, Math.max(1, box.width - 1), height);
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

function strike(context: Pen, x: number, y: number, width: number, colour: string): void {
  context.strokeStyle = colour;
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(x, Math.round(y) + 0.5);
  context.lineTo(x + width, Math.round(y) + 0.5);
  context.stroke();
}

function hatch(context: Pen, box: Box, colour: string): void {
  context.strokeStyle = colour;
  context.lineWidth = 2;
  context.beginPath();
  for (let at = -box.height; at < box.width; at += 8) {
    context.moveTo(box.x + at, box.y + box.height);
    context.lineTo(box.x + at + box.height, box.y);
  }
  context.stroke();
}
