// What a mouse, a pen or fingers do to the graph: drag, pinch, wheel, clicks, and what stands under the pointer.
import type { Box } from "../render/place.ts";
import { type Camera, leastZoom } from "../render/scene.ts";
import type { Boards } from "./boards.ts";
import { element, fill, on, set } from "./dom.ts";
import type { Sight } from "./sight.ts";

const HOVER_MS = 150;
const TOOLTIP_MS = 350;
/** From tile to tile. */
const TILE_MS = 60;
const DRAG_PX = 4;
/** The ▸ of a stack: world pixels from its top right corner. */
const OPENER = { width: 30, height: 30 } as const;
/** Two clicks within this time and distance are one double click, whatever moved under the pointer in between. */
const DOUBLE = { ms: 700, px: 6 } as const;

interface Point {
  x: number;
  y: number;
}

/** What is pointed at. */
export interface Pointed {
  readonly root: HTMLElement;
  readonly viewport: HTMLElement;
  readonly sight: Sight;
  readonly boards: Boards;
  /** The mark at a point of the screen, -1 for none. */
  hit(point: Point): number;
  isCard(mark: number): boolean;
  firstOf(mark: number): number;
  select(marks: readonly number[], node?: number): void;
  toggle(mark: number): void;
  isolate(node: number): void;
  /** The node under the pointer, -1 for none. */
  hovered(node: number): void;
  /** The mark that the pointer rests on, whose relatives are shown; -1 for none. */
  lightUp(mark: number): void;
  /** Lines about a mark, or a node of it (-1 for none). */
  describe(mark: number, node: number): readonly string[];
}

export class Pointer {
  readonly tooltip = element("div.td-tooltip", { role: "tooltip", hidden: true });
  private readonly of: Pointed;
  private readonly pointers = new Map<number, Point>();
  private down: (Point & { mark: number; camera: Camera; isDrag: boolean }) | null = null;
  private pinch: (Point & { distance: number; camera: Camera }) | null = null;
  private clicks: (Point & { mark: number; time: number })[] = [];
  private mark = -1;
  private node = -1;
  private hoverTimer: ReturnType<typeof setTimeout> | undefined;
  private tooltipTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(of: Pointed, signal: AbortSignal) {
    this.of = of;
    const view = of.viewport;
    on(view, "pointerdown", signal, (event) => this.pointerDown(event));
    on(view, "pointermove", signal, (event) => this.pointerMove(event));
    on(view, "pointerup", signal, (event) => this.pointerUp(event));
    on(view, "pointercancel", signal, (event) => this.pointerUp(event));
    on(view, "pointerleave", signal, () => this.hover(-1, { x: 0, y: 0 }));
    on(view, "wheel", signal, (event) => this.wheel(event), { passive: false });
    const end = (): void => {
      for (const timer of [this.hoverTimer, this.tooltipTimer]) clearTimeout(timer);
    };
    signal.addEventListener("abort", end, { once: true });
  }

  hideTooltip(): void {
    set(this.tooltip, { hidden: true });
  }

  /**
   * On a card: isolate; on a stack: open; beside both: fit. The first click may have opened the inspector under the
   * pointer, so what counts is what that one hit, and the event may come from anywhere in the view.
   */
  doubleClick(event: MouseEvent): void {
    const { of } = this;
    const first = this.clicks.find(
      ({ time, x, y }) => Date.now() - time < DOUBLE.ms && Math.hypot(x - event.clientX, y - event.clientY) < DOUBLE.px,
    );
    this.clicks = [];
    if (!first) return;
    if (first.mark < 0) of.sight.fitAll();
    else if (of.isCard(first.mark)) of.isolate(of.firstOf(first.mark));
    else of.boards.toggle(first.mark);
  }

  private at(event: MouseEvent): Point {
    const box = this.of.viewport.getBoundingClientRect();
    const scale = box.width > 0 ? this.of.sight.width / box.width : 1;
    return { x: (event.clientX - box.left) * scale, y: (event.clientY - box.top) * scale };
  }

  private pointerDown(event: PointerEvent): void {
    if (event.pointerType === "mouse" && event.button !== 0) return;
    const { sight, viewport } = this.of;
    const point = this.at(event);
    this.pointers.set(event.pointerId, point);
    viewport.setPointerCapture(event.pointerId);
    sight.stop();
    if (this.pointers.size === 2) {
      this.pinch = { ...this.fingers(), camera: sight.camera };
      this.down = null;
      return;
    }
    this.down = { ...point, mark: this.of.hit(point), camera: sight.camera, isDrag: false };
    this.hover(-1, point);
  }

