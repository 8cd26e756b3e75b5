// The view's size: how high it is by itself, what a hand makes of that, the inspector's column, and the full screen.
import type { Store } from "../model/store.ts";
import { say } from "../model/words.ts";
import { type Button, button, on, set, element } from "./dom.ts";
import type { Kept } from "./memory.ts";
import type { PaneName } from "./pane.ts";

const HEIGHTS = { tiny: 160, small: 360, large: 480, least: 200, most: 900 } as const;
/** Summary, tools and actions. */
const BARS = 108;
/** Of a narrow view with one node: elsewhere they stand beside it. */
const TOOLS = 36;
const WITH_INSPECTOR = 420;
const WITH_DRAWER = 560;
const WIDE = 900;
const NARROW = 600;
const TINY = 480;
export const COLUMN = { usual: 320, least: 240, most: 520 } as const;

/** What the size depends on. */
export interface Framed {
  readonly store: Store;
  /** Size by hand is kept here. */
  readonly state: Kept;
  readonly isInspecting: boolean;
  readonly paneName: PaneName;
  /** Height at which the graph's cards fit; 0 for none. */
  cardHeight(width: number): number;
  /** The width is known: the pane may be another one now. */
  widthKnown(): void;
  /** Height of what stands below the pane by wish. */
  readonly below: number;
  /** A hand chose a size. */
  keep(): void;
}

interface Drag {
  y: number;
  x: number;
  height: number;
  column: number;
}

export class Frame {
  readonly handle = element("div.td-handle");
  readonly splitter = element("div.td-splitter", { hidden: true });
  readonly full: Button;
  private readonly root: HTMLElement;
  private readonly framed: Framed;
  private readonly signal: AbortSignal;

  constructor(root: HTMLElement, framed: Framed, signal: AbortSignal) {
    this.root = root;
    this.framed = framed;
    this.signal = signal;
    this.full = button(say("tools.fullscreen"), () => this.toggleFull(), signal, { icon: "full", isIconOnly: true });
    this.full.root.hidden = !root.ownerDocument.fullscreenEnabled;
    set(this.handle, {
      role: "separator",
      tabindex: 0,
      "aria-orientation": "horizontal",
      "aria-label": say("tools.handle"),
      title: say("tools.handle"),
    });
    set(this.splitter, { role: "separator", "aria-hidden": "true" });
    this.drag(this.handle, (event, start) => this.setHeight(start.height + event.clientY - start.y));
    this.drag(this.splitter, (event, start) => {
      if (this.isWide()) this.setColumn(start.column + start.x - event.clientX);
    });
    on(this.handle, "keydown", signal, (event) => {
      const step = event.key === "ArrowDown" ? 20 : event.key === "ArrowUp" ? -20 : 0;
      if (step === 0) return;
      event.preventDefault();
      this.setHeight(this.height() + step);
    });
    on(root.ownerDocument, "fullscreenchange", signal, () => this.fullChanged());
  }

  update(): void {
    const { root, framed } = this;
    const width = root.clientWidth;
    const { isInspecting, state } = framed;
    set(root, {
      "data-wide": String(width >= WIDE),
      "data-narrow": String(width < NARROW),
      "data-tiny": String(width < TINY),
      "data-collapsed": String(state.isCollapsed),
      "data-inspecting": String(isInspecting),
    });
    if (width > 0) framed.widthKnown();
    set(root, { "data-few": String(framed.store.total < 3 && !isInspecting && framed.paneName === "graph") });
    const height = Math.round(this.height());
    root.style.setProperty("--td-height", this.isFull() ? "100%" : `${height}px`);
    set(this.handle, {
      "aria-valuemin": HEIGHTS.least,
      "aria-valuemax": HEIGHTS.most,
      "aria-valuenow": Math.max(HEIGHTS.least, Math.min(HEIGHTS.most, height)),
      "aria-valuetext": say("aria.pixels", { n: height }),
    });
    root.style.setProperty("--td-column", `${state.column}px`);
    this.splitter.hidden = !isInspecting || !this.isWide();
  }

  private height(): number {
    const { store, state, paneName, isInspecting } = this.framed;
    const page = this.root.ownerDocument.defaultView?.innerHeight ?? 800;
    const most = Math.max(HEIGHTS.tiny, 0.7 * page);
    // What was chosen in a larger window is remembered, for the next one of that size.
    if (state.height > 0) return Math.min(state.height, Math.max(HEIGHTS.least, most));
    // A small graph gets the large view where that, and only that, shows its cards.
    const needed = this.framed.cardHeight(this.root.clientWidth) + BARS;
    const isHigh = needed > HEIGHTS.small && needed <= HEIGHTS.large;
    let height: number = store.total > 30 || isHigh ? HEIGHTS.large : HEIGHTS.small;
    const isFew = store.picture !== null && store.total < 3 && paneName === "graph";
    if (isFew) height = HEIGHTS.tiny + (this.root.dataset.narrow === "true" ? TOOLS : 0);
    if (isInspecting) height = Math.max(height, this.isWide() ? WITH_INSPECTOR : WITH_DRAWER);
    height += this.framed.below;
    return Math.min(height, most);
  }

  private isWide(): boolean {
    return this.root.dataset.wide === "true";
  }

  private setHeight(height: number): void {
    this.framed.state.height = Math.round(Math.min(HEIGHTS.most, Math.max(HEIGHTS.least, height)));
    this.update();
    this.framed.keep();
  }

  private setColumn(width: number): void {
    this.framed.state.column = Math.round(Math.min(COLUMN.most, Math.max(COLUMN.least, width)));
    this.update();
    this.framed.keep();
  }

  private drag(target: HTMLElement, moved: (event: PointerEvent, start: Drag) => void): void {
    let start: Drag | null = null;
    on(target, "pointerdown", this.signal, (event) => {
      event.preventDefault();
      target.setPointerCapture(event.pointerId);
      start = { x: event.clientX, y: event.clientY, height: this.height(), column: this.framed.state.column };
    });
    on(target, "pointermove", this.signal, (event) => {
      if (start) moved(event, start);
    });
    for (const name of ["pointerup", "pointercancel"] as const) {
      on(target, name, this.signal, () => {
        start = null;
      });
    }
  }

  private isFull(): boolean {
    return this.root.ownerDocument.fullscreenElement === this.root;
  }

  private toggleFull(): void {
    if (this.isFull()) void this.root.ownerDocument.exitFullscreen();
    else void this.root.requestFullscreen?.().catch(() => undefined);
  }

  private fullChanged(): void {
    const isFull = this.isFull();
    this.full.setLabel(say(isFull ? "tools.fullscreen_leave" : "tools.fullscreen"));
    set(this.root, { "data-full": isFull });
    this.update();
  }
}
