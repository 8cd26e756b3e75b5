// The scrubber: plays the run again, in all panes of this view at once. Live views of the same graph see nothing of it.
import type { Focus } from "../model/focus.ts";
import { Lens } from "../model/lens.ts";
import { Replay, readTape, tapeOfAttempts } from "../model/replay.ts";
import { count, duration, say } from "../model/words.ts";
import type { Source } from "../sources/source.ts";
import { type Button, button, element, fill, on, set, setText } from "./dom.ts";

const SPEEDS = [0.25, 0.5, 1, 2, 4, 8, 16];
/** Longer idle is skipped while it plays, but for this much before what comes next. */
const IDLE_S = 3;
const STEPS = 10_000;
const WAIT_MS = 20_000;

export class ReplayBar {
  readonly root = element("div.td-replay", { role: "toolbar", "aria-label": say("replay.title"), hidden: true });
  private readonly source: Source;
  private readonly focus: Focus;
  private readonly reveal: (node: number) => void;
  private readonly changed: () => void;
  /** Whether it goes on: freely, from change to change, or not until something was said. */
  private readonly goes: () => "on" | "by step" | "later";
  /** The keyboard was here, and has to be somewhere. */
  private readonly left: () => void;
  private readonly signal: AbortSignal;
  private replay: Replay | null = null;
  /** What was pressed before the tape came. */
  private early: (() => void)[] = [];
  private round = 0;
  private speed = 1;
  private frame = 0;
  private last = 0;
  private readonly play: Button;
  private readonly pace: Button;
  private readonly failure: Button;
  private readonly slider = element("input.td-scrubber", {
    type: "range",
    min: 0,
    max: STEPS,
    step: 1,
    value: 0,
    "aria-label": say("replay.position"),
  });
  private readonly time = element("span.td-replaytime");
  private readonly place = element("span.td-replaycount");

  constructor(
    source: Source,
    focus: Focus,
    does: { reveal(node: number): void; changed(): void; left(): void; goes(): "on" | "by step" | "later" },
    signal: AbortSignal,
  ) {
    this.source = source;
    this.focus = focus;
    this.reveal = does.reveal;
    this.changed = does.changed;
    this.goes = does.goes;
    this.left = does.left;
    this.signal = signal;
    const small = { className: "is-small" };
    const turn = this.onTape(() => this.setPlaying(this.frame === 0));
    this.play = button("", turn, signal, { icon: "play", isIconOnly: true });
    const step = (by: number): (() => void) => this.onTape(() => this.step(by));
    const back = button(say("replay.back"), step(-1), signal, { icon: "back", isIconOnly: true });
    const next = button(say("replay.on"), step(1), signal, { icon: "next", isIconOnly: true });
    this.pace = button("", () => this.changePace(), signal, small);
    this.failure = button(
      say("replay.failure"),
      this.onTape(() => this.toFailure()),
      signal,
      small,
    );
    const leave = button(say("replay.leave"), () => this.close(), signal, { icon: "close", isIconOnly: true });
    fill(
      this.root,
      back.root,
      this.play.root,
      next.root,
      this.slider,
      this.time,
      this.place,
      this.pace.root,
      this.failure.root,
      leave.root,
    );
    on(this.slider, "input", signal, () => {
      const share = Number(this.slider.value) / STEPS; // read now: the tape, when it comes, sets the slider to its start
      this.onTape(() => {
        this.setPlaying(false);
        this.seek(share * (this.replay?.end ?? 0));
      })();
    });
    signal.addEventListener("abort", () => cancelAnimationFrame(this.frame), { once: true });
    this.lens?.subscribe(() => this.structureChanged(), signal);
    this.showPace();
    this.showPlaying();
  }

  get isOpen(): boolean {
    return !this.root.hidden;
  }

  private get lens(): Lens | null {
    return this.source.store instanceof Lens ? this.source.store : null;
  }

  /** Asks for the tape, then shows the beginning of the run. */
  async open(): Promise<void> {
    const { lens } = this;
    if (!lens || this.isOpen) return;
    const round = ++this.round;
    this.root.hidden = false;
    setText(this.time, say("replay.asking"));
    setText(this.place, "");
    this.changed();
    this.play.root.focus();
    const tape = await this.tape(lens).catch(() => null);
    if (this.signal.aborted || round !== this.round || !this.isOpen) return;
    const trouble = tape === null ? say("replay.attempts") : "";
    const own = tape ?? tapeOfAttempts(lens);
    this.replay = new Replay(lens, own);
    const title = trouble ? say("replay.attempts_title") : own.isThinned ? say("replay.thinned_title") : "";
    this.place.dataset.note = trouble || (own.isThinned ? say("replay.thinned") : "");
    set(this.place, { title: title || null });
    this.failure.setBlocked(this.replay.firstFailure < 0 ? say("replay.no_failure") : "");
    this.seek(0);
    for (const run of this.early.splice(0)) run();
  }

