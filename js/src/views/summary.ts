// The bar on top: status of the run, how far, what failed, how long still. Alone it is the collapsed view.
import { finished, runStatus, segments } from "../model/derive.ts";
import { timeLeft, timeLeftWords } from "../model/left.ts";
import type { Store } from "../model/store.ts";
import { clock, duration, plain, say, timeOfDay, utc } from "../model/words.ts";
import { STATUS_WORDS, Status } from "../protocol.ts";
import { STATUS_NAMES } from "../render/theme.ts";
import type { Source } from "../sources/source.ts";
import { Announcer } from "./announcer.ts";
import { type Button, button, element, fill, glyph, hide, on, set, setText } from "./dom.ts";

const LEFT_MS = 2000;

export class Summary {
  readonly root: HTMLElement;
  readonly announcer: Announcer;
  private readonly source: Source;
  private readonly store: Store;
  private readonly toggle = element("button.td-toggle", { type: "button" });
  private readonly status = element("span.td-status");
  private readonly name = element("span.td-name");
  private readonly done = element("span.td-done");
  private readonly bar = element("span.td-bar", { role: "img" });
  private readonly failed: Button;
  private readonly elapsed = element("span.td-elapsed");
  private readonly left = element("span.td-left");
  /** Measured when it changes: a width that is asked for after something was written costs a layout. */
  private barWidth = 160;
  private barKey = "";
  private leftAt = 0;
  private leftWords = "";
  private saidWords = "";
  /** First of all: who does not see the graph has its equal one press away. */
  private readonly skip: HTMLElement;

  constructor(source: Source, toggled: () => void, toFailure: () => void, toList: () => void, signal: AbortSignal) {
    this.announcer = new Announcer(signal);
    this.skip = element("button.td-button.td-skip", { type: "button" }, say("list.offer"));
    on(this.skip, "click", signal, (event) => {
      event.stopPropagation();
      toList();
    });
    this.source = source;
    this.store = source.store;
    this.failed = button("", toFailure, signal, { className: "td-failed", title: say("summary.failed_title") });
    hide(this.failed.root, true);
    fill(this.toggle, this.status, this.name, this.done, this.bar);
    this.root = element(
      "div.td-summary",
      { role: "group", "aria-label": say("aria.summary") },
      this.skip,
      this.toggle,
      this.failed.root,
      element("span.td-times", {}, this.elapsed, this.left),
    );
    const sized = new ResizeObserver(() => {
      this.barWidth = this.bar.clientWidth || this.barWidth;
      if (this.store.picture) this.showBar();
    });
    sized.observe(this.bar);
    signal.addEventListener("abort", () => sized.disconnect(), { once: true });
    on(this.root, "click", signal, (event) => {
      if (event.target instanceof Element && !this.failed.root.contains(event.target)) toggled();
    });
  }

  update(isCollapsed: boolean): void {
    const { store } = this;
    const { picture, counts, run, total } = store;
    if (!picture) {
      setText(this.name, say("connection.connecting"));
      return;
    }
    const status = runStatus(counts, run?.started != null, run?.is_ended ?? false);
    if (this.status.dataset.status !== String(status)) {
      this.status.dataset.status = String(status);
      this.status.className = `td-status is-${STATUS_NAMES[status] ?? ""}`;
      fill(this.status, glyph(status), element("span", {}, STATUS_WORDS[status] ?? ""));
    }
    const done = counts[Status.COMPLETED] ?? 0;
    const failed = counts[Status.FAILED] ?? 0;
    const title = plain(picture.title) || say("summary.untitled");
    setText(this.name, title);
    set(this.name, { title });
    setText(this.done, say("summary.done", { done, total }));
    set(this.done, { title: say("summary.done_title", { done, total }) });
    this.showBar();
    hide(this.failed.root, failed === 0);
    if (failed > 0 && this.failed.root.dataset.n !== String(failed)) {
      this.failed.root.dataset.n = String(failed);
      fill(this.failed.root, glyph(Status.FAILED), element("span", {}, say("summary.failed", { n: failed })));
    }
    set(this.toggle, {
      "aria-expanded": String(!isCollapsed),
      title: say(isCollapsed ? "summary.expand" : "summary.collapse"),
    });
    this.showTimes();
    this.announce(done, failed);
  }

  /** One background, painted over: parts of their own would be arranged anew with every message. */
  private showBar(): void {
    const { counts, total } = this.store;
    const width = this.barWidth;
    const stops = segments(counts, width, 2, 0, 4).map(({ status, from, width: wide }, at) => {
      const [begin, end] = [(100 * from) / width, (100 * (from + wide)) / width].map((each) => `${each.toFixed(2)}%`);
      const own = `var(--tiledag-${STATUS_NAMES[status] ?? ""})`;
      const colour = status === Status.NOT_STARTED ? `color-mix(in srgb, ${own} 28%, transparent)` : own;
      if (at === 0) return `${colour} ${begin} ${end}`;
      return `var(--td-surface) ${begin} calc(${begin} + 1px), ${colour} calc(${begin} + 1px) ${end}`;
    });
    const values = { done: counts[Status.COMPLETED] ?? 0, total, failed: counts[Status.FAILED] ?? 0 };
    set(this.bar, { "aria-label": say("aria.bar", values) });
    const key = stops.join();
    if (this.barKey === key) return;
    this.barKey = key;
    this.bar.style.backgroundImage = key && `linear-gradient(to right, ${key})`;
  }

  showTimes(): void {
    const { run, counts, clockOffset } = this.store;
    const { connection } = this.source;
    if (run?.started == null) {
      setText(this.elapsed, "");
      setText(this.left, "");
      return;
    }
    const isOver = run.is_ended && run.ended !== null;
    const isDetached = connection.state === "detached" && Number.isNaN(this.store.shownAt); // a replay has its own time
    const frozen = isDetached ? connection.since / 1000 + clockOffset : 0;
    const now = isOver ? (run.ended ?? 0) : frozen || this.store.now();
    const spent = Math.max(0, now - run.started);
    setText(this.elapsed, isOver && spent < 59.5 ? duration(spent) : clock(spent));
    const values = { time: timeOfDay(run.started, this.store.now()), utc: utc(run.started) };
    set(this.elapsed, { title: say("summary.started_at", values) });
    const isActive = !run.is_ended && !isDetached && finished(counts) < this.store.total;
    if (!isActive) {
      this.leftAt = 0;
      this.leftWords = "";
    } else if (Date.now() - this.leftAt >= LEFT_MS) {
      this.leftAt = Date.now();
      this.leftWords = spent < 2 ? "" : timeLeftWords(timeLeft(this.store));
    }
    setText(this.left, this.leftWords);
  }

  private announce(done: number, failed: number): void {
    const values = { done, total: this.store.total, failed };
    const text = say(failed > 0 ? "aria.progress_failed" : "aria.progress", values);
    if (text === this.saidWords) return;
    this.saidWords = text;
    this.announcer.tell(text);
  }
}
