// The timeline: when each node waited and ran, what each slot did, and what took longest. A canvas in a scrolling box.
import type { FocusPart } from "../model/focus.ts";
import { touchedBy } from "../model/derive.ts";
import type { Changes, Store } from "../model/store.ts";
import {
  Axis,
  type Break,
  type BySlot,
  bySlot,
  idleOf,
  type Order,
  type Rows,
  rowsOf,
  squeeze,
  took,
} from "../model/timeline.ts";
import { say } from "../model/words.ts";
import type { Action } from "../protocol.ts";
import { HEAD, labelWidth, ROW } from "../render/bars.ts";
import { begin, fitBitmap } from "../render/painter.ts";
import { type Brush, makeBrush } from "../render/pen.ts";
import { svgOf } from "../render/svg.ts";
import type { Theme } from "../render/theme.ts";
import { button, element, fill, on, set } from "./dom.ts";
import type { Pane, PaneContext } from "./pane.ts";
import { Foot, penOf } from "./timeline_foot.ts";
import { type TimelinePointed, TimelinePointer } from "./timeline_pointer.ts";
import { drawTimeline, MOST_BARS, type Seen } from "./timeline_rows.ts";
import { describeRow, RowTip } from "./timeline_words.ts";

const EDGE = 80;
const SHIFT = 0.1;
/** A large run is put in order anew this often at most. */
const ORDER_MS = 250;

interface Kept {
  order: Order;
  attempt: number;
}

class TimelinePane implements Pane {
  readonly name = "timeline";
  readonly root: HTMLElement;
  readonly controls: HTMLElement;
  private readonly context: PaneContext;
  private readonly store: Store;
  private readonly canvas = element("canvas.td-tl-canvas", { "aria-hidden": "true" });
  private readonly foot: Foot;
  private readonly spacer: HTMLElement;
  private readonly body: HTMLElement;
  private readonly tip = new RowTip();
  private readonly empty = element("div.td-empty", { hidden: true, "data-place": "middle" }, say("timeline.none"));
  private readonly mirror = element("div.td-mirror");
  private readonly follow: ReturnType<typeof button>;
  private readonly orders: HTMLButtonElement[];
  private readonly attempts = element("select.td-select", { "aria-label": say("timeline.attempts") });
  private readonly brush: Brush;
  private order: Order = "nodes";
  private readonly open = new Set<number>();
  /** Idle that somebody opened. Where it begins and ends moves a little while the run grows. */
  private readonly unfolded: Break[] = [];
  private rows: Rows = { ids: new Int32Array(0), isInner: new Uint8Array(0) };
  private slots: BySlot | null = null;
  /** Nodes that an action would touch, while one is pointed at. */
  private touched: Uint8Array | null = null;
  private idle: Break[] = [];
  /** Seconds without folded breaks. */
  private from = 0;
  private to = 1;
  private isWhole = true;
  private isFollowing = true;
  private axis = new Axis(0, 1, 1, []);
  private isShown = false;
  private areRowsStale = true;
  private orderedAt = 0;
  private frame = 0;
  private width = 0;
  private height = 0;
  private focused = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(context: PaneContext) {
    this.context = context;
    this.store = context.source.store;
    const { signal, theme } = context;
    this.spacer = element("div.td-tl-spacer", {}, this.canvas);
    this.body = element(
      "div.td-tl-body",
      {
        role: "application",
        tabindex: 0,
        "aria-roledescription": say("timeline.role"),
        "aria-label": say("timeline.canvas"),
      },
      this.spacer,
    );
    this.follow = button(say("timeline.follow"), () => this.fit(), signal, { className: "td-tl-follow" });
    this.follow.root.hidden = true;
    this.foot = this.makeFoot(theme);
    this.root = element(
      "div.td-timeline",
      {},
      this.body,
      this.foot.root,
      this.mirror,
      this.empty,
      this.follow.root,
      this.tip.root,
    );
    this.orders = (["nodes", "slots", "duration"] as const).map((order) => {
      const made = element(
        "button.td-segment",
        { type: "button", role: "radio", "data-order": order },
        say(`timeline.${order}`),
      );
      on(made, "click", signal, () => this.setOrder(order));
      return made;
    });
    this.controls = element(
      "span.td-row",
      {},
      element("span.td-segments", { role: "radiogroup", "aria-label": say("timeline.orders") }, ...this.orders),
      this.attempts,
    );
    on(this.attempts, "change", signal, () => {
      context.focus.set({ attempt: Number(this.attempts.value) });
      this.body.focus();
    });
    this.brush = makeBrush(penOf(this.canvas), theme);
    context.focus.subscribe((changed) => this.focusChanged(changed), signal);
    this.listen();
    this.showControls();
  }

