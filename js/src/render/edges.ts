// Edges as curves and arrows, ribbons in large graphs, and the casing of a path that is pointed out.
import { Status } from "../protocol.ts";
import type { Brush, Pen } from "./pen.ts";
import type { Direction } from "./place.ts";
import type { Scene, SceneEdge } from "./scene.ts";

export const DIMMED = 0.3;
/** Width of the casing round what is pointed out. */
export const CASING = 4;

type Tracer = Pick<Pen, "moveTo" | "lineTo" | "bezierCurveTo" | "closePath">;

/** All edges of a scene: ribbons lowest, then casings, then lines with what is lit on top. */
export function drawEdges(brush: Brush, scene: Scene, direction: Direction): void {
  const isSmall = scene.level === "block" || scene.level === "cell";
  drawRibbons(brush, scene, direction);
  drawCasing(brush, scene, direction, isSmall);
  const order: SceneEdge["style"][] = ["dim", "normal", "cycle", "down", "up"];
  for (const style of order) {
    const edges = scene.edges.filter((edge) => edge.style === style && !edge.isRibbon);
    if (edges.length > 0) drawEdgesOf(brush, scene, edges, style, direction, isSmall);
  }
}

/** Between stacks of a large graph: as wide as many edges are, in one tone, so that crossings do not add up. */
function drawRibbons({ context, theme }: Brush, scene: Scene, direction: Direction): void {
  for (const isLit of [false, true]) {
    const byWidth = new Map<number, SceneEdge[]>();
    for (const edge of scene.edges) {
      if (!edge.isRibbon || isLit !== (edge.style === "up" || edge.style === "down")) continue;
      const width = Math.max(1, Math.round(ribbonWidth(edge.count) * scene.camera.k * 2) / 2);
      const list = byWidth.get(width);
      if (list) list.push(edge);
      else byWidth.set(width, [edge]);
    }
    context.strokeStyle = isLit ? theme.secondary : theme.edge;
    for (const [width, group] of byWidth) {
      context.globalAlpha = (isLit ? 0.75 : 0.34) * (group[0]?.style === "dim" ? DIMMED : 1);
      context.lineWidth = width;
      context.beginPath();
      for (const edge of group) traceEdge(context, edge.line, direction, 0);
      context.stroke();
    }
  }
  context.globalAlpha = 1;
}

/** World pixels across of a ribbon for so many edges. */
function ribbonWidth(members: number): number {
  return Math.min(22, 2 + 4 * Math.log10(Math.max(1, members)));
}

function drawCasing({ context, theme }: Brush, scene: Scene, direction: Direction, isSmall: boolean): void {
  const cased = scene.edges.filter((edge) => edge.isCased);
  if (cased.length === 0) return;
  context.strokeStyle = theme.critical;
  context.lineCap = "round";
  context.lineWidth = isSmall ? 2.5 : CASING;
  context.beginPath();
  for (const edge of cased) traceEdge(context, edge.line, direction, 0);
  context.stroke();
  context.lineCap = "butt";
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
  const failed = style === "cycle" ? theme.status[Status.FAILED]?.mark : "";
  context.strokeStyle = isLit ? theme.secondary : failed || theme.edge;
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

export function traceEdge(context: Tracer, line: ArrayLike<number>, direction: Direction, arrow: number): void {
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
    const lift = along > 0 ? 0 : pull * 0.35; // over the marks that it leads back past
    const isStraight = at % 4 === 0 && at !== last;
    if (isStraight) context.lineTo(toX, toY);
    else if (isRight) context.bezierCurveTo(x + pull, y - lift, toX - pull, toY - lift, toX, toY);
    else context.bezierCurveTo(x - lift, y + pull, toX - lift, toY - pull, toX, toY);
    x = toX;
    y = toY;
  }
}

function traceArrow(context: Tracer, line: ArrayLike<number>, direction: Direction, size: number): void {
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
