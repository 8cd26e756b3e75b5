// Colours: the palette, the host's theme, and what follows from both. The only file with a colour in it.
import palette from "../../../tiledag_widget/view/palette.json";

export type Scheme = "light" | "dark";

export interface StatusStyle {
  /** Fill of a mark, its band and its border. */
  mark: string;
  /** What is written on `mark`. */
  ink: string;
  /** Text in the status's colour on a plain background. */
  word: string;
  line: "solid" | "dashed" | "dotted";
  width: number;
  band: number;
  isFilled: boolean;
  isHatched: boolean;
  isStruck: boolean;
}

export interface Theme {
  scheme: Scheme;
  isForced: boolean;
  surface: string;
  canvas: string;
  card: string;
  cardBorder: string;
  text: string;
  secondary: string;
  edge: string;
  focus: string;
  critical: string;
  uiFont: string;
  monoFont: string;
  /** By status number. */
  status: readonly StatusStyle[];
}

export interface Glyph {
  stroke: string;
  fill: string;
}

export const GLYPH_GRID = palette.glyph_grid;
export const GLYPH_STROKE = palette.glyph_stroke_width;

type Entry = (typeof palette.statuses)[keyof typeof palette.statuses];

const ENTRIES: readonly (readonly [string, Entry])[] = Object.entries(palette.statuses);
const UI_FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif';
const MONO_FONT = 'ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace';
const BUILT_IN = {
  light: {
    ...palette.accents.light,
    surface: "#ffffff",
    line: "#e0e3e8",
    raised: "#f1f3f6",
    shade: "rgba(15,23,42,.10)",
  },
  dark: { ...palette.accents.dark, surface: "#1e1e1e", line: "#3a3f47", raised: "#2d3138", shade: "rgba(0,0,0,.45)" },
} as const;

/** Path data of each status on a grid of `GLYPH_GRID`, by status number. */
export const GLYPHS: readonly Glyph[] = byNumber((entry) => ({ stroke: entry.stroke, fill: entry.fill }), {
  stroke: "",
  fill: "",
});

/** "failed" of number 4: how CSS names a status. */
export const STATUS_NAMES: readonly string[] = byNumber((_, name) => name.toLowerCase().replace(/_/g, "-"), "");

function byNumber<T>(make: (entry: Entry, name: string) => T, none: T): T[] {
  const made = [none];
  for (const [name, entry] of ENTRIES) made[entry.number] = make(entry, name);
  return made;
}

/** The variables that `style.css` stands on: built-in values here, the host's own where it has some. */
export function cssVariables(): string {
  return [block(".tiledag", "light", true), block('.tiledag[data-scheme="dark"]', "dark", false)].join("\n");
}

function block(selector: string, scheme: Scheme, isFirst: boolean): string {
  const own = BUILT_IN[scheme];
  const lines: string[] = [`color-scheme: ${scheme}`];
  for (const [name, entry] of ENTRIES) {
    const variable = `--tiledag-${name.toLowerCase().replace(/_/g, "-")}`;
    lines.push(`${variable}: ${entry[scheme].mark}`);
    lines.push(`${variable}-ink: ${entry[scheme].ink}`);
    lines.push(`${variable}-text: ${entry[scheme].word}`);
  }
  lines.push(`--tiledag-focus: ${own.focus}`, `--tiledag-critical: ${own.critical}`, `--tiledag-edge: ${own.edge}`);
  lines.push(`--td-surface: ${host("layout-color1", "editor-background", own.surface)}`);
  lines.push(`--td-text: ${host("ui-font-color0", "foreground", own.text)}`);
  lines.push(`--td-secondary: ${own.secondary}`);
  lines.push(`--td-line: ${host("border-color2", "panel-border", own.line)}`);
  lines.push(`--td-control: ${own.card_border}`, `--td-shade: ${own.shade}`);
  if (isFirst) {
    // VS Code sets Lab's variable for widgets to the letters of its editor.
    lines.push(`--td-ui: var(--vscode-font-family, var(--jp-ui-font-family, ${UI_FONT}))`);
    lines.push(`--td-mono: var(--jp-code-font-family, var(--vscode-editor-font-family, ${MONO_FONT}))`);
  }
  return `${selector} {\n${lines.map((line) => `  ${line};`).join("\n")}\n}`;
}

function host(jupyter: string, code: string, own: string): string {
  return `var(--jp-${jupyter}, var(--vscode-${code}, ${own}))`;
}

/** Light or dark, as the page around `element` says. */
export function schemeOf(element: Element): Scheme {
  const body = element.ownerDocument.body;
  const jupyter = body.dataset.jpThemeLight;
  if (jupyter !== undefined) return jupyter === "false" ? "dark" : "light";
  const code = body.dataset.vscodeThemeKind ?? body.className;
  if (/vscode-(dark|high-contrast(?!-light))/.test(code)) return "dark";
  if (/vscode-(light|high-contrast-light)/.test(code)) return "light";
  if (body.dataset.theme === "dark" || element.ownerDocument.documentElement.dataset.theme === "dark") return "dark";
  return query("(prefers-color-scheme: dark)")?.matches ? "dark" : "light";
}

