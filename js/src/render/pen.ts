// What draws: a canvas or a text of SVG behind one interface, colours, glyphs, and texts made to fit.
import { middle } from "../model/words.ts";
import { GLYPH_GRID, GLYPH_STROKE, GLYPHS, type StatusStyle, type Theme } from "./theme.ts";
import type { Box } from "./place.ts";

/** The part of a canvas context that marks and edges are drawn with. `svg.ts` writes the same calls as text. */
export interface Pen
  extends Pick<
    CanvasRenderingContext2D,
    | "fillStyle"
    | "strokeStyle"
    | "lineWidth"
    | "lineCap"
    | "lineJoin"
    | "globalAlpha"
    | "font"
    | "textAlign"
    | "textBaseline"
    | "beginPath"
    | "moveTo"
    | "lineTo"
    | "bezierCurveTo"
    | "closePath"
    | "roundRect"
    | "rect"
    | "fillRect"
    | "fillText"
    | "measureText"
    | "setLineDash"
    | "save"
    | "restore"
    | "translate"
    | "scale"
  > {
  stroke(shape?: Shape): void;
  fill(shape?: Shape): void;
  clip(): void;
}

/** Outline of a glyph: a path of the canvas, or path data. */
export type Shape = Path2D | string;

/** What draws, in which colours, and what it has worked out before. */
export interface Brush {
  readonly context: Pen;
  theme: Theme;
  /** Texts that were made to fit. */
  readonly fitted: Map<string, string>;
  /** Widths of texts that were measured. */
  readonly widths: Map<string, number>;
  readonly shapes: readonly { stroke: Shape | null; fill: Shape | null }[];
}

export const NO_STYLE: StatusStyle = {
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

export function makeBrush(
  context: Pen,
  theme: Theme,
  toShape: (data: string) => Shape = (data) => new Path2D(data),
): Brush {
  const shapes = GLYPHS.map((glyph) => ({
    stroke: glyph.stroke ? toShape(glyph.stroke) : null,
    fill: glyph.fill ? toShape(glyph.fill) : null,
  }));
  return { context, theme, fitted: new Map(), widths: new Map(), shapes };
}

export function styleOf(theme: Theme, status: number): StatusStyle {
  return theme.status[status] ?? NO_STYLE;
}

export function drawGlyph(brush: Brush, status: number, x: number, y: number, size: number, colour: string): void {
  const { context } = brush;
  const { stroke, fill } = brush.shapes[status] ?? { stroke: null, fill: null };
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

/** A box whose border of `line` pixels lies on whole pixels. */
export function snap(box: Box, line: number): Box {
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

/** Asked for again and again while a font stays: setting it costs more than drawing with it. */
export function setFont(context: Pen, weight: number, size: number, family: string): string {
  const font = `${weight} ${Math.round(size * 4) / 4}px ${family}`;
  context.font = font;
  return font;
}

/** `text` as it fits into `room` pixels in `font`, which the context has: its middle left out, or its end. */
export function fitText({ context, fitted }: Brush, font: string, text: string, room: number, atEnd = false): string {
  if (room < 6 || text === "") return "";
  const key = `${font}|${Math.floor(room)}|${atEnd}|${text}`;
  const known = fitted.get(key);
  if (known !== undefined) return known;
  if (fitted.size > MOST_FITTED) fitted.clear();
  const made = fit(context, text, room, atEnd);
  fitted.set(key, made);
  return made;
}

/** Width of a short text in `font`, which the context has; remembered. */
export function widthOf({ context, widths }: Brush, font: string, text: string): number {
  const key = `${font}|${text}`;
  let width = widths.get(key);
  if (width === undefined) {
    if (widths.size > MOST_FITTED) widths.clear();
    width = context.measureText(text).width;
    widths.set(key, width);
  }
  return width;
}

function fit(context: Pen, text: string, room: number, atEnd: boolean): string {
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
