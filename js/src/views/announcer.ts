// What a screen reader is told without being asked: one sentence at a time, and never two within five seconds.
import { element, setText } from "./dom.ts";

const APART_MS = 5000;

export class Announcer {
  readonly root = element("div.td-announcer", { "aria-live": "polite", role: "status" });
  private saidAt = 0;
  private next = "";
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(signal: AbortSignal) {
    signal.addEventListener("abort", () => clearTimeout(this.timer), { once: true });
  }

  /** Say this, or, soon after another sentence, the last of what came meanwhile. */
  tell(sentence: string): void {
    this.next = sentence;
    const wait = this.saidAt + APART_MS - Date.now();
    if (wait <= 0) this.speak();
    else this.timer ??= setTimeout(() => this.speak(), wait);
  }

  private speak(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    if (this.next === "" || this.next === this.root.textContent) return;
    this.saidAt = Date.now();
    setText(this.root, this.next);
  }
}