  /** The middle between two fingers, and how far they are apart. */
  private fingers(): Point & { distance: number } {
    const [a, b] = [...this.pointers.values()] as [Point, Point];
    return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, distance: Math.hypot(a.x - b.x, a.y - b.y) };
  }

  private pointerMove(event: PointerEvent): void {
    const { sight, viewport } = this.of;
    const point = this.at(event);
    if (this.pointers.has(event.pointerId)) this.pointers.set(event.pointerId, point);
    const { pinch, down } = this;
    if (pinch && this.pointers.size === 2) {
      const { x, y, distance } = this.fingers();
      const zoomed = sight.zoomAt(pinch.camera, distance / Math.max(1, pinch.distance), pinch.x, pinch.y);
      sight.pan(zoomed, pinch.x - x, pinch.y - y);
      return;
    }
    if (!down) {
      this.hover(this.of.hit(point), point);
      return;
    }
    const dx = point.x - down.x;
    const dy = point.y - down.y;
    down.isDrag ||= Math.hypot(dx, dy) > DRAG_PX;
    if (!down.isDrag) return;
    set(viewport, { "data-dragging": true });
    sight.pan(down.camera, -dx, -dy);
  }

  private pointerUp(event: PointerEvent): void {
    const { of, down } = this;
    this.pointers.delete(event.pointerId);
    if (this.pointers.size < 2) this.pinch = null;
    this.down = null;
    set(of.viewport, { "data-dragging": null });
    if (!down || down.isDrag || event.type === "pointercancel") return;
    const { mark } = down;
    this.clicks = [...this.clicks.slice(-1), { mark, x: event.clientX, y: event.clientY, time: Date.now() }];
    if (mark < 0) {
      if (!event.shiftKey) of.select([]);
    } else if (event.shiftKey || event.ctrlKey || event.metaKey) of.toggle(mark);
    else if (this.isOpener(mark, down)) of.boards.toggle(mark);
    else {
      const node = this.nodeAt(mark, down);
      of.select([mark], node);
      if (node >= 0) of.boards.point(mark, node);
    }
  }

  /** A point of the screen from the top left of a mark, in world pixels. */
  private within(own: Box, { x, y }: Point): Point {
    const { camera } = this.of.sight;
    return { x: x / camera.k + camera.x - own.x, y: y / camera.k + camera.y - own.y };
  }

  /** The node of the tile at a point, -1 where no open stack is. */
  private nodeAt(mark: number, point: Point): number {
    const { boards, sight } = this.of;
    if (!boards.has(mark)) return -1;
    const { x, y } = this.within(sight.boxOf(mark), point);
    return boards.nodeAt(mark, x, y);
  }

  private isOpener(mark: number, point: Point): boolean {
    const { boards, sight } = this.of;
    if (this.of.isCard(mark) || boards.has(mark) || sight.camera.k < leastZoom("card")) return false;
    const own = sight.boxOf(mark);
    const { x, y } = this.within(own, point);
    return y < OPENER.height && x > own.width - OPENER.width;
  }

  private wheel(event: WheelEvent): void {
    const { sight, root } = this.of;
    const isFull = root.ownerDocument.fullscreenElement !== null;
    const unit = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? sight.height : 1;
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      const { x, y } = this.at(event);
      sight.stop();
      const factor = Math.exp(-Math.max(-120, Math.min(120, event.deltaY * unit)) * 0.006);
      sight.set(sight.zoomAt(sight.camera, factor, x, y));
    } else if (this.scrollBoard(event, unit)) event.preventDefault();
    else if (isFull) {
      event.preventDefault();
      sight.pan(sight.camera, event.deltaX * unit, event.deltaY * unit);
    }
  }

  /** An open stack with more rows than it shows scrolls as any box of a page does. */
  private scrollBoard(event: WheelEvent, unit: number): boolean {
    const { boards, sight } = this.of;
    const mark = this.of.hit(this.at(event));
    return mark >= 0 && boards.has(mark) && boards.scroll(mark, (event.deltaY * unit) / sight.camera.k);
  }

  private hover(mark: number, point: Point): void {
    const { of } = this;
    set(of.viewport, { "data-over": mark >= 0 });
    const node = mark < 0 ? -1 : of.isCard(mark) ? of.firstOf(mark) : this.nodeAt(mark, point);
    if (mark === this.mark && node === this.node) return;
    const isSame = mark === this.mark;
    this.mark = mark;
    this.node = node;
    of.hovered(node);
    clearTimeout(this.tooltipTimer);
    this.hideTooltip();
    if (mark >= 0) {
      const wait = isSame ? TILE_MS : TOOLTIP_MS;
      this.tooltipTimer = setTimeout(() => this.showTooltip(mark, node, point), wait);
    }
    if (isSame) return;
    clearTimeout(this.hoverTimer);
    of.lightUp(-1);
    // Over the tiles of an open stack the rest stays as it is: somebody reads them.
    if (mark < 0 || of.boards.has(mark)) return;
    this.hoverTimer = setTimeout(() => of.lightUp(mark), HOVER_MS);
  }

  private showTooltip(mark: number, node: number, { x, y }: Point): void {
    const lines = this.of.describe(mark, node);
    if (lines.length === 0) return;
    const { width: wide, height: high } = this.of.sight;
    fill(this.tooltip, ...lines.map((text, index) => element(index === 0 ? "div.td-strong" : "div", {}, text)));
    set(this.tooltip, { hidden: false });
    const { offsetWidth: width, offsetHeight: height } = this.tooltip;
    const left = Math.max(4, Math.min(wide - width - 4, x + 12));
    const top = y + 18 + height > high ? y - height - 10 : y + 18;
    this.tooltip.style.transform = `translate(${Math.round(left)}px, ${Math.round(Math.max(4, top))}px)`;
  }
}