/** Sets the scheme on `root` and reads the colours that are in force there. */
export function readTheme(root: HTMLElement): Theme {
  const scheme = schemeOf(root);
  if (root.dataset.scheme !== scheme) root.dataset.scheme = scheme;
  const isForced = query("(forced-colors: active)")?.matches ?? false;
  const styles = getComputedStyle(root);
  const read = (name: string, other: string): string => styles.getPropertyValue(name).trim() || other;
  const own = BUILT_IN[scheme];
  const surface = read("--td-surface", own.surface);
  const text = read("--td-text", own.text);
  const canvas = isForced
    ? "Canvas"
    : mix(surface, scheme === "light" ? text : "#000000", scheme === "light" ? 0.025 : 0.18);
  const card = isForced ? "Canvas" : scheme === "light" ? surface : mix(surface, "#ffffff", 0.045);
  const theme: Theme = {
    scheme,
    isForced,
    surface,
    canvas,
    card,
    cardBorder: isForced ? "CanvasText" : own.card_border,
    text: isForced ? "CanvasText" : text,
    secondary: isForced ? "CanvasText" : own.secondary,
    edge: isForced ? "CanvasText" : read("--tiledag-edge", own.edge),
    focus: isForced ? "Highlight" : read("--tiledag-focus", own.focus),
    critical: isForced ? "Highlight" : read("--tiledag-critical", own.critical),
    uiFont: read("--td-ui", UI_FONT),
    monoFont: read("--td-mono", MONO_FONT),
    status: byNumber((entry, name) => statusStyle(entry, name, scheme, isForced, read), NO_STYLE),
  };
  // Last of all: what is read after something was set has to be worked out anew.
  root.style.setProperty("--td-canvas", canvas);
  root.style.setProperty("--td-card", card);
  root.style.setProperty("--td-raised", isForced ? "Canvas" : mix(surface, text, scheme === "light" ? 0.055 : 0.09));
  return theme;
}

const NO_STYLE: StatusStyle = {
  mark: "#768094",
  ink: "#111111",
  word: "#566073",
  line: "solid",
  width: 1,
  band: 0,
  isFilled: false,
  isHatched: false,
  isStruck: false,
};

function statusStyle(
  entry: Entry,
  name: string,
  scheme: Scheme,
  isForced: boolean,
  read: (name: string, other: string) => string,
): StatusStyle {
  const variable = `--tiledag-${name.toLowerCase().replace(/_/g, "-")}`;
  // The widget has its colours in the style sheet alone; a root that is in no page yet has none at all.
  const colours = entry[scheme];
  return {
    mark: isForced ? "CanvasText" : read(variable, colours.mark || NO_STYLE.mark),
    ink: isForced ? "Canvas" : read(`${variable}-ink`, colours.ink || NO_STYLE.ink),
    word: isForced ? "CanvasText" : read(`${variable}-text`, colours.word || NO_STYLE.word),
    line: entry.border.line as StatusStyle["line"],
    width: entry.border.width,
    band: entry.border.band,
    isFilled: entry.border.filled && !isForced,
    isHatched: entry.border.hatch && !isForced,
    isStruck: entry.border.strike,
  };
}

/** Calls `changed` when the host's theme or a preference changes, until `signal` fires. */
export function watchTheme(root: HTMLElement, changed: () => void, signal: AbortSignal): void {
  const page = root.ownerDocument;
  const observer = new MutationObserver(changed);
  const attributes = [
    "class",
    "style",
    "data-jp-theme-light",
    "data-jp-theme-name",
    "data-vscode-theme-kind",
    "data-theme",
  ];
  for (const element of [page.body, page.documentElement]) observer.observe(element, { attributeFilter: attributes });
  for (const text of ["(prefers-color-scheme: dark)", "(forced-colors: active)"]) {
    query(text)?.addEventListener("change", changed, { signal });
  }
  // Lab loads a theme's sheet after it has named it on the body.
  page.head.addEventListener("load", changed, { capture: true, signal });
  signal.addEventListener("abort", () => observer.disconnect(), { once: true });
}

export function prefersStill(): boolean {
  return query("(prefers-reduced-motion: reduce)")?.matches ?? false;
}

function query(text: string): MediaQueryList | null {
  return typeof matchMedia === "function" ? matchMedia(text) : null;
}

/** `share` of `other` in `base`; `base` itself where it is not written as numbers. */
export function mix(base: string, other: string, share: number): string {
  const from = channels(base);
  const to = channels(other);
  if (!from || !to) return base;
  return `rgb(${from.map((value, index) => Math.round(value + ((to[index] ?? 0) - value) * share)).join(", ")})`;
}

/** The same colour, seen through. */
export function fade(colour: string, alpha: number): string {
  const own = channels(colour);
  return own ? `rgba(${own.join(", ")}, ${alpha})` : colour;
}

const kept = new Map<string, number[]>();

function channels(colour: string): number[] | null {
  const known = kept.get(colour);
  if (known) return known;
  const text = colour.trim().toLowerCase();
  const short = /^#([0-9a-f])([0-9a-f])([0-9a-f])$/.exec(text);
  const long = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})/.exec(text);
  const rgb = /^rgba?\(\s*([\d.]+)[\s,]+([\d.]+)[\s,]+([\d.]+)/.exec(text);
  let found: number[] | null = null;
  if (short) found = short.slice(1, 4).map((digit) => Number.parseInt(digit + digit, 16));
  else if (long) found = long.slice(1, 4).map((pair) => Number.parseInt(pair, 16));
  else if (rgb) found = rgb.slice(1, 4).map(Number);
  else if (text === "white") found = [255, 255, 255];
  else if (text === "black") found = [0, 0, 0];
  if (found && kept.size < 200) kept.set(colour, found);
  return found;
}
