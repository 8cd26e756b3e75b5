// The field that searches and filters, the chips that mirror what is in it, and what is said of the answer.
import { type Filter, isMoving, match, PRESETS, parse, problemWords, pythonFor, without } from "../model/filter.ts";
import type { Focus } from "../model/focus.ts";
import type { Changes, Store } from "../model/store.ts";
import { plain, say } from "../model/words.ts";
import { Status } from "../protocol.ts";
import type { Details } from "./details.ts";
import { button, copyText, element, fill, icon, on, set, setText } from "./dom.ts";
import { failuresOf } from "./failures.ts";

/** A mask is made anew this often at most while a run goes on. */
const AGAIN_MS = 250;

export interface SearchEvents {
  reveal(node: number): void;
  /** The keyboard leaves the field. */
  left(): void;
  /** For screen readers: how many are meant, when a hand changed that. */
  said(sentence: string): void;
}

export class SearchBox {
  private readonly root: HTMLElement;
  private readonly chips: HTMLElement;
  private readonly store: Store;
  private readonly focused: Focus;
  private readonly details: Details;
  private readonly events: SearchEvents;
  private readonly signal: AbortSignal;
  private readonly field: HTMLInputElement;
  private readonly count = element("span.td-searchcount");
  private filter: Filter = parse("");
  private madeAt = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private at = -1;
  /** Enter was pressed before the names and edges that the answer needs were here. */
  private owed = 0;
  private hasFocus = false;
  private chipsKey = "";
  /** What the answer was made of: how many had failed, and which errors were known. */
  private failed = 0;
  private errors = 0;
  private inner = new AbortController();

  constructor(
    places: { root: HTMLElement; field: HTMLInputElement; chips: HTMLElement },
    store: Store,
    focus: Focus,
    details: Details,
    events: SearchEvents,
    signal: AbortSignal,
  ) {
    this.root = places.root;
    this.field = places.field;
    this.chips = places.chips;
    set(this.chips, { role: "group", "aria-label": say("filter.presets") });
    this.store = store;
    this.focused = focus;
    this.details = details;
    this.events = events;
    this.signal = signal;
    this.root.append(this.count);
    focus.subscribe((changed) => {
      if (changed.has("isHiding")) this.show();
    }, signal);
    on(this.field, "input", signal, () => this.typed());
    on(this.field, "keydown", signal, (event) => this.key(event));
    for (const part of [this.field, this.chips]) {
      on(part, "focusin", signal, () => this.setFocused(true));
      on(part, "focusout", signal, ({ relatedTarget: to }) => {
        if (!(to instanceof Node && (this.root.contains(to) || this.chips.contains(to)))) this.setFocused(false);
      });
    }
    signal.addEventListener("abort", () => {
      clearTimeout(this.timer);
      this.inner.abort();
    });
    details.subscribe(() => {
      if (this.readsErrors() && this.errors !== failuresOf(details).version) this.make();
    }, signal);
    this.hasFocus = this.field === document.activeElement;
    this.typed();
  }

  set(text: string): void {
    this.field.value = text;
    this.typed();
  }

  changed(changes: Readonly<Changes>): void {
    if (this.filter.terms.length === 0 || this.timer !== undefined) return;
    const isMoved = isMoving(this.filter) || (this.readsErrors() && this.failed !== this.store.counts[Status.FAILED]);
    if (!changes.structure && !changes.names && !changes.edges && !(changes.statuses && isMoved)) return;
    const wait = Math.max(0, this.madeAt + AGAIN_MS - Date.now());
    if (wait === 0 || changes.structure || (this.owed !== 0 && !this.isPartial())) this.make();
    else this.timer = setTimeout(() => this.make(), wait);
  }

  /** To the next node that is meant, or the one before: of what stands in the field now. */
  step(by: number): void {
    if (this.timer !== undefined) this.make();
    const { mask, matched } = this.focused.state;
    this.owed = mask && this.isPartial() ? by : 0;
    if (!mask || matched === 0 || this.owed !== 0) return;
    this.at = this.at < 0 && by < 0 ? matched - 1 : (this.at + by + matched) % matched;
    let left = this.at;
    this.events.reveal(mask.findIndex((each) => each === 1 && left-- === 0));
    this.show();
  }

  /** Without names and edges the answer may be another one. */
  private isPartial(): boolean {
    return this.store.names === null || this.store.parents === null;
  }

  /** A quoted text is looked for in errors too. */
  private readsErrors(): boolean {
    return this.filter.terms.some(({ key }) => key === "text");
  }

