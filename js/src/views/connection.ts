// How the view stands to its kernel, in words: a line beside the actions, and a stripe where nobody is there.
import type { Store } from "../model/store.ts";
import { duration, say, timeOfDay } from "../model/words.ts";
import { PROTOCOL } from "../protocol.ts";
import type { Source } from "../sources/source.ts";
import { element, fill, on, set, setText } from "./dom.ts";

export class ConnectionWords {
  readonly line = element("span.td-connection");
  readonly stripe = element("div.td-stripe", { hidden: true, role: "status" });
  private readonly source: Source;
  private readonly store: Store;
  private readonly signal: AbortSignal;

  constructor(source: Source, signal: AbortSignal) {
    this.source = source;
    this.store = source.store.present; // how the kernel is now, also while a moment of the past is shown
    this.signal = signal;
  }

  /** The connection is another one, or a replay began or ended. */
  changed(): void {
    const isDetached = this.source.connection.state === "detached";
    const text = isDetached ? this.detachedWords() : this.isNewer() ? say("connection.newer") : "";
    setText(this.stripe, text);
    set(this.stripe, { hidden: text === "" });
  }

  /** Times in it go on. */
  show(): void {
    this.changed();
    const { connection, pending } = this.source;
    const { run } = this.store;
    const busy = pending.filter((each) => each.state === "busy").length;
    const isSilent = run?.stale_since != null && !run.is_ended;
    const text = this.words(busy, isSilent);
    const key = `${connection.state}|${text}`;
    if (this.line.dataset.key === key) return;
    this.line.dataset.key = key;
    const dot = element("span.td-dot", { "data-state": busy > 0 ? "busy" : isSilent ? "quiet" : connection.state });
    const update = element("button.td-link", { type: "button" }, say("connection.update"));
    on(update, "click", this.signal, () => this.source.refresh());
    fill(this.line, text ? dot : null, element("span", {}, text), connection.state === "still" ? update : null);
    set(this.line, { title: busy > 0 ? say("actions.busy_title") : null });
  }

  private words(busy: number, isSilent: boolean): string {
    const { connection } = this.source;
    const { run } = this.store;
    if (connection.state === "detached") return "";
    if (busy > 0) return say("connection.busy", { n: busy });
    if (connection.state === "connecting") return say("connection.connecting");
    if (connection.state === "quiet")
      return say("connection.quiet", { n: Math.floor((Date.now() - connection.heard) / 1000) });
    if (isSilent) {
      const silence = Math.max(0, this.store.now() - (run?.stale_since ?? 0));
      return say("connection.stale", { time: duration(Math.round(silence)) });
    }
    if (connection.state === "still") return say("connection.still");
    if (run?.is_ended && run.ended !== null)
      return say("connection.ended", { time: timeOfDay(run.ended, this.store.now()) });
    if (run?.started == null) return say("connection.live");
    const age = (Date.now() - connection.heard) / 1000;
    return age < 1.5 ? say("connection.live_now") : say("connection.live_updated", { time: duration(Math.round(age)) });
  }

  private isNewer(): boolean {
    return (this.store.picture?.protocol ?? PROTOCOL) > PROTOCOL;
  }

  private detachedWords(): string {
    const { connection } = this.source;
    if (connection.why !== "saved" && (!this.store.picture || connection.why === "none")) return say("connection.none");
    const shown = Number.isNaN(this.source.store.shownAt)
      ? say("connection.state_at", { time: timeOfDay((connection.heard || connection.since) / 1000) })
      : say("connection.past");
    return `${say(`connection.${connection.why}`)} ${shown}`;
  }
}
