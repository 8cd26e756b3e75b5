// The switches for teaching: worker lanes, why nodes wait, predict mode, slow motion. All are off at first. Those of one
// view are kept with it; slow motion is the graph's own, asked of the kernel, so every view of it shows the same.
import type { Focus } from "../model/focus.ts";
import type { Lens } from "../model/lens.ts";
import { say } from "../model/words.ts";
import { whyWaits } from "../model/why.ts";
import { NO_SLOT, type Question } from "../protocol.ts";
import type { Source } from "../sources/source.ts";
import type { Details } from "./details.ts";
import { button, element, fill, on, set, setText } from "./dom.ts";
import { LaneStrip } from "./lanes.ts";
import type { MenuItem, Pane } from "./pane.ts";
import { Predict } from "./predict.ts";

/** In milliseconds, as the kernel is asked. */
const PACES = [0, 250, 1000, 3000] as const;
const USUAL = 1000;
/** Least height of the row of a switch, in pixels. */
const BAR = 38;

export interface TeachingEvents {
  /** The graph, if it was ever shown. */
  graph(): Pane | null;
  reveal(node: number): void;
  /** The view's height is another one now, or what it keeps. */
  changed(): void;
  /** The keyboard was here, and has to be somewhere. */
  left(): void;
}

interface Kept {
  lanes: boolean;
  why: boolean;
  predict: boolean;
  asked: number;
  right: number;
}

export class Teaching {
  readonly root: HTMLElement;
  readonly predict: Predict;
  private readonly source: Source;
  private readonly lens: Lens;
  private readonly events: TeachingEvents;
  private readonly lanes: LaneStrip;
  private readonly slow = element("div.td-pace", { role: "toolbar", "aria-label": say("teaching.slow"), hidden: true });
  private readonly slowNote = element("span.td-slownote", { role: "status" });
  private readonly choices: HTMLElement[];
  private isWhy = false;
  /** Asked for and not yet told by the kernel, in seconds; NaN for nothing. */
  private wished = Number.NaN;
  private width = 0;
  private readonly tallest = new Map<HTMLElement, number>();

  constructor(source: Source, focus: Focus, details: Details, events: TeachingEvents, signal: AbortSignal) {
    // Each view has a lens of its own before its source.
    const lens = source.store as Lens;
    this.source = source;
    this.lens = lens;
    this.events = events;
    const reveal = (node: number): void => events.reveal(node);
    const does = { reveal, changed: () => events.changed(), off: () => this.setPredict(false) };
    this.predict = new Predict(lens, focus, details, does, signal);
    this.lanes = new LaneStrip(
      lens,
      focus,
      { reveal, point: (node) => events.graph()?.point?.(node), resized: () => events.changed() },
      signal,
    );
    this.choices = PACES.map((pace) => this.choice(pace, signal));
    const off = button(say("teaching.off"), () => this.setPace(0), signal, { icon: "close", isIconOnly: true });
    fill(
      this.slow,
      element("span.td-barname", {}, say("teaching.slow")),
      element("span.td-segments", { role: "radiogroup", "aria-label": say("teaching.slow") }, ...this.choices),
      this.slowNote,
      element("span.td-space"),
      off.root,
    );
    this.root = element("div.td-teaching", {}, this.lanes.root, this.predict.bar, this.slow);
    lens.subscribe((changes) => {
      if (changes.run) this.showPace();
      if (changes.statuses || changes.structure || changes.names) this.lanes.update();
      if (this.predict.isOn && (changes.statuses || changes.structure)) this.predict.update();
    }, signal);
    source.subscribe(() => this.showPace(), signal);
    let known = 0;
    const sized = new ResizeObserver(() => {
      const { below } = this;
      if (below !== known) events.changed();
      known = below;
    });
    for (const bar of [this.predict.bar, this.slow]) sized.observe(bar);
    signal.addEventListener("abort", () => sized.disconnect(), { once: true });
    this.showPace();
  }

  /** What it adds to the height of the view. */
  get below(): number {
    const { clientWidth } = this.root;
    if (clientWidth !== this.width) this.tallest.clear();
    this.width = clientWidth;
    return this.lanes.height + this.heightOf(this.predict.bar) + this.heightOf(this.slow);
  }

  /** As high as it ever was at this width: a question that comes and goes does not move the page each time. */
  private heightOf(bar: HTMLElement): number {
    const height = bar.hidden ? 0 : Math.max(BAR, bar.offsetHeight, this.tallest.get(bar) ?? 0);
    this.tallest.set(bar, height);
    return height;
  }

  tick(): void {
    this.lanes.update();
    const { run, moment } = this.lens;
    // Why somebody waits says for how long.
    if (this.isWhy && run?.started != null && !run.is_ended && !moment) this.lens.show(null);
  }

  /** True if it was one of ours, on the body of a pane. */
  key(event: KeyboardEvent): boolean {
    return event.key === "n" && this.predict.askNext();
  }

