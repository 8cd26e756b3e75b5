// The whole run in one strip below the rows, with a window on it that can be moved, widened and drawn anew.
import type { Store } from "../model/store.ts";
import { Axis, type Break, density } from "../model/timeline.ts";
import { drawBrush, labelWidth } from "../render/bars.ts";
import { begin, fitBitmap } from "../render/painter.ts";
import { type Brush, makeBrush, type Pen } from "../render/pen.ts";
import type { Theme } from "../render/theme.ts";
import { element, on } from "./dom.ts";

const FOOT = 34;
const STRIP_MS = 500;
const NEAR_PX = 6;
/** Of the whole, so that its end can be seen. */
const MARGIN = 1.02;

/** What the rows above show, in seconds without folded breaks. */
export interface Window {
  readonly from: number;
  readonly to: number;
  readonly isWhole: boolean;
}

export interface FootOf {
  readonly window: Window;
  readonly idle: readonly Break[];
  readonly isRunning: boolean;
  /** Seconds of the run without folded breaks. */
  whole(): number;
  /** By hand: it does not follow any more. */
  moved(from: number, to: number): void;
}

interface Drag {
  readonly x: number;
  readonly from: number;
  readonly to: number;
  readonly part: "move" | "left" | "right";
}

export class Foot {
  readonly root = element("canvas.td-tl-foot", { "aria-hidden": "true" });
  private readonly store: Store;
  private readonly of: FootOf;
  private readonly brush: Brush;
  private nodes = new Uint32Array(0);
  /** Panning leaves it as it is. */
  private strip: { width: number; found: ReturnType<typeof density> } | null = null;
  private stripAt = 0;
  private isStale = true;
  private left = 0;
  private width = 0;
  private drag: Drag | null = null;

  constructor(store: Store, of: FootOf, theme: Theme, signal: AbortSignal) {
    this.store = store;
    this.of = of;
    this.brush = makeBrush(penOf(this.root), theme);
    on(this.root, "pointerdown", signal, (event) => this.down(event));
    on(this.root, "pointermove", signal, (event) => this.move(event));
    for (const name of ["pointerup", "pointercancel"] as const)
      on(this.root, name, signal, () => {
        this.drag = null;
      });
  }

  setTheme(theme: Theme): void {
    this.brush.theme = theme;
  }

  /** What ran when is not what it was. */
  changed(): void {
    this.isStale = true;
  }

  draw(isOn: boolean, width: number, ratio: number): void {
    this.root.hidden = !isOn;
    this.left = labelWidth(width);
    this.width = Math.max(1, width - this.left);
    if (!isOn) return;
    fitBitmap(this.root, width, FOOT, ratio);
    this.root.style.width = `${width}px`;
    begin(this.brush.context as CanvasRenderingContext2D, ratio);
    const axis = new Axis(0, this.whole(), this.width, this.of.idle, this.left);
    const now = performance.now();
    const isOld = this.strip?.width !== axis.width || (this.of.isRunning && now - this.stripAt > STRIP_MS);
    if (isOld || this.isStale) {
      this.stripAt = now;
      this.strip = { width: axis.width, found: density(this.store, this.everyNode(), axis, 0, this.store.runTime()) };
      this.isStale = false;
    }
    const { from, to } = this.of.window;
    const at = (seconds: number): number => (seconds / this.whole()) * axis.width;
    if (this.strip) drawBrush(this.brush, this.strip.found, axis, FOOT, at(from), at(to));
  }

  private whole(): number {
    return this.of.whole() * MARGIN;
  }

  private everyNode(): Uint32Array {
    const { total } = this.store;
    if (this.nodes.length !== total) this.nodes = Uint32Array.from({ length: total }, (_, at) => at);
    return this.nodes;
  }

  private down(event: PointerEvent): void {
    this.root.setPointerCapture(event.pointerId);
    const { from, to, isWhole } = this.of.window;
    const x = event.offsetX - this.left;
    const scale = this.width / this.whole();
    const [left, right] = [from * scale, to * scale];
    const part = Math.abs(x - left) < NEAR_PX ? "left" : Math.abs(x - right) < NEAR_PX ? "right" : "move";
    if (part === "move" && (x < left || x > right || isWhole)) {
      // Beside the window, or with all of it shown: a new window is drawn from here.
      const start = Math.max(0, x / scale);
      this.drag = { x, from: start, to: start + 1e-3, part: "right" };
    } else this.drag = { x, from, to, part };
  }

  private move(event: PointerEvent): void {
    const { drag } = this;
    if (!drag) return;
    const whole = this.whole();
    const by = ((event.offsetX - this.left - drag.x) / this.width) * whole;
    const least = whole / 1000;
    if (drag.part === "right") {
      this.of.moved(drag.from, Math.min(whole, Math.max(drag.from + least, drag.to + by)));
      return;
    }
    const room = drag.to - (drag.part === "left" ? least : 0);
    const from = Math.max(0, Math.min(drag.from + by, room));
    this.of.moved(from, drag.part === "left" ? drag.to : from + drag.to - drag.from);
  }
}

/** The canvas as what is drawn on. */
export function penOf(canvas: HTMLCanvasElement): Pen {
  const context = canvas.getContext("2d");
  if (!context) throw new Error("this browser has no canvas");
  return context as unknown as Pen;
}