  /** Now, or when the tape is there. */
  private onTape(run: () => void): () => void {
    return () => {
      if (this.replay) run();
      else this.early.push(run);
    };
  }

  close(): void {
    if (!this.isOpen) return;
    const hadFocus = this.root.contains(document.activeElement);
    this.setPlaying(false);
    this.root.hidden = true;
    if (hadFocus) this.left();
    this.replay = null;
    this.early = [];
    this.lens?.show(null);
    this.focus.set({ time: Number.NaN });
    this.changed();
  }

  private async tape(lens: Lens): Promise<ReturnType<typeof readTape>> {
    const body = await this.source.ask("tape", 0, this.signal);
    const number = Number(body.number);
    const until = Date.now() + WAIT_MS;
    while (!lens.asides.has(number)) {
      if (Date.now() > until || this.signal.aborted) throw new Error(say("connection.no_answer"));
      await new Promise((done) => setTimeout(done, 20));
    }
    const bytes = lens.asides.get(number) ?? new Uint8Array(0);
    // A saved page has one tape for good; a kernel makes a new one each time.
    if (this.source.connection.why !== "saved") lens.asides.delete(number);
    return readTape(bytes);
  }

  /** The graph grew: the moment names marks that are others now. */
  private structureChanged(): void {
    if (this.replay && this.lens?.moment === null) this.close();
  }

  private seek(time: number): void {
    this.replay?.seek(time);
    this.show();
  }

  private step(direction: number): void {
    this.setPlaying(false);
    this.replay?.stepBy(direction);
    this.show();
  }

  private toFailure(): void {
    this.setPlaying(false);
    const node = this.replay?.toFailure() ?? -1;
    this.show();
    if (node >= 0) this.reveal(node);
  }

  private show(): void {
    const { replay } = this;
    if (!replay) return;
    this.lens?.show(replay.moment());
    this.focus.set({ time: replay.time });
    const time = replay.time < 0.001 ? say("replay.zero") : duration(replay.time);
    const words = say("replay.at", { time, end: duration(replay.end) });
    this.slider.value = String(replay.end > 0 ? Math.round((STEPS * replay.time) / replay.end) : STEPS);
    set(this.slider, { "aria-valuetext": words });
    setText(this.time, words);
    const note = this.place.dataset.note ?? "";
    const change = say("replay.change", { n: count(replay.cursor), total: replay.length });
    setText(this.place, note ? `${change} · ${note}` : change);
  }

  private setPlaying(isPlaying: boolean): void {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    const { replay } = this;
    if (isPlaying && replay) {
      if (replay.isAtEnd) this.seek(0);
      this.last = performance.now();
      this.frame = requestAnimationFrame((now) => this.advance(now));
    }
    this.showPlaying();
  }

  private advance(now: number): void {
    const { replay } = this;
    if (!replay || this.signal.aborted) return;
    const passed = (Math.min(250, Math.max(0, now - this.last)) / 1000) * this.speed;
    this.last = now;
    const next = replay.tape.at[replay.cursor] ?? replay.end;
    const goes = this.goes();
    if (goes === "later") {
      this.frame = requestAnimationFrame((at) => this.advance(at));
      return;
    }
    const isIdle = next - replay.time > 2 * IDLE_S * this.speed && (replay.moment().counts[2] ?? 0) === 0;
    const to = isIdle ? next - IDLE_S * this.speed : replay.time + passed;
    this.seek(goes === "by step" ? Math.min(to, next) : to);
    if (replay.isAtEnd) this.setPlaying(false);
    else this.frame = requestAnimationFrame((at) => this.advance(at));
  }

  private changePace(): void {
    this.speed = SPEEDS[(SPEEDS.indexOf(this.speed) + 1) % SPEEDS.length] ?? 1;
    this.showPace();
  }

  private showPace(): void {
    this.pace.setLabel(`${this.speed}×`);
    set(this.pace.root, { "aria-label": `${this.speed}×, ${say("replay.speed", { n: String(this.speed) })}` });
  }

  private showPlaying(): void {
    const isPlaying = this.frame !== 0;
    this.play.setLabel(say(isPlaying ? "replay.pause" : "replay.play"));
    set(this.play.root, { "data-playing": String(isPlaying) });
  }
}