  private makeFoot(theme: Theme): Foot {
    const pane = this;
    const of = {
      get window() {
        return { from: pane.from, to: pane.to, isWhole: pane.isWhole };
      },
      get idle() {
        return pane.idle;
      },
      get isRunning() {
        return pane.isRunning();
      },
      whole: () => this.whole(),
      moved: (from: number, to: number) => {
        this.isWhole = false;
        this.isFollowing = false;
        this.from = from;
        this.to = to;
        this.redraw();
      },
    };
    return new Foot(this.store, of, theme, this.context.signal);
  }

  // --- the pane ------------------------------------------------------------------------------------------------

  show(): void {
    this.isShown = true;
    this.areRowsStale = true;
    this.showAttempts();
    this.resize();
    this.redraw();
  }

  hide(): void {
    this.isShown = false;
    clearTimeout(this.timer);
    this.tip.hide();
  }

  changed(changes: Readonly<Changes>): void {
    if (changes.structure) {
      for (const mark of this.open) if (mark >= this.store.markCount) this.open.delete(mark);
    }
    this.areRowsStale ||= changes.structure || changes.statuses || changes.names || changes.run;
    this.showAttempts();
    this.redraw();
  }

  tick(): void {
    if (this.isRunning() || this.context.focus.isLive) this.redraw();
  }

  setTheme(theme: Theme): void {
    this.brush.theme = theme;
    this.foot.setTheme(theme);
    this.redraw();
  }

  isBody(target: EventTarget | null): boolean {
    return target === this.body;
  }

  focus(): void {
    this.body.focus({ preventScroll: true });
  }

  /** The others stand back. */
  highlight(action: Action | null, nodes: readonly number[]): void {
    this.touched = touchedBy(this.store, action, nodes);
    set(this.root, { "data-touching": this.touched?.reduce((sum, each) => sum + each, 0) });
    this.redraw();
  }

  reveal(node: number): void {
    this.bringIntoView(node);
  }

  escape(): boolean {
    if (this.context.focus.state.attempt === 0) return false;
    this.context.focus.set({ attempt: 0 });
    return true;
  }

  keep(): Kept {
    return { order: this.order, attempt: this.context.focus.state.attempt };
  }

  restore(kept: unknown): void {
    const { order } = (kept ?? {}) as Partial<Kept>;
    if (order === "nodes" || order === "slots" || order === "duration") this.setOrder(order);
  }

  key(event: KeyboardEvent): boolean {
    // A key may be quicker than the frame that would have put the rows in order.
    this.arrange();
    const page = Math.max(1, Math.floor((this.height - HEAD) / ROW) - 1);
    const last = this.rows.ids.length - 1;
    const to: Record<string, number> = {
      ArrowDown: this.focused + 1,
      ArrowUp: this.focused - 1,
      PageDown: this.focused + page,
      PageUp: this.focused - page,
      Home: 0,
      End: last,
    };
    const row = to[event.key];
    const step = (this.to - this.from) * (event.shiftKey ? 0.5 : SHIFT);
    if (row !== undefined) this.focusRow(Math.max(0, Math.min(last, row)));
    else if (event.key === "ArrowRight") this.pan(step);
    else if (event.key === "ArrowLeft") this.pan(-step);
    else if (event.key === "Enter") this.enter();
    else if (event.key === " ") this.select(this.focused, true);
    else if (event.key === "+" || event.key === "=") this.zoom(1.25, this.axis.width / 2);
    else if (event.key === "-") this.zoom(0.8, this.axis.width / 2);
    else if (event.key === "0") this.fit();
    else return false;
    return true;
  }

