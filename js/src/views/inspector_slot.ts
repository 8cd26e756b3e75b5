// The inspector's place: until the inspector itself has come, which node it is about.
import type { Focus } from "../model/focus.ts";
import type { Store } from "../model/store.ts";
import { plain, say } from "../model/words.ts";
import { STATUS_WORDS } from "../protocol.ts";
import { STATUS_NAMES } from "../render/theme.ts";
import type { Source } from "../sources/source.ts";
import type { ActionKind } from "./actions.ts";
import type { Details } from "./details.ts";
import { button, element, fill, glyph, set } from "./dom.ts";
import type { Inspector, InspectorEvents, Tab } from "./inspector.ts";
import type { Later } from "./more.ts";
import { Waiting } from "./waiting.ts";

export class InspectorSlot {
  readonly root = element("aside.td-inspector", { "aria-label": say("aria.inspector"), hidden: true });
  private readonly part: Later;
  private readonly make: (more: NonNullable<Later["now"]>) => Inspector;
  private readonly store: Store;
  private readonly events: InspectorEvents;
  private readonly signal: AbortSignal;
  private own: Inspector | null = null;
  private marks: readonly number[] = [];
  private node = -1;
  private wished: Tab | null = null;
  private inner = new AbortController();

  constructor(
    part: Later,
    source: Source,
    focus: Focus,
    details: Details,
    events: InspectorEvents,
    prefix: string,
    signal: AbortSignal,
  ) {
    this.part = part;
    this.store = source.store;
    this.events = events;
    this.signal = signal;
    this.make = ({ Inspector }) => new Inspector(source, focus, details, events, prefix, signal, this.root);
    signal.addEventListener("abort", () => this.inner.abort(), { once: true });
  }

  get isOpen(): boolean {
    return !this.root.hidden;
  }

  get tab(): Tab | null {
    return this.own?.tab ?? this.wished;
  }

  /** The inspector has come. */
  arrived(): void {
    const { now } = this.part;
    if (!now || this.own) return;
    const hadFocus = this.root.contains(document.activeElement);
    this.inner.abort();
    this.own = this.make(now);
    this.own.show(this.marks, this.node);
    if (this.wished) this.own.chooseTab(this.wished);
    if (hadFocus) this.focus();
  }

  show(marks: readonly number[], node: number): void {
    this.marks = marks;
    this.node = node;
    if (this.own) {
      this.own.show(marks, node);
      return;
    }
    set(this.root, { hidden: marks.length === 0 });
    this.inner.abort();
    if (marks.length === 0) return;
    this.inner = new AbortController();
    const signal = AbortSignal.any([this.inner.signal, this.signal]);
    const { store } = this;
    const close = button(say("inspector.close"), () => this.events.closed(), signal, {
      icon: "close",
      isIconOnly: true,
    });
    const name = plain(node >= 0 ? store.nameOf(node) : (store.picture?.marks.name[marks[0] ?? 0] ?? ""));
    const status = store.status[node];
    const title = element("h3.td-title", { title: name }, name);
    fill(
      this.root,
      element(
        "div.td-head",
        {},
        element("div.td-titlerow", {}, status === undefined ? null : glyph(status), title, close.root),
        status === undefined
          ? null
          : element(
              "div.td-sentence",
              { class: `td-sentence is-${STATUS_NAMES[status] ?? ""}` },
              STATUS_WORDS[status] ?? "",
            ),
      ),
      new Waiting(this.part, signal).root,
    );
    this.part.want();
  }

  update(): void {
    this.own?.update();
  }

  tick(): void {
    this.own?.tick();
  }

  chooseTab(tab: Tab): void {
    this.wished = tab;
    this.own?.chooseTab(tab);
  }

  /** The button of that kind, once it is there; false if there is none. */
  press(kind: ActionKind, isAsking = false): boolean {
    return this.own?.press(kind, isAsking) ?? false;
  }

  focus(): void {
    this.root.querySelector<HTMLElement>("[role=tab],button")?.focus({ preventScroll: true });
  }
}
