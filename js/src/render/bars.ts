// Rows of the timeline on a pen: bars of attempts, waiting, density strips, breaks, the axis. Screen pixels.
import { type Axis, BREAK, type Density, lasted, readyAt } from "../model/timeline.ts";
import { attemptsOf } from "../model/replay.ts";
import type { Store } from "../model/store.ts";
import { duration, middle, plain, say } from "../model/words.ts";
import { type NodeRecord, Status } from "../protocol.ts";
import { type Brush, drawGlyph, fitText, setFont, styleOf, widthOf } from "./pen.ts";
import { fade, type Theme } from "./theme.ts";

export const ROW = 24;
export const BAR = 14;
export const HEAD = 26;
const LEAST = 3;
const PAD = 8;
const WIDEST_LABEL = 180;
const NARROWEST_LABEL = 72;
const LABEL_SHARE = 0.4;
/** A name with less room stands alone; the tip has the count. */
const NAME_BESIDE = 56;

/** The label column of a picture so wide: the bars keep most of a narrow one. */
export function labelWidth(width: number): number {
  return Math.round(Math.max(NARROWEST_LABEL, Math.min(WIDEST_LABEL, width * LABEL_SHARE)));
}

/** A time on the axis: 0 s, 0.5 s, 42 s, 1:30, 2:00:00. */
export function axisWords(seconds: number, step: number): string {
  if (seconds < 60 && step < 60) return `${Number(seconds.toFixed(step < 1 ? Math.ceil(-Math.log10(step)) : 0))} s`;
  return duration(Math.max(60, seconds)).length && seconds >= 60
    ? duration(Math.round(seconds))
    : `${Math.round(seconds)} s`;
}

export function drawGrid(brush: Brush, axis: Axis, height: number): void {
  const { context, theme } = brush;
  const ticks = axis.ticks();
  const step = (ticks[1] ?? 1) - (ticks[0] ?? 0);
  const font = setFont(context, 400, 11, theme.uiFont);
  context.textBaseline = "middle";
  context.textAlign = "left";
  context.globalAlpha = 1;
  let free = axis.left;
  for (const at of ticks) {
    const x = Math.round(axis.left + axis.x(at));
    context.fillStyle = fade(theme.edge, 0.22);
    context.fillRect(x, HEAD, 1, height - HEAD);
    const text = axisWords(at, step);
    if (x + 4 < free || x + widthOf(brush, font, text) + 8 > axis.left + axis.width) continue;
    context.fillStyle = theme.secondary;
    context.fillText(text, x + 4, HEAD / 2);
    free = x + widthOf(brush, font, text) + 16;
  }
}

export function drawBreaks(brush: Brush, axis: Axis, height: number): void {
  const { context, theme } = brush;
  for (const idle of axis.breaks) {
    const x = Math.round(axis.left + axis.x(idle.from));
    if (x < axis.left - BREAK || x > axis.left + axis.width) continue;
    context.fillStyle = theme.canvas;
    context.fillRect(x, HEAD, BREAK, height - HEAD);
    context.strokeStyle = fade(theme.edge, 0.5);
    context.lineWidth = 1;
    context.setLineDash([2, 3]);
    context.beginPath();
    for (const at of [x + 0.5, x + BREAK - 0.5]) {
      context.moveTo(at, HEAD);
      context.lineTo(at, height);
    }
    context.stroke();
    context.setLineDash([]);
    const text = `⋯ ${say("timeline.idle", { time: duration(idle.to - idle.from) })} ⋯`;
    const font = setFont(context, 400, 11, theme.uiFont);
    const wide = widthOf(brush, font, text) + 8;
    const left = Math.max(axis.left, x + BREAK / 2 - wide / 2);
    context.fillStyle = theme.canvas;
    context.fillRect(left, 2, wide, HEAD - 4);
    context.fillStyle = theme.secondary;
    context.textAlign = "left";
    context.textBaseline = "middle";
    context.fillText(text, left + 4, HEAD / 2);
  }
}

export function drawLine(brush: Brush, x: number, height: number, colour: string, isDashed: boolean): void {
  const { context } = brush;
  context.strokeStyle = colour;
  context.lineWidth = isDashed ? 1 : 1.5;
  context.setLineDash(isDashed ? [3, 3] : []);
  context.beginPath();
  context.moveTo(Math.round(x) + 0.5, HEAD - 6);
  context.lineTo(Math.round(x) + 0.5, height);
  context.stroke();
  context.setLineDash([]);
}

