// What a mouse does to the timeline: pan, zoom, open a break, choose a row; and what stands under it.
import type { Focus } from "../model/focus.ts";
import type { Store } from "../model/store.ts";
import { type Axis, attemptsIn, type Break, type BySlot, type Order, type Rows } from "../model/timeline.ts";
import { HEAD, ROW } from "../render/bars.ts";
import { on, set } from "./dom.ts";
import type { RowTip } from "./timeline_words.ts";

const DRAG_PX = 4;

/** What is pointed at. */
export interface TimelinePointed {
  readonly body: HTMLElement;
  readonly tip: RowTip;
  readonly store: Store;
  readonly focused: Focus;
  readonly order: Order;
  readonly rows: Rows;
  readonly slots: BySlot | null;
  readonly axis: Axis;
  readonly idle: readonly Break[];
  /** Seconds at the left edge. */
  readonly from: number;
  readonly size: { width: number; height: number };
  pan(by: number): void;
  zoom(factor: number, x: number): void;
  fit(): void;
  openBreak(idle: Break): void;
  /** A row was pressed; `under` is the node there, `isLabel` says that it was pressed on its name. */
  chosen(row: number, under: number, isMore: boolean, isLabel: boolean): void;
  describe(row: number, under: number): string[];
}

export class TimelinePointer {
  private readonly of: TimelinePointed;
  private point: { x: number; y: number } | null = null;
  private drag: { x: number; from: number; isDrag: boolean } | null = null;

  constructor(of: TimelinePointed, signal: AbortSignal) {
    this.of = of;
    const { body } = of;
    on(body, "pointerdown", signal, (event) => this.pointerDown(event));
    on(body, "pointermove", signal, (event) => this.pointerMove(event));
    on(body, "pointerup", signal, (event) => this.pointerUp(event));
    on(body, "pointercancel", signal, () => {
      this.drag = null;
    });
    on(body, "pointerleave", signal, () => this.leave());
    on(body, "dblclick", signal, (event) => {
      if (this.at(event).x >= of.axis.left) of.fit();
    });
    on(body, "wheel", signal, (event) => this.wheel(event), { passive: false });
  }

  private at(event: MouseEvent): { x: number; y: number } {
    const box = this.of.body.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  private rowAt(y: number): number {
    const row = Math.floor((y - HEAD + this.of.body.scrollTop) / ROW);
    return y >= HEAD && row < this.of.rows.ids.length ? row : -1;
  }

  /** The node under a point; -1 for none. */
  private nodeAt(row: number, x: number): number {
    const { rows, order, slots, store, axis } = this.of;
    const id = rows.ids[row];
    if (id === undefined || row < 0) return -1;
    if (order !== "slots") return id;
    if (!slots || x < axis.left) return -1;
    const now = store.runTime();
    for (const { index, started, ended } of attemptsIn(store, slots, row)) {
      const from = axis.x(started);
      const to = Math.max(from + 3, axis.x(Number.isNaN(ended) ? now : ended));
      if (x - axis.left >= from && x - axis.left <= to) return index;
    }
    return -1;
  }

  private pointerDown(event: PointerEvent): void {
    const { of } = this;
    if (event.pointerType === "mouse" && event.button !== 0) return;
    // The scroll bar is not ours.
    if (event.offsetX > of.size.width && event.target === of.body) return;
    this.drag = { x: this.at(event).x, from: of.from, isDrag: false };
    of.body.setPointerCapture(event.pointerId);
  }

  private pointerMove(event: PointerEvent): void {
    const { of, drag } = this;
    const point = this.at(event);
    this.point = point;
    if (drag) {
      drag.isDrag ||= Math.abs(point.x - drag.x) > DRAG_PX;
      if (!drag.isDrag) return;
      of.tip.hide();
      of.pan(drag.from - (point.x - drag.x) / of.axis.k - of.from);
      return;
    }
    const row = this.rowAt(point.y);
    const node = this.nodeAt(row, point.x);
    const isOver = point.x >= of.axis.left && of.order !== "duration" && of.store.run?.started != null;
    const hoveredTime = isOver ? of.axis.time(point.x - of.axis.left) : Number.NaN;
    of.focused.set({ hoveredTime, hovered: node >= 0 ? node : -1 });
    set(of.body, { "data-over": row >= 0 });
    of.tip.soon(
      row < 0 ? "" : `${row}|${node}`,
      () => of.describe(row, node),
      () => ({ at: this.point ?? point, ...of.size }),
    );
  }

  private pointerUp(event: PointerEvent): void {
    const { of, drag } = this;
    this.drag = null;
    if (!drag || drag.isDrag) return;
    const { x, y } = this.at(event);
    const idle = this.breakAt(x);
    if (idle) {
      of.openBreak(idle);
      return;
    }
    const row = this.rowAt(y);
    if (row < 0) return;
    of.chosen(row, this.nodeAt(row, x), event.shiftKey || event.ctrlKey || event.metaKey, x < of.axis.left);
  }

  private leave(): void {
    this.point = null;
    this.of.tip.hide();
    this.of.focused.set({ hoveredTime: Number.NaN, hovered: -1 });
  }

  private wheel(event: WheelEvent): void {
    const { of } = this;
    const { x } = this.at(event);
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      of.zoom(Math.exp(-Math.max(-120, Math.min(120, event.deltaY)) * 0.006), Math.max(0, x - of.axis.left));
    } else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      event.preventDefault();
      of.pan(event.deltaX / of.axis.k);
    }
  }

  private breakAt(x: number): Break | null {
    const { order, idle, axis } = this.of;
    if (order === "duration") return null;
    return idle.find((each) => x >= axis.left + axis.x(each.from) && x <= axis.left + axis.x(each.to)) ?? null;
  }
}
