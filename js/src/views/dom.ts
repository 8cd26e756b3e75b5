// Elements, made without a line of HTML: text is always text.
import { GLYPH_GRID, GLYPH_STROKE, GLYPHS, STATUS_NAMES } from "../render/theme.ts";

const SVG = "http://www.w3.org/2000/svg";

type Child = Node | string | null | undefined | false;
type Attributes = Record<string, string | number | boolean | null | undefined>;

/** An element with classes ("div.tiledag-bar.is-open"), attributes and children. */
export function element<K extends keyof HTMLElementTagNameMap>(
  kind: K | `${K}.${string}`,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const [tag = "div", ...classes] = kind.split(".");
  const made = document.createElement(tag) as HTMLElementTagNameMap[K];
  if (classes.length > 0) made.className = classes.join(" ");
  set(made, attributes);
  append(made, children);
  return made;
}

export function set(target: Element, attributes: Attributes): void {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) target.removeAttribute(name);
    else {
      const text = value === true ? "" : String(value);
      if (target.getAttribute(name) !== text) target.setAttribute(name, text);
    }
  }
}

export function append(target: Element, children: readonly Child[]): void {
  for (const child of children) if (child) target.append(child);
}

/** Put these children in place of the present ones. */
export function fill(target: Element, ...children: Child[]): void {
  target.replaceChildren();
  append(target, children);
}

/** Change a text only if it is another one, so that a selection and a screen reader are left alone. */
export function setText(target: Element, text: string): void {
  if (target.textContent === text) return;
  // A text that changes costs less than one that goes and one that comes.
  const { firstChild } = target;
  if (firstChild instanceof Text && !firstChild.nextSibling) firstChild.data = text;
  else target.textContent = text;
}

/** Hide or show: the same again would cost a look at its style. */
export function hide(target: HTMLElement, isHidden: boolean): void {
  if (target.hidden !== isHidden) target.hidden = isHidden;
}

/** Listen until `signal` fires. */
export function on<K extends keyof HTMLElementEventMap>(
  target: EventTarget,
  name: K | (string & {}),
  signal: AbortSignal,
  listener: (event: HTMLElementEventMap[K]) => void,
  options: AddEventListenerOptions = {},
): void {
  target.addEventListener(name, listener as EventListener, { ...options, signal });
}

function svg(tag: string, attributes: Attributes, ...children: Node[]): SVGElement {
  const made = document.createElementNS(SVG, tag);
  set(made, attributes);
  append(made, children);
  return made;
}

/** The glyph of a status, in its colour unless `isPlain`. */
export function glyph(status: number, isPlain = false): SVGElement {
  const own = GLYPHS[status] ?? { stroke: "", fill: "" };
  const shape = svg("svg", {
    viewBox: `0 0 ${GLYPH_GRID} ${GLYPH_GRID}`,
    class: `td-glyph${isPlain ? "" : ` is-${STATUS_NAMES[status] ?? ""}`}`,
    "aria-hidden": "true",
    focusable: "false",
  });
  if (own.fill) shape.append(svg("path", { d: own.fill, fill: "currentColor" }));
  if (own.stroke) {
    const line = { fill: "none", stroke: "currentColor", "stroke-width": GLYPH_STROKE };
    shape.append(svg("path", { d: own.stroke, ...line, "stroke-linecap": "round", "stroke-linejoin": "round" }));
  }
  return shape;
}

const ICONS = {
  fit: "M2.5 6V3.5a1 1 0 0 1 1-1H6M10 2.5h2.5a1 1 0 0 1 1 1V6M13.5 10v2.5a1 1 0 0 1-1 1H10M6 13.5H3.5a1 1 0 0 1-1-1V10M6.2 6.2h3.6v3.6H6.2z",
  full: "M9.5 2.5h4v4M13.5 2.5L9 7M6.5 13.5h-4v-4M2.5 13.5L7 9",
  unfull: "M13.5 6.5h-4v-4M9.5 6.5L14 2M2.5 9.5h4v4M6.5 9.5L2 14",
  more: "M3.5 8h.01M8 8h.01M12.5 8h.01",
  plus: "M8 3.5v9M3.5 8h9",
  minus: "M3.5 8h9",
  close: "M4 4l8 8M12 4l-8 8",
  down: "M4 6l4 4 4-4",
  up: "M4 10l4-4 4 4",
  right: "M6 4l4 4-4 4",
  search: "M7 2.8a4.2 4.2 0 1 0 0 8.4 4.2 4.2 0 0 0 0-8.4zM10.2 10.2l3.3 3.3",
  copy: "M6 5.5h6.5a1 1 0 0 1 1 1v6.5a1 1 0 0 1-1 1H6a1 1 0 0 1-1-1V6.500a1 1 0 0 1 1-1zM3 10.500a1 1 0 0 1-.5-.9V3.500a1 1 0 0 1 1-1h6a1 1 0 0 1 .9.5",
  retry: "M13 8a5 5 0 1 1-1.600-3.700M13 2.500v2.500h-2.500",
  play: "M5 3.500v9l7.500-4.500z",
  pause: "M5.500 3.500v9M10.500 3.500v9",
  back: "M11.500 3.500v9L6 8zM4.500 3.500v9",
  next: "M4.500 3.500v9L10 8zM11.500 3.500v9",
  check: "M3.500 8.500l3 3 6-6.500",
} as const;

