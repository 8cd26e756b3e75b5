// The field's place: until what reads it has come, what is typed stands there and waits, and so does Enter.
import type { Focus } from "../model/focus.ts";
import type { Changes, Store } from "../model/store.ts";
import { say } from "../model/words.ts";
import type { Details } from "./details.ts";
import { element, fill, on } from "./dom.ts";
import type { Held } from "./held.ts";
import type { Later } from "./more.ts";
import type { SearchBox, SearchEvents } from "./search.ts";
import { Waiting } from "./waiting.ts";

/** What the field is made of; `SearchBox` goes on with the same elements. */
export class SearchSlot {
  readonly field = element("input.td-input.td-search", {
    type: "search",
    spellcheck: "false",
    placeholder: say("tools.search"),
    "aria-label": say("tools.search"),
  });
  readonly root = element("span.td-searchbox", {}, this.field);
  readonly chips = element("div.td-chips", { hidden: true });
  private readonly later: Later;
  private readonly held: Held;
  private readonly events: SearchEvents;
  private readonly make: (more: NonNullable<Later["now"]>) => SearchBox;
  private own: SearchBox | null = null;

  constructor(
    later: Later,
    held: Held,
    store: Store,
    focus: Focus,
    details: Details,
    events: SearchEvents,
    signal: AbortSignal,
  ) {
    this.later = later;
    this.held = held;
    this.events = events;
    this.make = (more) => new more.SearchBox(this, store, focus, details, events, signal);
    for (const name of ["input", "focusin"] as const)
      on(this.field, name, signal, () => {
        later.want();
        this.showWaiting(signal);
      });
    on(this.field, "keydown", signal, (event) => this.key(event));
  }

  get value(): string {
    return this.field.value;
  }

  /** What reads the field has come. */
  arrived(): void {
    const { now } = this.later;
    if (!now || this.own) return;
    fill(this.chips);
    this.own = this.make(now);
  }

  set(text: string): void {
    if (this.own) this.own.set(text);
    else {
      this.field.value = text;
      if (text) this.later.want();
      else this.chips.hidden = true;
    }
  }

  /** True if there was something to clear. */
  clear(): boolean {
    const isAny = this.field.value !== "";
    if (isAny) this.set("");
    return isAny;
  }

  focus(): void {
    this.field.focus();
    this.field.select();
  }

  changed(changes: Readonly<Changes>): void {
    this.own?.changed(changes);
  }

  /** In the line where the answer will stand. */
  private showWaiting(signal: AbortSignal): void {
    if (this.own) return;
    this.chips.hidden = this.field.value === "";
    if (!this.chips.firstChild) this.chips.append(new Waiting(this.later, signal).root);
  }

  private key(event: KeyboardEvent): void {
    if (this.own || (event.key !== "Escape" && event.key !== "Enter")) return;
    event.preventDefault();
    if (event.key === "Enter") {
      const by = event.shiftKey ? -1 : 1;
      this.held.do(() => this.own?.step(by));
      return;
    }
    event.stopPropagation();
    this.held.drop();
    this.set("");
    this.events.left();
  }
}
