// What several of the inspector's tabs are made of: facts, sections, links to nodes, and what is copied.
import { match, parse, pythonFor } from "../model/filter.ts";
import type { Focus } from "../model/focus.ts";
import type { Store } from "../model/store.ts";
import { count, plain, say, timeOfDay, utc } from "../model/words.ts";
import { type Frame, STATUS_WORDS } from "../protocol.ts";
import { type Button, button, copyText, element, glyph, on } from "./dom.ts";

const COPIED_MS = 1500;

export function facts(
  rows: readonly (readonly [string, string | HTMLElement | null | undefined])[],
): HTMLElement | null {
  const shown = rows.filter(([, value]) => value);
  if (shown.length === 0) return null;
  return element(
    "dl.td-facts",
    {},
    ...shown.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value ?? "")]),
  );
}

export function section(title: string, total: number | null, ...children: (HTMLElement | null)[]): HTMLElement {
  const number = total === null ? null : element("span.td-total", {}, count(total));
  return element("section.td-section", {}, element("h4.td-caption", {}, title, number), ...children);
}

export function frameRow(frame: Frame): HTMLElement {
  const file = frame.file.split(/[\\/]/).at(-1) ?? frame.file;
  const place =
    frame.cell === null
      ? `${file}:${frame.line}`
      : say("inspector.cell", { cell: frame.cell, line: String(frame.line) });
  return element(
    "div.td-frame",
    {},
    element(
      "div.td-frameplace",
      { title: frame.cell === null ? `${frame.file}:${frame.line}` : place },
      element("span.td-strong", {}, place),
      ` ${say("inspector.in_function", { function: frame.function })}`,
    ),
    frame.code ? element("code.td-code", {}, frame.code.trim()) : null,
  );
}

export function timeElement(unix: number, now: number): HTMLElement {
  return element("time", { title: utc(unix), datetime: new Date(unix * 1000).toISOString() }, timeOfDay(unix, now));
}

/** A node's glyph and name; pressed, it is shown. */
export function nodeLink(store: Store, node: number, reveal: (node: number) => void, signal: AbortSignal): HTMLElement {
  const name = plain(store.nameOf(node));
  const status = store.status[node] ?? 0;
  const made = element(
    "button.td-nodelink",
    { type: "button", title: `${name}, ${STATUS_WORDS[status] ?? ""}` },
    glyph(status),
    element("span", {}, name),
  );
  on(made, "click", signal, () => reveal(node));
  return made;
}

/** A button that copies; for a moment it says that it did. */
export function copyButton(
  label: string,
  text: (event: MouseEvent) => string,
  signal: AbortSignal,
  title = "",
): HTMLElement {
  const copied = (made: Button, isDone: boolean): void => {
    if (!isDone) return;
    made.setLabel(say("inspector.copied"));
    setTimeout(() => made.setLabel(label), COPIED_MS);
  };
  const made: Button = button(
    label,
    (event) => void copyText(text(event), made.root, signal).then((isDone) => copied(made, isDone)),
    signal,
    { icon: "copy", className: "is-small", ...(title && { title }) },
  );
  return made.root;
}

/** The reference of the node, if it is one, and the filter; with Shift the run's id comes with them. */
export function copyRow(store: Store, focus: Focus, reference: string, signal: AbortSignal): HTMLElement | null {
  const whole = store.picture?.reference || "dag";
  const run = (event: MouseEvent): string => (event.shiftKey ? `  # run ${store.picture?.graph_id ?? ""}` : "");
  const filter = focus.state.filter && focus.state.mask ? focus.state.filter : groupFilter(store, focus);
  const python = filter && pythonFor(filter, whole);
  const made = [
    reference &&
      copyButton(
        say("inspector.copy_reference"),
        (event) => reference + run(event),
        signal,
        say("inspector.copy_reference_title", { reference }),
      ),
    python &&
      copyButton(
        say("filter.copy"),
        (event) => python + run(event),
        signal,
        say("inspector.copy_reference_title", { reference: python }),
      ),
  ].filter((each) => each instanceof HTMLElement);
  return made.length > 0 ? element("div.td-row", {}, ...made) : null;
}

/** The filter that means the selected stack and nothing else; empty if there is none. */
function groupFilter(store: Store, focus: Focus): string {
  const { marks, nodes } = focus.state;
  const [mark] = marks;
  if (marks.length !== 1 || nodes.length > 0 || mark === undefined) return "";
  const name = store.picture?.marks.name[mark] ?? "";
  const text = `group:${/^[\w.-]+$/.test(name) ? name : JSON.stringify(name)}`;
  const mask = match(parse(text), store);
  const isExact = mask?.every((each, node) => (each === 1) === (store.markOf[node] === mark)) ?? false;
  return isExact ? text : "";
}
