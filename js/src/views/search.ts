// The field that finds and filters, and the chips that mirror what is in it.
import { byName } from "../model/filter.ts";
import type { Focus } from "../model/focus.ts";
import type { Changes, Store } from "../model/store.ts";
import { plain, say } from "../model/words.ts";
import { element, on, set, setText } from "./dom.ts";

const MOST_FOUND = 10_000;

export interface SearchEvents {
  reveal(node: number): void;
  /** The keyboard leaves the field. */
  left(): void;
}

export class SearchBox {
  readonly root: HTMLElement;
  readonly chips = element("div.td-chips", { hidden: true });
  private readonly store: Store;
  private readonly events: SearchEvents;
  private readonly field = element("input.td-input.td-search", { type: "search", spellcheck: "false" });
  private readonly count = element("span.td-searchcount", { "aria-live": "polite" });
  private nodes: number[] = [];
  private at = -1;

  constructor(store: Store, _focus: Focus, events: SearchEvents, signal: AbortSignal) {
    this.store = store;
    this.events = events;
    set(this.field, { placeholder: say("tools.search"), "aria-label": say("tools.search") });
    this.root = element("span.td-searchbox", {}, this.field, this.count);
    on(this.field, "input", signal, () => this.find());
    on(this.field, "keydown", signal, (event) => this.key(event));
  }

  set(text: string): void {
    this.field.value = text;
    this.find();
  }

  /** True if there was something to clear. */
  clear(): boolean {
    const isAny = this.field.value !== "";
    if (isAny) this.set("");
    return isAny;
  }

  focus(): void {
    this.field.focus();
  }

  changed(_changes: Readonly<Changes>): void {}

  tick(): void {}

  private find(): void {
    const text = this.field.value;
    this.nodes = text.trim() === "" ? [] : byName(this.store, text, MOST_FOUND);
    this.at = -1;
    this.show();
  }

  private show(): void {
    const text = this.field.value;
    const isNone = text.trim() !== "" && this.nodes.length === 0;
    set(this.field, { "aria-invalid": isNone ? "true" : null });
    let words = "";
    if (isNone) words = say("tools.search_none", { text: plain(text) });
    else if (this.nodes.length > 0) words = say("tools.search_count", { at: this.at + 1, n: this.nodes.length });
    setText(this.count, words);
  }

  private key(event: KeyboardEvent): void {
    if (event.key === "Escape") {
      event.stopPropagation();
      this.clear();
      this.events.left();
    }
    if (event.key !== "Enter" || this.nodes.length === 0) return;
    event.preventDefault();
    const step = event.shiftKey ? -1 : 1;
    this.at =
      this.at < 0 && step < 0 ? this.nodes.length - 1 : (this.at + step + this.nodes.length) % this.nodes.length;
    this.events.reveal(this.nodes[this.at] ?? 0);
    this.show();
  }
}
