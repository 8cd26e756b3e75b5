// The menu behind "More".
import { say } from "../model/words.ts";
import { type Button, button, element, fill, icon, on, set } from "./dom.ts";
import type { MenuItem } from "./pane.ts";

export class Menu {
  readonly root = element("div.td-menu", { role: "menu", hidden: true });
  readonly button: Button;
  private readonly items: () => readonly MenuItem[];
  private readonly signal: AbortSignal;

  constructor(items: () => readonly MenuItem[], page: Document, signal: AbortSignal) {
    this.items = items;
    this.signal = signal;
    this.button = button(say("tools.more"), () => this.open(this.root.hidden), signal, {
      icon: "more",
      isIconOnly: true,
    });
    set(this.button.root, { "aria-haspopup": "menu", "aria-expanded": "false" });
    on(page, "pointerdown", signal, (event) => {
      const { target } = event;
      if (target instanceof Node && !this.root.contains(target) && !this.button.root.contains(target)) this.open(false);
    });
  }

  open(isOpen: boolean): void {
    if (this.root.hidden === !isOpen) return;
    this.root.hidden = !isOpen;
    set(this.button.root, { "aria-expanded": String(isOpen) });
    if (!isOpen) {
      if (this.root.contains(document.activeElement)) this.button.root.focus();
      return;
    }
    fill(
      this.root,
      ...this.items().flatMap((item) => [
        item.isNew ? element("div.td-rule", { role: "separator" }) : null,
        item.head ? element("div.td-menuhead", { role: "presentation" }, item.head) : null,
        this.entry(item),
      ]),
    );
    this.root.querySelector<HTMLElement>("button")?.focus();
  }

  key(event: KeyboardEvent): boolean {
    if (this.root.hidden) return false;
    const items = [...this.root.querySelectorAll<HTMLElement>("button")];
    const at = items.indexOf(document.activeElement as HTMLElement);
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step !== 0) items[(at + step + items.length) % items.length]?.focus();
    else if (event.key === "Home" || event.key === "End") items.at(event.key === "Home" ? 0 : -1)?.focus();
    else if (event.key === "Escape" || event.key === "Tab") this.open(false);
    else return false;
    event.preventDefault();
    return true;
  }

  private entry(item: MenuItem): HTMLElement {
    const { isOn, blocked } = item;
    const role = isOn === null ? "menuitem" : "menuitemcheckbox";
    const made = element(
      "button.td-item",
      {
        type: "button",
        role,
        "aria-checked": isOn === null ? null : String(isOn),
        "aria-disabled": blocked ? "true" : null,
        title: blocked || item.title,
        tabindex: -1,
      },
      element("span.td-check", {}, isOn ? icon("check") : null),
      item.label,
    );
    on(made, "click", this.signal, () => {
      if (blocked) return;
      this.open(false);
      item.chosen();
    });
    return made;
  }
}