  /** The picture on screen as SVG, or with all rows. */
  toSvg(isWhole: boolean): string {
    const rows = isWhole ? Math.min(this.rows.ids.length, MOST_BARS) : Math.floor((this.height - HEAD) / ROW);
    const height = Math.max(60, HEAD + rows * ROW);
    return svgOf(this.width, height, this.brush.theme, this.store.picture?.title ?? "", (brush) =>
      drawTimeline(brush, this.seen(), isWhole ? 0 : this.body.scrollTop, height),
    );
  }

  // --- what is shown -------------------------------------------------------------------------------------------

  private setOrder(order: Order): void {
    if (order !== this.order) {
      this.order = order;
      this.focused = 0;
      this.body.scrollTop = 0;
      this.areRowsStale = true;
      this.orderedAt = 0;
      this.fit();
    }
    this.showControls();
    this.context.keepLater();
  }

  private showControls(): void {
    for (const each of this.orders) {
      set(each, { "aria-checked": String(each.dataset.order === this.order) });
    }
  }

  /** The choice of attempts is there once a node has had two. */
  private showAttempts(): void {
    let most = 1;
    for (const list of this.store.past.values()) most = Math.max(most, (list.at(-1)?.attempt ?? 0) + 1);
    most = Math.min(most, 50);
    this.attempts.hidden = most < 2;
    if (this.attempts.options.length !== most + 1) {
      const option = (value: number): HTMLElement =>
        element(
          "option",
          { value },
          value === 0 ? say("timeline.all_attempts") : say("timeline.attempt", { n: value }),
        );
      fill(this.attempts, ...Array.from({ length: most + 1 }, (_, at) => option(at)));
    }
    this.attempts.value = String(this.context.focus.state.attempt);
  }

  private focusChanged(changed: ReadonlySet<FocusPart>): void {
    if (changed.has("attempt")) this.attempts.value = String(this.context.focus.state.attempt);
    if (changed.has("mask") || changed.has("attempt")) this.areRowsStale = true;
    if (changed.has("nodes") && this.isShown) this.bringIntoView(this.context.focus.node);
    this.redraw();
  }

  private isRunning(): boolean {
    const { run } = this.store;
    return run?.started != null && !run.is_ended;
  }

