// The picture of the timeline's rows: on the screen, and written down as SVG.
import { worst } from "../model/derive.ts";
import type { Focus } from "../model/focus.ts";
import { STATUS_COUNT, type Store } from "../model/store.ts";
import { type Axis, attemptsIn, type BySlot, density, type Order, type Rows } from "../model/timeline.ts";
import { count, say } from "../model/words.ts";
import { NO_SLOT, Status } from "../protocol.ts";
import {
  drawBreaks,
  drawDensity,
  drawGrid,
  drawLabel,
  drawLine,
  drawNode,
  drawRowGround,
  drawSlot,
  drawTook,
  HEAD,
  type RowLook,
  ROW,
} from "../render/bars.ts";
import type { Brush } from "../render/pen.ts";

/** More bars than this in view become runs of the worst status. */
export const MOST_BARS = 2000;
const STANDING_BACK = 0.3;

/** What is drawn, of a moment. */
export interface Seen {
  readonly store: Store;
  readonly focus: Focus;
  readonly order: Order;
  readonly rows: Rows;
  /** In the order of slots. */
  readonly slots: BySlot | null;
  readonly open: ReadonlySet<number>;
  readonly axis: Axis;
  readonly width: number;
  /** Row with the keyboard's focus; -1 while that is elsewhere. */
  readonly focused: number;
  readonly isRunning: boolean;
  /** What an action would touch; the others stand back. */
  readonly touched: Uint8Array | null;
}

/** Rows from `scroll` on, as many as `height` holds, with the axis above them. */
export function drawTimeline(brush: Brush, seen: Seen, scroll: number, height: number): void {
  const { rows, slots, axis, width } = seen;
  const { context } = brush;
  const first = Math.max(0, Math.floor(scroll / ROW));
  const end = Math.min(rows.ids.length, first + Math.ceil((height - HEAD) / ROW) + 1);
  const inView = slots ? (slots.start[end] ?? 0) - (slots.start[first] ?? 0) : 0;
  drawGrid(brush, axis, height);
  context.save();
  context.beginPath();
  context.rect(0, HEAD, width, height - HEAD);
  context.clip();
  for (let at = first; at < end; at++) drawRow(brush, seen, at, HEAD + at * ROW - scroll, height, inView > MOST_BARS);
  if (seen.order !== "duration") drawBreaks(brush, axis, height);
  context.restore();
  drawTimes(brush, seen, height);
}

function drawRow(brush: Brush, seen: Seen, at: number, y: number, height: number, isDense: boolean): void {
  const { store, rows, order, axis } = seen;
  const { context } = brush;
  const { marks, nodes, attempt } = seen.focus.state;
  const id = rows.ids[at] ?? 0;
  const isGroup = nodes.length === 0 && marks.includes(~id);
  const isSelected = order !== "slots" && (id >= 0 ? nodes.includes(id) : isGroup);
  const look = { y, isSelected, isFocused: at === seen.focused, isInner: rows.isInner[at] === 1, label: axis.left };
  drawRowGround(brush, seen.width, look);
  context.globalAlpha = isTouched(seen, at) ? 1 : STANDING_BACK;
  context.save();
  context.beginPath();
  context.rect(axis.left, HEAD, axis.width, height - HEAD);
  context.clip();
  if (order === "slots") {
    if (seen.slots) drawSlot(brush, store, attemptsIn(store, seen.slots, at), y, axis, isDense);
  } else if (order === "duration") drawTook(brush, store, id, y, axis, attempt);
  else if (id >= 0) drawNode(brush, store, id, y, axis, attempt);
  else {
    const found = density(store, store.membersOf(~id), axis, attempt, store.runTime());
    drawDensity(brush, found, y + 3, ROW - 6, groundOf(store, ~id), axis);
  }
  context.restore();
  drawRowLabel(brush, seen, id, look);
  context.globalAlpha = 1;
}

function isTouched({ touched, order, store, slots, rows }: Seen, row: number): boolean {
  if (!touched) return true;
  const id = rows.ids[row] ?? 0;
  if (order === "slots") {
    for (const { index } of slots ? attemptsIn(store, slots, row) : []) if (touched[index] === 1) return true;
    return false;
  }
  return id >= 0 ? touched[id] === 1 : store.membersOf(~id).some((node) => touched[node] === 1);
}

/** The present of a run or of a replay, and the time under the pointer. */
function drawTimes(brush: Brush, seen: Seen, height: number): void {
  const { store, axis, width, focus } = seen;
  const { context, theme } = brush;
  const isTimed = seen.order !== "duration";
  const now = axis.left + axis.x(store.runTime());
  const hasNow = store.run?.started != null && (seen.isRunning || !focus.isLive);
  if (isTimed && hasNow && now >= axis.left && now <= width) drawLine(brush, now, height, theme.focus, false);
  const hovered = axis.left + axis.x(focus.state.hoveredTime);
  if (isTimed && hovered >= axis.left && hovered <= width) drawLine(brush, hovered, height, theme.secondary, true);
  context.fillStyle = theme.cardBorder;
  context.globalAlpha = 0.6;
  context.fillRect(axis.left - 0.5, 0, 1, height);
  context.fillRect(0, HEAD - 0.5, width, 1);
  context.globalAlpha = 1;
}

function drawRowLabel(brush: Brush, { store, order, open }: Seen, id: number, look: RowLook): void {
  if (order === "slots") {
    drawLabel(brush, look, 0, id === NO_SLOT ? say("timeline.no_slot") : say("timeline.slot", { n: id + 1 }), "", "");
  } else if (id >= 0) drawLabel(brush, look, store.status[id] ?? 0, store.nameOf(id), "", "");
  else {
    const status = worst(store.markCounts, ~id * STATUS_COUNT);
    const more = `×${count(store.picture?.marks.size[~id] ?? 0)}`;
    drawLabel(brush, look, status, store.picture?.marks.name[~id] ?? "", more, open.has(~id) ? "open" : "shut");
  }
}

/** A strip is blue while anything of it runs. Failures show by themselves. */
function groundOf(store: Store, mark: number): number {
  const running = store.markCounts[mark * STATUS_COUNT + Status.RUNNING] ?? 0;
  return running > 0 ? Status.RUNNING : Status.COMPLETED;
}