export type IconName = keyof typeof ICONS;

export function icon(name: IconName): SVGElement {
  const line = { fill: "none", stroke: "currentColor", "stroke-width": name === "more" ? 2.4 : 1.5 };
  return svg(
    "svg",
    { viewBox: "0 0 16 16", class: "td-icon", "aria-hidden": "true", focusable: "false" },
    svg("path", { d: ICONS[name], ...line, "stroke-linecap": "round", "stroke-linejoin": "round" }),
  );
}

/** A button that stays focusable when it cannot be pressed, and then says why. */
export interface Button {
  readonly root: HTMLButtonElement;
  setLabel(text: string): void;
  setTitle(text: string): void;
  /** An empty reason enables. */
  setBlocked(reason: string): void;
}

export function button(
  label: string,
  pressed: (event: MouseEvent) => void,
  signal: AbortSignal,
  options: { icon?: IconName; isIconOnly?: boolean; className?: string; title?: string } = {},
): Button {
  const text = element("span.td-label", {}, label);
  const root = element(
    "button",
    { type: "button", class: `td-button ${options.className ?? ""}`.trim() },
    options.icon ? icon(options.icon) : null,
    options.isIconOnly ? null : text,
  );
  let title = options.title ?? (options.isIconOnly ? label : "");
  let reason = "";
  const show = (): void => {
    set(root, { title: reason || title || null, "aria-disabled": reason ? "true" : null });
    if (options.isIconOnly) set(root, { "aria-label": text.textContent ?? "" });
    const description = reason || (options.isIconOnly ? "" : title);
    set(root, { "aria-description": description || null });
  };
  show();
  on(root, "click", signal, (event) => {
    if (reason) event.preventDefault();
    else pressed(event);
  });
  return {
    root,
    setLabel(next) {
      setText(text, next);
      show();
    },
    setTitle(next) {
      title = next;
      show();
    },
    setBlocked(next) {
      reason = next;
      show();
    },
  };
}

const STOPS = "button, input, select, summary, pre[tabindex], .td-panel, [role=separator][tabindex]";

/**
 * Makes one stop of the Tab key of all controls in `parts`, those that come later too; arrows go between them. What
 * scrolls, resizes or chooses keeps Up and Down for itself, a field Left and Right.
 */
export function rove(parts: readonly HTMLElement[], signal: AbortSignal): void {
  /** Where the focus was last: as long as it is there, it is the stop; before that the first one. */
  let current: Element | null = null;
  const all = (): HTMLElement[] =>
    parts
      .flatMap((part) => [part, ...part.querySelectorAll<HTMLElement>("*")])
      .filter((each) => each.matches(STOPS) && each.checkVisibility());
  const settle = (): void => {
    const items = all();
    const stop = items.includes(current as HTMLElement) ? current : items[0];
    for (const each of items) set(each, { tabindex: each === stop ? 0 : -1 });
  };
  const keydown = (event: KeyboardEvent): void => {
    const { key, target } = event;
    if (!(target instanceof HTMLElement) || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey)
      return;
    const isAlong = key === "ArrowRight" || key === "ArrowLeft";
    const isAcross = key === "ArrowDown" || key === "ArrowUp";
    if (target instanceof HTMLInputElement ? !isAcross : !isAlong && !isAcross) return;
    if (isAcross && target.matches("select, pre, .td-panel, [role=separator]")) return;
    const items = all();
    const at = items.indexOf(target);
    if (at < 0) return;
    const step = key === "ArrowRight" || key === "ArrowDown" ? 1 : -1;
    event.preventDefault();
    items[(at + step + items.length) % items.length]?.focus();
  };
  const watch = new MutationObserver((records) => {
    if (records.some(isAboutStops)) settle();
  });
  for (const part of parts) {
    on(part, "keydown", signal, keydown);
    on(part, "focusin", signal, (event) => {
      if (event.target instanceof Element && event.target.matches(STOPS)) current = event.target;
      settle();
    });
    watch.observe(part, { childList: true, subtree: true, attributes: true, attributeFilter: ["hidden"] });
  }
  signal.addEventListener("abort", () => watch.disconnect(), { once: true });
  settle();
}

/** Texts and bars change with every message: only what may be a stop, or hold one, is a reason to look at all again. */
function isAboutStops({ type, target, addedNodes, removedNodes }: MutationRecord): boolean {
  const nodes = type === "attributes" ? [target] : [...addedNodes, ...removedNodes];
  return nodes.some((each) => each instanceof Element && (each.matches(STOPS) || each.querySelector(STOPS) !== null));
}

/** Puts a text on the clipboard; where that is closed, shows it selected in a box beside `near`. */
export async function copyText(text: string, near: HTMLElement, signal: AbortSignal): Promise<boolean> {
  try {
    if (!navigator.clipboard) throw new Error("closed");
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const box = element("textarea.td-copybox", { readonly: true, rows: 3, spellcheck: "false" });
    box.value = text;
    near.after(box);
    box.focus();
    box.select();
    on(box, "blur", signal, () => box.remove());
    return false;
  }
}
