// The map of the keyboard, `?`.
import { say, type WordKey } from "../model/words.ts";
import { button, element, fill, set } from "./dom.ts";

/** Keys as they are written on them, and what they do; a space stands between two that do something each. */
const KEYS: readonly (readonly [string, WordKey])[] = [
  ["← → ↑ ↓", "keys.move"],
  ["Enter", "keys.open"],
  ["Space", "keys.add"],
  ["g t l o", "keys.panes"],
  ["+ − 0", "keys.zoom"],
  ["[ ] or , .", "keys.attempt"],
  ["Home End", "keys.ends"],
  ["Ctrl/⌘ C", "keys.copy"],
  ["e w", "keys.logs"],
  ["/", "keys.search"],
  ["f  Shift-F", "keys.failure"],
  ["r  Shift-R", "keys.retry"],
  ["c", "keys.cancel"],
  ["p", "keys.path"],
  ["b", "keys.blocker"],
  ["n", "keys.predict"],
  ["?", "keys.map"],
  ["Esc", "keys.close"],
  ["Double-click", "keys.isolate"],
];

export class KeyMap {
  readonly root = element("div.td-keys", { role: "dialog", hidden: true, "aria-label": say("keys.title") });
  private readonly closed: () => void;
  private readonly signal: AbortSignal;

  constructor(closed: () => void, signal: AbortSignal) {
    this.closed = closed;
    this.signal = signal;
  }

  get isOpen(): boolean {
    return !this.root.hidden;
  }

  open(isOpen: boolean): void {
    set(this.root, { hidden: !isOpen });
    if (!isOpen) {
      this.closed();
      return;
    }
    const close = button(say("inspector.close"), () => this.open(false), this.signal, {
      icon: "close",
      isIconOnly: true,
    });
    fill(
      this.root,
      element("div.td-titlerow", {}, element("h3.td-title", {}, say("keys.title")), close.root),
      element(
        "dl.td-facts",
        {},
        ...KEYS.flatMap(([keys, what]) => [
          element("dt", {}, ...keys.split(/\s+/).map((each) => element("kbd", {}, each))),
          element("dd", {}, say(what)),
        ]),
      ),
    );
    close.root.focus();
  }
}