export interface RowLook {
  y: number;
  isSelected: boolean;
  isFocused: boolean;
  isInner: boolean;
  /** Width of the label column. */
  label: number;
}

export function drawRowGround({ context, theme }: Brush, width: number, { y, isSelected, isFocused }: RowLook): void {
  if (isSelected) {
    context.fillStyle = fade(theme.focus, 0.1);
    context.fillRect(0, y, width, ROW);
  }
  if (!isFocused) return;
  context.strokeStyle = theme.focus;
  context.lineWidth = 2;
  context.beginPath();
  context.roundRect(1, y + 1, width - 2, ROW - 2, 4);
  context.stroke();
}

/** The label column: glyph and name of a node, name and count of a group, number of a slot. */
export function drawLabel(brush: Brush, look: RowLook, status: number, name: string, more: string, sign: string): void {
  const { context, theme } = brush;
  const left = PAD + (look.isInner ? 14 : 0);
  const y = look.y + ROW / 2 + 0.5;
  context.textBaseline = "middle";
  let from = left;
  if (status > 0) {
    drawGlyph(brush, status, from, look.y + (ROW - 12) / 2, 12, styleOf(theme, status).word);
    from += 18;
  }
  if (sign) {
    context.strokeStyle = theme.secondary;
    context.lineWidth = 1.5;
    context.beginPath();
    const [x, middleY] = [from + 4, look.y + ROW / 2];
    if (sign === "open") {
      context.moveTo(x - 4, middleY - 2);
      context.lineTo(x, middleY + 2);
      context.lineTo(x + 4, middleY - 2);
    } else {
      context.moveTo(x - 2, middleY - 4);
      context.lineTo(x + 2, middleY);
      context.lineTo(x - 2, middleY + 4);
    }
    context.stroke();
    from += 13;
  }
  context.textAlign = "left";
  let right = look.label - PAD;
  const small = setFont(context, 400, 11, theme.uiFont);
  const besides = right - widthOf(brush, small, more);
  if (more && besides - 6 - from >= NAME_BESIDE) {
    context.fillStyle = theme.secondary;
    context.fillText(more, besides, y);
    right = besides - 6;
  }
  const font = setFont(context, sign ? 600 : 400, 12, theme.uiFont);
  context.fillStyle = theme.text;
  context.fillText(fitText(brush, font, middle(plain(name), 200), right - from), from, y);
}

/** A node's attempts on the axis, what it waited for before the first, and what the last one took. */
export function drawNode(brush: Brush, store: Store, node: number, y: number, axis: Axis, attempt: number): void {
  const { context, theme } = brush;
  const now = store.runTime();
  const all = attemptsOf(store, node);
  const isMany = all.length > 1;
  const shown = attempt > 0 ? all.filter((each) => each.attempt === attempt) : all;
  const status = store.status[node] ?? 0;
  const first = all[0]?.started ?? Number.NaN;
  const isWaiting = Number.isNaN(first) && status === Status.NOT_STARTED && store.run?.is_ended === false;
  if (attempt <= 1 && (isWaiting || !Number.isNaN(first))) {
    const ready = readyAt(store, node);
    drawWait(brush, axis.x(ready), axis.x(isWaiting ? now : first), y, axis);
  }
  let free = -1;
  for (const each of shown) {
    if (Number.isNaN(each.started)) continue;
    const right = drawBar(brush, each, y, axis, now, isMany);
    free = Math.max(free, right);
  }
  const last = shown.at(-1);
  if (free < -1 || !last || free > axis.width - 20 || free < 0) return;
  const isRunning = last.status === Status.RUNNING;
  const seconds = isRunning ? now - last.started : last.ended - last.started;
  if (!(seconds >= 0)) return;
  setFont(context, 400, 11, theme.uiFont);
  context.fillStyle = theme.secondary;
  context.textAlign = "left";
  context.textBaseline = "middle";
  context.fillText(
    duration(isRunning && seconds >= 1 ? Math.floor(seconds) : seconds),
    axis.left + free + 6,
    y + ROW / 2 + 0.5,
  );
}

