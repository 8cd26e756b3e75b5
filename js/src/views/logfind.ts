// The find of a log: its own, over all lines that the kernel holds; and the way from error to error.
import { count, say } from "../model/words.ts";
import type { LogAsk, LogFound, LogScope } from "../protocol.ts";
import { type Button, button, element, fill, on, set, setText } from "./dom.ts";

const FIND_MS = 150;
const ASK_AGAIN_MS = 1500;
/** Places of a gutter. */
const MARKS = 240;

/** The list that is searched. */
export interface Searched {
  readonly scope: LogScope;
  /** The first row in view. */
  readonly row: number;
  /** Where errors are looked for first; negative for the very first line. */
  readonly from: number;
  ask(ask: LogAsk): Promise<unknown>;
  reveal(row: number): void;
  /** What is marked in the lines is another text now. */
  redraw(): void;
  /** The match that the find is at is another one. */
  mark(): void;
  /** For screen readers. */
  tell(text: string): void;
  focus(): void;
}

export class LogFind {
  readonly bar: HTMLElement;
  readonly gutter = element("div.td-gutter", { "aria-hidden": "true" });
  isCase = false;
  isRegex = false;
  private readonly searched: Searched;
  private readonly field = element("input.td-input", { type: "text", spellcheck: "false" });
  private readonly counter = element("span.td-logcount", { role: "status" });
  private found: LogFound | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private round = 0;
  /** Presses that come before the answer to the one before them. */
  private steps: Promise<void> = Promise.resolve();
  private foundAt = 0;

  constructor(searched: Searched, signal: AbortSignal) {
    this.searched = searched;
    const step = (key: "previous" | "next", by: number): Button =>
      button(say(`logs.${key}`), () => this.step(by), signal, {
        icon: "down",
        isIconOnly: true,
        className: `is-${key}`,
      });
    const switched = (text: string, title: string, turn: () => boolean): Button => {
      const made = button(
        text,
        () => {
          set(made.root, { "aria-pressed": String(turn()) });
          this.look(0);
        },
        signal,
        { className: "is-switch", title },
      );
      set(made.root, { "aria-pressed": "false", "aria-label": title });
      return made;
    };
    const caseBox = switched("Aa", say("logs.case"), () => {
      this.isCase = !this.isCase;
      return this.isCase;
    });
    const regexBox = switched(".*", say("logs.regex"), () => {
      this.isRegex = !this.isRegex;
      return this.isRegex;
    });
    set(this.field, { placeholder: say("logs.find"), "aria-label": say("logs.find") });
    const close = button(say("inspector.close"), () => this.close(), signal, { icon: "close", isIconOnly: true });
    this.bar = element(
      "div.td-logfind",
      { role: "search", hidden: true },
      this.field,
      caseBox.root,
      regexBox.root,
      this.counter,
      step("previous", -1).root,
      step("next", 1).root,
      close.root,
    );
    on(this.field, "input", signal, () => this.look(FIND_MS));
    on(this.field, "keydown", signal, (event) => {
      if (event.key !== "Enter" && event.key !== "Escape") return;
      event.preventDefault();
      event.stopPropagation();
      if (event.key === "Escape") this.close();
      else this.step(event.shiftKey ? -1 : 1);
    });
  }

  get isOpen(): boolean {
    return !this.bar.hidden;
  }

  /** The row that it is at; -1 for none. */
  get row(): number {
    return this.found?.row ?? -1;
  }

  /** What is marked in the lines; expressions are the kernel's, which only tells the lines. */
  get text(): string {
    return this.isOpen && !this.isRegex ? this.field.value : "";
  }

  open(): void {
    this.bar.hidden = false;
    this.field.focus();
    this.field.select();
    this.look(0);
  }

  /** True if there was something to close. */
  close(): boolean {
    if (!this.isOpen) return false;
    this.bar.hidden = true;
    this.found = null;
    fill(this.gutter);
    this.searched.redraw();
    this.searched.focus();
    return true;
  }

  /** Rows are other lines now. */
  reset(): void {
    this.found = null;
    this.look(0);
  }

  hide(): void {
    clearTimeout(this.timer);
  }

  /** There are new lines. */
  came(): void {
    if (this.isOpen && this.found && Date.now() - this.foundAt > ASK_AGAIN_MS) this.look(0, true);
  }

  /** Look again: what is wanted has changed, or (`isQuiet`) there are new lines. */
  look(wait: number, isQuiet = false): void {
    if (!this.isOpen) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (!isQuiet) this.searched.redraw();
      if (this.field.value) void this.find(0, isQuiet ? (this.found?.row ?? 0) : this.searched.row, isQuiet);
      else this.show(null, "");
    }, wait);
  }

  /** To the next line that looks like an error, or the one before; presses are done one after the other. */
  toError(by: number): void {
    this.steps = this.steps.then(() => this.nextError(by));
  }

  private step(by: number): void {
    this.steps = this.steps.then(() =>
      this.find(by, this.found && this.found.row >= 0 ? this.found.row : this.searched.row),
    );
  }

  private async find(step: number, start: number, isQuiet = false): Promise<void> {
    const text = this.field.value;
    if (!text) return;
    const round = ++this.round;
    this.foundAt = Date.now();
    const ask = { scope: this.searched.scope, text, is_case: this.isCase, is_regex: this.isRegex, start, step };
    try {
      const found = (await this.searched.ask(ask)) as unknown as LogFound;
      if (round !== this.round || !this.isOpen) return;
      this.show(found, found.count > 0 ? `${count(found.at)}/${count(found.count)}` : say("logs.none"));
      if (found.row >= 0 && !isQuiet) this.searched.reveal(found.row);
      else this.searched.mark();
    } catch (error) {
      if (round !== this.round) return;
      this.show(null, error instanceof Error ? error.message.replace(/^\w+: /, "") : "", true);
    }
  }

  private show(found: LogFound | null, words: string, isBad = false): void {
    this.found = found;
    setText(this.counter, words);
    this.counter.classList.toggle("is-bad", isBad);
    const marks = (found?.marks ?? []).map((mark) => {
      const made = element("i");
      made.style.top = `${(mark / MARKS) * 100}%`;
      return made;
    });
    fill(this.gutter, ...marks);
  }

  private async nextError(by: number): Promise<void> {
    const { scope, from } = this.searched;
    const start = this.found && !this.isOpen ? this.found.row : from;
    try {
      const ask = { scope, is_error: true, start: Math.max(0, start), step: start < 0 ? 0 : by };
      const found = (await this.searched.ask(ask)) as unknown as LogFound;
      this.searched.tell(found.row < 0 ? say("logs.no_error") : `${count(found.at)}/${count(found.count)}`);
      if (found.row < 0) return;
      this.found = found;
      this.searched.reveal(found.row);
    } catch {
      // The connection's own words say why.
    }
  }
}
