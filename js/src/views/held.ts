// What a hand did before the part that does it had come: kept in order, and done when it has.
//
// Keys are done again as events on what has the focus then, so what one of them opens hears the next. That something
// could not be brought is told where it is waited for; keys are not kept for longer: one that acts an hour later is no
// help.
import type { Part } from "../model/part.ts";

/** Done at once even while others wait: they only move the keyboard, or what follows them is typed. */
const AT_ONCE = new Set(["/", "Tab", "Shift", "Control", "Alt", "Meta", "AltGraph", "CapsLock", "Escape"]);

interface Kept {
  readonly run: () => void;
  /** Kept when the part could not be brought, until somebody tries again. */
  readonly isLasting: boolean;
}

export class Held {
  private readonly part: Part<unknown>;
  private readonly root: HTMLElement;
  private kept: Kept[] = [];

  constructor(part: Part<unknown>, root: HTMLElement, signal: AbortSignal) {
    this.part = part;
    this.root = root;
    part.subscribe(() => {
      if (part.trouble) this.kept = this.kept.filter((each) => each.isLasting);
    }, signal);
  }

  get isAny(): boolean {
    return this.kept.length > 0;
  }

  /** Now, or when the part is there and what came before is done. */
  do(run: () => void, isLasting = false): void {
    if (this.part.now && !this.isAny) run();
    else this.keep({ run, isLasting });
  }

  /** True if the key waits now: `isNew` if it needs the part, else because an earlier one does. */
  takes(event: KeyboardEvent, isNew: boolean): boolean {
    if (this.part.now || this.part.trouble || (!isNew && !this.isAny) || AT_ONCE.has(event.key)) return false;
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    const { key, code, shiftKey } = event;
    this.keep({ run: () => this.press({ key, code, shiftKey }), isLasting: false });
    return true;
  }

  /** The part is there: do everything in order. */
  release(): void {
    const { kept } = this;
    this.kept = [];
    for (const { run } of kept) run();
  }

  /** Nothing of it is wanted any more. True if there was something. */
  drop(): boolean {
    const wasAny = this.isAny;
    this.kept = [];
    return wasAny;
  }

  private keep(kept: Kept): void {
    this.kept.push(kept);
    this.part.want();
  }

  /** As if pressed now. Events made by a script press no button, so Enter and Space do that by themselves. */
  private press(init: KeyboardEventInit): void {
    const active = this.root.ownerDocument.activeElement;
    if (!active || !this.root.contains(active)) return;
    const event = new KeyboardEvent("keydown", { ...init, bubbles: true, cancelable: true });
    active.dispatchEvent(event);
    const isPress = init.key === "Enter" || init.key === " ";
    if (!event.defaultPrevented && isPress && active instanceof HTMLButtonElement) active.click();
  }
}