function drawWait({ context, theme }: Brush, from: number, to: number, y: number, axis: Axis): void {
  const left = Math.max(0, from);
  const right = Math.min(axis.width, to);
  if (!(right - left >= 1)) return;
  const top = y + ROW / 2 - 3;
  context.save();
  context.beginPath();
  context.rect(axis.left + left, top, right - left, 6);
  context.clip();
  context.strokeStyle = fade(theme.edge, 0.75);
  context.lineWidth = 1;
  context.beginPath();
  // The hatch stands still while the window moves over it.
  const start = left - ((((left - from) % 5) + 5) % 5);
  for (let x = Math.max(start, left - 5) - 6; x < right; x += 5) {
    context.moveTo(axis.left + x, top + 6);
    context.lineTo(axis.left + x + 6, top);
  }
  context.stroke();
  context.restore();
}

/** Returns where it ends, in pixels of the axis. */
function drawBar(brush: Brush, each: NodeRecord, y: number, axis: Axis, now: number, isNumbered: boolean): number {
  const { context, theme } = brush;
  const style = styleOf(theme, each.status);
  const from = axis.x(each.started);
  const to = Math.max(from + LEAST, axis.x(Number.isNaN(each.ended) ? now : each.ended));
  if (to < 0 || from > axis.width) return to;
  const left = Math.max(-4, from);
  const right = Math.min(axis.width + 4, to);
  const top = y + (ROW - BAR) / 2;
  context.fillStyle = style.mark;
  context.beginPath();
  context.roundRect(axis.left + left, top, right - left, BAR, Math.min(3, (right - left) / 2));
  context.fill();
  if (theme.isForced) {
    context.strokeStyle = theme.text;
    context.lineWidth = 1;
    context.stroke();
  }
  let at = axis.left + Math.max(left, 0) + 4;
  const room = right - Math.max(left, 0);
  if (each.status !== Status.COMPLETED && each.status !== Status.RUNNING && room > 18) {
    drawGlyph(brush, each.status, at - 1, top + 2, 10, style.ink);
    at += 12;
  }
  if (!isNumbered || axis.left + right - at < 9) return to;
  setFont(context, 600, 10, theme.uiFont);
  context.fillStyle = style.ink;
  context.textAlign = "left";
  context.textBaseline = "middle";
  context.fillText(String(each.attempt), at, y + ROW / 2 + 0.5);
  return to;
}

/** How many ran, as an area; where one failed, a foot in its colour. */
export function drawDensity(
  brush: Brush,
  found: Density,
  y: number,
  height: number,
  status: number,
  { left }: Axis,
): void {
  const { context, theme } = brush;
  if (found.most === 0) return;
  const bottom = y + height;
  context.fillStyle = styleOf(theme, status).mark;
  context.beginPath();
  let isOpen = false;
  const { running, failed } = found;
  for (let x = 0; x <= running.length; x++) {
    const value = running[x] ?? 0;
    const tall = value > 0 ? Math.max(2, (value / found.most) * height) : 0;
    if (tall > 0) {
      if (!isOpen) context.moveTo(left + x, bottom);
      isOpen = true;
      context.lineTo(left + x, bottom - tall);
      context.lineTo(left + x + 1, bottom - tall);
    } else if (isOpen) {
      context.lineTo(left + x, bottom);
      context.closePath();
      isOpen = false;
    }
  }
  if (isOpen) {
    context.lineTo(left + running.length, bottom);
    context.closePath();
  }
  context.fill();
  context.fillStyle = styleOf(theme, Status.FAILED).mark;
  for (let x = 0; x < failed.length; x++) {
    if (failed[x] !== 1) continue;
    let end = x;
    while (failed[end + 1] === 1) end += 1;
    context.fillRect(left + x, bottom - 5, Math.max(LEAST, end - x + 1), 5);
    x = end;
  }
}

/** Attempts in one slot; so many that they are one pixel each come out as runs of the worst status. */
export function drawSlot(
  brush: Brush,
  store: Store,
  attempts: Iterable<NodeRecord>,
  y: number,
  axis: Axis,
  isDense: boolean,
): void {
  const now = store.runTime();
  const width = Math.ceil(axis.width);
  const worst = isDense ? new Uint8Array(width) : null;
  for (const each of attempts) {
    const { status, started, ended } = each;
    const from = axis.x(started);
    const to = Math.max(from + 1, axis.x(Number.isNaN(ended) ? now : ended));
    if (to < 0 || from > width) continue;
    if (!worst) {
      drawAttempt(brush, store, each, y, axis, now, to);
      continue;
    }
    const end = Math.min(width, Math.max(Math.floor(to), Math.floor(from) + (status === Status.FAILED ? LEAST : 1)));
    for (let x = Math.max(0, Math.floor(from)); x < end; x++) if (rank(status) > rank(worst[x] ?? 0)) worst[x] = status;
  }
  if (worst) drawRuns(brush, worst, y, axis);
}