  private typed(): void {
    this.filter = parse(this.field.value);
    this.at = -1;
    this.owed = 0;
    this.make();
    if (this.count.textContent) this.events.said(say("filter.said", { count: this.count.textContent }));
  }

  private make(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.madeAt = Date.now();
    this.failed = this.store.counts[Status.FAILED] ?? 0;
    if (this.readsErrors()) {
      const failures = failuresOf(this.details);
      failures.want();
      this.errors = failures.version;
    }
    const mask = match(this.filter, this.store, { errorOf: (node) => this.details.messageOf(node) });
    let matched = 0;
    if (mask) for (const each of mask) matched += each;
    this.focused.set({ filter: this.filter.text.trim(), mask, matched });
    this.show();
    if (this.owed !== 0 && !this.isPartial()) this.step(this.owed);
  }

  private setFocused(hasFocus: boolean): void {
    this.hasFocus = hasFocus;
    this.show();
  }

  private show(): void {
    const { filter } = this;
    const { mask, matched } = this.focused.state;
    const isNone = mask !== null && matched === 0 && this.store.total > 0;
    set(this.field, { "aria-invalid": filter.problem || isNone ? "true" : null });
    const n = this.at >= 0 ? say("filter.at", { at: this.at + 1, n: matched }) : null;
    setText(this.count, mask && !isNone ? (n ?? say("filter.count", { n: matched, total: this.store.total })) : "");
    const isOn = this.field.value.trim() !== "";
    const key = `${this.field.value}|${isOn || this.hasFocus}|${isNone && this.store.total}|${this.focused.state.isHiding}`;
    if (this.chipsKey === key) return;
    this.chipsKey = key;
    this.inner.abort();
    this.inner = new AbortController();
    const focused = this.chips.contains(document.activeElement) ? document.activeElement : null;
    if (isOn) this.showTerms(isNone, AbortSignal.any([this.inner.signal, this.signal]));
    else this.showPresets(AbortSignal.any([this.inner.signal, this.signal]));
    set(this.chips, { hidden: !isOn && !this.hasFocus, "data-over": !isOn });
    // The same button again where there is one, else the field.
    const again = focused?.matches(".td-hide") ? this.chips.querySelector<HTMLElement>(".td-hide") : null;
    if (focused) (again ?? this.field).focus();
  }

  private showPresets(signal: AbortSignal): void {
    fill(
      this.chips,
      ...PRESETS.map(
        ([word, text]) =>
          button(say(`filter.${word}`), () => this.set(text), signal, { className: "td-term", title: text }).root,
      ),
    );
  }

  private showTerms(isNone: boolean, signal: AbortSignal): void {
    const { filter } = this;
    const terms = filter.terms.map((term) => {
      const text = plain(filter.text.slice(term.from, term.to));
      const chip = element(
        "button.td-button.td-term",
        {
          type: "button",
          title: say("filter.remove", { term: text }),
          "aria-description": say("filter.remove", { term: text }),
        },
        element("span.td-label", {}, text),
        icon("close"),
      );
      on(chip, "click", signal, () => this.set(without(filter, term)));
      return chip;
    });
    const reference = this.store.picture?.reference || "dag";
    const copy = button(
      say("filter.copy"),
      () => void copyText(pythonFor(filter.text, reference), copy.root, signal),
      signal,
      { icon: "copy", className: "td-term", title: pythonFor(filter.text, reference) },
    );
    const { isHiding } = this.focused.state;
    const hide = button(say("filter.hide"), () => this.focused.set({ isHiding: !isHiding }), signal, {
      className: "td-term td-hide",
      title: say("filter.hide_title"),
    });
    set(hide.root, { "aria-pressed": String(isHiding) });
    const clear = button(say("filter.clear"), () => this.set(""), signal, { className: "td-term" });
    const { problem } = filter;
    const words = problem
      ? problemWords(problem)
      : isNone
        ? say("filter.none", { text: plain(filter.text.trim()), n: this.store.total })
        : "";
    fill(
      this.chips,
      ...(problem ? [] : terms),
      words ? element("span.td-problem", { role: "alert", "data-problem": problem?.code }, words) : null,
      problem ? null : hide.root,
      problem ? null : copy.root,
      clear.root,
    );
  }

  private key(event: KeyboardEvent): void {
    if (event.key === "Escape") {
      event.stopPropagation();
      this.set("");
      this.events.left();
      return;
    }
    if (event.key !== "Enter" || !this.focused.state.mask) return;
    event.preventDefault();
    this.step(event.shiftKey ? -1 : 1);
  }
}
