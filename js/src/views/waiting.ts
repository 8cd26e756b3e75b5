// What stands in the place of something that is still to come: in words, and with a way out if it does not.
import type { Part } from "../model/part.ts";
import { say } from "../model/words.ts";
import { button, element, fill, setText } from "./dom.ts";
import type { Later } from "./more.ts";
import type { Pane, PaneName } from "./pane.ts";

export class Waiting {
  readonly root = element("div.td-waiting", { role: "status" });

  constructor(part: Part<unknown>, signal: AbortSignal) {
    const text = element("p");
    const again = button(say("waiting.again"), () => part.want(), signal, { className: "is-small" });
    fill(this.root, text, again.root);
    const show = (): void => {
      setText(text, part.trouble || say("waiting.loading"));
      again.root.hidden = part.trouble === "";
    };
    part.subscribe(show, signal);
    show();
  }
}

/** In the place of a pane. */
export class WaitingPane implements Pane {
  readonly name: PaneName;
  readonly root: HTMLElement;
  private readonly part: Later;

  constructor(name: PaneName, part: Later, signal: AbortSignal) {
    this.name = name;
    this.part = part;
    this.root = element("div.td-pane", { tabindex: 0 }, new Waiting(part, signal).root);
  }

  show(): void {
    this.part.want();
  }

  hide(): void {}

  changed(): void {}

  key(): boolean {
    return false;
  }

  isBody(target: EventTarget | null): boolean {
    return target === this.root;
  }

  focus(): void {
    this.root.focus({ preventScroll: true });
  }
}