  private arrange(): void {
    const now = performance.now();
    if (!this.areRowsStale) return;
    if (this.store.total > 5000 && now - this.orderedAt < ORDER_MS) {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.redraw(), ORDER_MS);
      return;
    }
    this.areRowsStale = false;
    this.foot.changed();
    this.orderedAt = now;
    const id = this.rows.ids[this.focused];
    const { mask, attempt } = this.context.focus.state;
    this.rows = rowsOf(this.store, this.order, this.open, mask, attempt);
    this.slots = this.order === "slots" ? bySlot(this.store, this.rows.ids, attempt) : null;
    this.idle = idleOf(this.store).filter(
      ({ from, to }) => !this.unfolded.some((each) => each.from < to && from < each.to),
    );
    const at = id === undefined ? -1 : this.rows.ids.indexOf(id);
    this.focused = at >= 0 ? at : Math.max(0, Math.min(this.focused, this.rows.ids.length - 1));
    this.spacer.style.height = `${HEAD + this.rows.ids.length * ROW + 6}px`;
  }

  private whole(): number {
    if (this.order !== "duration") return Math.max(0.1, squeeze(this.idle, this.store.horizon()));
    const node = this.rows.ids[0];
    return node === undefined ? 1 : Math.max(0.1, took(this.store, node, this.context.focus.state.attempt));
  }

  /** The window: all of it, or what somebody chose; while the run goes on it makes room for what comes. */
  private setWindow(): void {
    const left = labelWidth(this.width);
    const width = Math.max(1, this.width - left);
    const whole = this.whole();
    const breaks = this.order === "duration" ? [] : this.idle;
    const edge = 1 + EDGE / width;
    if (this.isWhole) {
      this.from = 0;
      const isCalm = this.isRunning() && this.context.focus.isLive && this.order !== "duration";
      // Grown in steps, so that bars stand still in between.
      if (!isCalm || this.to < whole * edge || this.to > whole * 3) this.to = whole * (isCalm ? edge + SHIFT : edge);
    } else if (this.isFollowing && this.isRunning()) {
      const now = squeeze(breaks, this.store.runTime());
      const span = this.to - this.from;
      if (now > this.to - (EDGE / width) * span) {
        const by = Math.max(SHIFT * span, now + (EDGE / width) * span - this.to);
        this.from += by;
        this.to += by;
      }
    }
    this.axis = new Axis(this.from, this.to, width, breaks, left);
  }

  private fit(): void {
    this.isWhole = true;
    this.isFollowing = true;
    this.to = 0;
    this.redraw();
  }

  private pan(by: number): void {
    this.isWhole = false;
    this.isFollowing = false;
    const span = this.to - this.from;
    this.from = Math.max(-span * 0.5, Math.min(this.whole() - span * 0.5, this.from + by));
    this.to = this.from + span;
    this.redraw();
  }

  private zoom(factor: number, x: number): void {
    const at = this.from + (x / this.axis.width) * (this.to - this.from);
    const span = Math.max(1e-3, Math.min(this.whole() * 2, (this.to - this.from) / factor));
    this.isWhole = false;
    this.isFollowing = this.isFollowing && factor > 1 && this.isRunning();
    this.from = at - (x / this.axis.width) * span;
    this.to = this.from + span;
    this.redraw();
  }

  // --- drawing -------------------------------------------------------------------------------------------------

  private redraw(): void {
    if (this.frame !== 0 || !this.isShown || this.context.signal.aborted) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  private resize(): void {
    const { clientWidth, clientHeight } = this.body;
    if (clientWidth < 2 || clientHeight < 2) return;
    this.width = clientWidth;
    this.height = clientHeight;
    this.redraw();
  }

  private draw(): void {
    if (!this.isShown || this.width === 0 || !this.store.picture) return;
    this.arrange();
    this.setWindow();
    const ratio = Math.min(3, this.root.ownerDocument.defaultView?.devicePixelRatio ?? 1);
    fitBitmap(this.canvas, this.width, this.height, ratio);
    this.canvas.style.width = `${this.width}px`;
    this.canvas.style.height = `${this.height}px`;
    begin(this.brush.context as CanvasRenderingContext2D, ratio);
    drawTimeline(this.brush, this.seen(), this.body.scrollTop, this.height);
    this.foot.draw(this.order !== "duration" && this.store.run?.started != null, this.width, ratio);
    const isNothing = this.store.run?.started == null;
    this.empty.hidden = !isNothing;
    this.follow.root.hidden = this.isWhole || (this.isFollowing && this.isRunning());
    this.follow.setLabel(say(this.isRunning() ? "timeline.follow" : "tools.fit"));
    set(this.root, { "data-rows": this.rows.ids.length, "data-order": this.order });
  }

  private seen(): Seen {
    const { store, order, rows, slots, open, axis, width, touched } = this;
    const focused = this.body.matches(":focus-visible") ? this.focused : -1;
    const isRunning = this.isRunning();
    return { store, focus: this.context.focus, order, rows, slots, open, axis, width, focused, isRunning, touched };
  }

  // --- pointer -------------------------------------------------------------------------------------------------

  private listen(): void {
    const { signal } = this.context;
    const { body } = this;
    on(body, "scroll", signal, () => {
      this.tip.hide();
      this.redraw();
    });
    on(body, "focus", signal, () => {
      this.showMirror();
      this.redraw();
    });
    on(body, "blur", signal, () => this.redraw());
    new TimelinePointer(this.pointed(), signal);
    const sized = new ResizeObserver(() => this.resize());
    sized.observe(body);
    signal.addEventListener(
      "abort",
      () => {
        sized.disconnect();
        cancelAnimationFrame(this.frame);
        clearTimeout(this.timer);
        this.tip.hide();
      },
      { once: true },
    );
  }

  private pointed(): TimelinePointed {
    const pane = this;
    const { body, tip, store } = this;
    return {
      body,
      tip,
      store,
      focused: this.context.focus,
      get order() {
        return pane.order;
      },
      get rows() {
        return pane.rows;
      },
      get slots() {
        return pane.slots;
      },
      get axis() {
        return pane.axis;
      },
      get idle() {
        return pane.idle;
      },
      get from() {
        return pane.from;
      },
      get size() {
        return { width: pane.width, height: pane.height };
      },
      pan: (by) => this.pan(by),
      zoom: (factor, x) => this.zoom(factor, x),
      fit: () => this.fit(),
      openBreak: (idle) => this.openBreak(idle),
      chosen: (row, under, isMore, isLabel) => this.chosen(row, under, isMore, isLabel),
      describe: (row, under) => this.describe(row, under),
    };
  }

  private chosen(row: number, under: number, isMore: boolean, isLabel: boolean): void {
    this.focused = row;
    const id = this.rows.ids[row] ?? 0;
    if (this.order !== "slots" && id < 0 && isLabel) this.toggle(~id);
    else this.select(row, isMore, under);
    this.showMirror();
  }

  private openBreak(idle: Break): void {
    this.unfolded.push(idle);
    this.areRowsStale = true;
    this.fit();
  }

  // --- rows ----------------------------------------------------------------------------------------------------

  private toggle(mark: number): void {
    if (!this.open.delete(mark)) this.open.add(mark);
    this.areRowsStale = true;
    this.orderedAt = 0;
    this.redraw();
  }

  private enter(): void {
    const id = this.rows.ids[this.focused];
    if (id === undefined) return;
    if (this.order !== "slots" && id < 0) {
      this.toggle(~id);
      return;
    }
    this.select(this.focused, false);
    this.context.inspect();
  }

  private select(row: number, isMore: boolean, under = -1): void {
    const id = this.rows.ids[row];
    if (id === undefined) return;
    const { focus } = this.context;
    if (this.order === "slots") {
      if (under >= 0) focus.selectNodes([under]);
      return;
    }
    if (id < 0) {
      focus.selectMarks([~id]);
      return;
    }
    const nodes = new Set(isMore ? focus.state.nodes : []);
    if (!nodes.delete(id)) nodes.add(id);
    focus.selectNodes([...nodes]);
  }

  private focusRow(row: number): void {
    this.focused = row;
    const top = row * ROW;
    const room = this.height - HEAD - ROW;
    if (top < this.body.scrollTop) this.body.scrollTop = top;
    else if (top > this.body.scrollTop + room) this.body.scrollTop = top - room;
    this.showMirror();
    this.redraw();
  }

  /** A node that was selected elsewhere: its row, or its group's. */
  private bringIntoView(node: number): void {
    if (node < 0 || this.order === "slots") return;
    this.arrange();
    let row = this.rows.ids.indexOf(node);
    if (row < 0) row = this.rows.ids.indexOf(~(this.store.markOf[node] ?? 0));
    if (row >= 0 && row !== this.focused) this.focusRow(row);
  }

  // --- words ---------------------------------------------------------------------------------------------------

  private describe(row: number, under = -1): string[] {
    return describeRow(this.store, this.order, this.rows, this.slots, row, under);
  }

  /** The focused row and its neighbours, as elements that a screen reader can be pointed at. */
  private showMirror(): void {
    const { prefix } = this.context;
    const near = [-2, -1, 0, 1, 2].map((step) => this.focused + step).filter((row) => this.rows.ids[row] !== undefined);
    const items = near.map((row) => {
      const text = this.describe(row).join(", ");
      return element("div", { id: `${prefix}-tl-${row}`, role: "img", "aria-label": text }, text);
    });
    fill(this.mirror, ...items);
    set(this.body, { "aria-activedescendant": items.length > 0 ? `${prefix}-tl-${this.focused}` : null });
  }
}

export const makeTimelinePane = (context: PaneContext): TimelinePane => new TimelinePane(context);
export type { TimelinePane };