/** One attempt in its slot, with the node's name where there is room. */
function drawAttempt(
  brush: Brush,
  store: Store,
  each: NodeRecord,
  y: number,
  axis: Axis,
  now: number,
  to: number,
): void {
  const { context, theme } = brush;
  const from = axis.x(each.started);
  // A line of ground between two that follow each other at once.
  const ended = to - from > 6 ? each.ended - 1 / axis.k : each.ended;
  drawBar(brush, { ...each, ended }, y, axis, now, false);
  if (to - from < 30) return;
  const left = Math.max(0, from) + (each.status === Status.FAILED ? 16 : 5);
  const isMany = (store.attempt[each.index] ?? 0) > 1;
  const name = middle(plain(store.nameOf(each.index)), 80) + (isMany ? ` #${each.attempt}` : "");
  const font = setFont(context, 400, 10, theme.uiFont);
  context.fillStyle = styleOf(theme, each.status).ink;
  context.textAlign = "left";
  context.textBaseline = "middle";
  const text = fitText(brush, font, name, Math.min(axis.width, to) - left - 4);
  context.fillText(text, axis.left + left, y + ROW / 2 + 0.5);
}

/** By pixel, neighbours of one status together. */
function drawRuns({ context, theme }: Brush, worst: Uint8Array, y: number, axis: Axis): void {
  for (let x = 0; x < worst.length; ) {
    let end = x + 1;
    while (end < worst.length && worst[end] === worst[x]) end += 1;
    if (worst[x]) {
      context.fillStyle = styleOf(theme, worst[x] ?? 0).mark;
      context.fillRect(axis.left + x, y + (ROW - BAR) / 2, end - x, BAR);
    }
    x = end;
  }
}

function rank(status: number): number {
  return status === Status.FAILED ? 3 : status === Status.RUNNING ? 2 : status > 0 ? 1 : 0;
}

/** From the left, as long as the node took: its attempts one after the other, or the one that is meant. */
export function drawTook(brush: Brush, store: Store, node: number, y: number, axis: Axis, attempt: number): void {
  const { context, theme } = brush;
  const now = store.runTime();
  const all = attemptsOf(store, node);
  let at = 0;
  let right = -1;
  for (const each of all) {
    const seconds = lasted(each, now);
    if (!(seconds >= 0) || (attempt > 0 && each.attempt !== attempt)) continue;
    const isLast = each === all.at(-1);
    const gap = isLast || seconds * axis.k < 6 ? 0 : 1 / axis.k;
    right = drawBar(brush, { ...each, started: at, ended: at + seconds - gap }, y, axis, 0, all.length > 1);
    at += seconds;
  }
  if (right < 0 || right > axis.width - 20) return;
  setFont(context, 400, 11, theme.uiFont);
  context.fillStyle = theme.secondary;
  context.textAlign = "left";
  context.textBaseline = "middle";
  context.fillText(duration(at), axis.left + right + 6, y + ROW / 2 + 0.5);
}

/** The whole run below the rows, and which part of it is shown. */
export function drawBrush(brush: Brush, found: Density, axis: Axis, height: number, from: number, to: number): void {
  const { context, theme } = brush as { context: Brush["context"]; theme: Theme };
  context.globalAlpha = 0.55;
  drawDensity(brush, found, 4, height - 8, Status.COMPLETED, axis);
  context.globalAlpha = 1;
  const left = axis.left + Math.max(0, from);
  const right = axis.left + Math.min(axis.width, to);
  context.fillStyle = fade(theme.canvas, 0.7);
  context.fillRect(axis.left, 0, Math.max(0, left - axis.left), height);
  context.fillRect(right, 0, Math.max(0, axis.left + axis.width - right), height);
  context.strokeStyle = theme.secondary;
  context.lineWidth = 1;
  context.beginPath();
  context.roundRect(left + 0.5, 1.5, Math.max(6, right - left - 1), height - 3, 3);
  context.stroke();
}