  menu(): readonly MenuItem[] {
    const pace = this.pace;
    return [
      {
        label: say("teaching.lanes"),
        isOn: this.lanes.isOn,
        isNew: true,
        head: say("teaching.title"),
        title: say("teaching.lanes_title"),
        chosen: () => this.setLanes(!this.lanes.isOn),
      },
      {
        label: say("teaching.why"),
        isOn: this.isWhy,
        title: say("teaching.why_title"),
        chosen: () => this.setWhy(!this.isWhy),
      },
      {
        label: say("teaching.predict"),
        isOn: this.predict.isOn,
        title: say("teaching.predict_title"),
        chosen: () => this.setPredict(!this.predict.isOn),
      },
      {
        label: say("teaching.slow"),
        isOn: pace > 0,
        title: say("teaching.slow_title"),
        blocked: this.slowBlocked(),
        chosen: () => this.setPace(pace > 0 ? 0 : USUAL),
      },
    ];
  }

  keep(): Kept | undefined {
    const { asked, right } = this.predict.veil;
    const kept = { lanes: this.lanes.isOn, why: this.isWhy, predict: this.predict.isOn, asked, right };
    return Object.values(kept).some(Boolean) ? kept : undefined;
  }

  restore(kept: unknown): void {
    const { lanes, why, predict, asked = 0, right = 0 } = (kept ?? {}) as Partial<Kept>;
    if (lanes) this.setLanes(true);
    if (why) this.setWhy(true);
    if (asked >= right && right >= 0) Object.assign(this.predict.veil, { asked, right });
    if (predict) this.setPredict(true);
  }

  private setLanes(isOn: boolean): void {
    const { lens } = this;
    lens.tagOf = isOn
      ? (node) => {
          const slot = lens.slot[node] ?? NO_SLOT;
          return slot === NO_SLOT ? "" : say("lanes.tag", { n: slot + 1 });
        }
      : null;
    this.lanes.setOn(isOn);
    lens.show(lens.moment);
  }

  private setWhy(isOn: boolean): void {
    const { lens } = this;
    this.isWhy = isOn;
    lens.whyOf = isOn ? (node) => whyWaits(lens, node) : null;
    lens.show(lens.moment);
    this.events.changed();
  }

  private setPredict(isOn: boolean): void {
    const hadFocus = this.predict.bar.contains(document.activeElement);
    this.predict.setOn(isOn);
    this.events.graph()?.setLayer?.(isOn ? this.predict : null);
    this.events.changed();
    if (hadFocus) this.events.left();
  }

  /** The graph pane has come, or another one. */
  paneChanged(): void {
    if (this.predict.isOn && !this.predict.root.isConnected) this.events.graph()?.setLayer?.(this.predict);
  }

  // --- slow motion ---------------------------------------------------------------------------------------------

  private get pace(): number {
    return Number.isNaN(this.wished) ? (this.lens.run?.pace ?? 0) : this.wished;
  }

  private slowBlocked(): string {
    const { state } = this.source.connection;
    if (state === "detached" || state === "connecting") return say("teaching.slow_gone");
    return this.lens.run?.pace == null ? say("teaching.slow_elsewhere") : "";
  }

  private choice(pace: number, signal: AbortSignal): HTMLElement {
    const time = String(pace / 1000);
    const made = element(
      "button.td-button.td-segment",
      { type: "button", role: "radio", "aria-checked": "false", "data-pace": pace },
      pace === 0 ? say("teaching.slow_off") : say("teaching.slow_time", { time }),
    );
    on(made, "click", signal, () => this.setPace(pace));
    return made;
  }

  private setPace(pace: number): void {
    const hadFocus = this.slow.contains(document.activeElement);
    this.wished = pace / 1000;
    setText(this.slowNote, "");
    this.showPace();
    if (hadFocus && this.slow.hidden) this.events.left();
    this.source.ask(`pace_${pace}` as Question, 0).then(
      () => this.paceTold(""),
      (error: unknown) => this.paceTold(error instanceof Error ? error.message : String(error)),
    );
  }

  private paceTold(trouble: string): void {
    if (trouble) {
      this.wished = Number.NaN;
      setText(this.slowNote, say("teaching.slow_refused", { reason: trouble }));
    }
    this.showPace(trouble !== "");
  }

  private showPace(isTrouble = false): void {
    const own = this.lens.run?.pace ?? 0;
    if (own === this.wished) this.wished = Number.NaN;
    const { pace } = this;
    const isOver = this.lens.run?.is_ended ?? false;
    const isShown = isTrouble || (pace > 0 && this.slowBlocked() === "");
    if (this.slow.hidden === isShown) {
      set(this.slow, { hidden: !isShown });
      this.events.changed();
    }
    if (!isShown) return;
    set(this.slow, { "data-over": isOver });
    for (const [at, each] of this.choices.entries())
      set(each, { "aria-checked": String((PACES[at] ?? 0) / 1000 === pace) });
    if (isTrouble) return;
    const isOwn = PACES.every((each) => each / 1000 !== pace);
    setText(this.slowNote, isOwn ? say("teaching.slow_own", { time: String(pace) }) : "");
  }
}
