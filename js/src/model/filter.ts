// The filter language of search field, panes and `DAG.find`: one grammar, also in `view/filter.py`; both are held to
// the vectors in tests/filters. A filter is terms that must all hold:
//
//     status:failed,running  node:resize*  group:resize  attempt:2  duration>1.5s  waited>=2m  retried:yes
//     slowest:5  path:critical  level>=warning  stream:stderr  "text"  word  +merge  merge+  -term  not term
//
// A word is part of a name, with a `*` the whole name; `+x` is x with its ancestors, `x+` with its descendants; a
// quoted text is part of a name, of an error message, or of a line of a log. `level` and `stream` are about lines only.
import { STATUS_WORDS } from "../protocol.ts";
import { criticalPath } from "./critical.ts";
import { ranFor, reach } from "./derive.ts";
import type { Store } from "./store.ts";
import { say } from "./words.ts";

export type Operator = ":" | ">" | ">=" | "<" | "<=";

export interface Term {
  /** "" for a word, "text" for a quoted one. */
  readonly key: string;
  readonly operator: Operator;
  readonly value: string;
  /** Seconds, or a count; NaN where the value is none. */
  readonly amount: number;
  readonly isNot: boolean;
  readonly isUp: boolean;
  readonly isDown: boolean;
  /** Where it stands in the text. */
  readonly from: number;
  readonly to: number;
}

export interface Problem {
  readonly code: "unclosed" | "unknown" | "no_value" | "status" | "number" | "choice" | "operator";
  readonly from: number;
  readonly to: number;
  /** What was found there. */
  readonly found: string;
}

export interface Filter {
  readonly text: string;
  readonly terms: readonly Term[];
  readonly problem: Problem | null;
}

export const LEVELS: readonly string[] = ["debug", "info", "warning", "error", "critical"];

const NUMBERS = new Set(["attempt", "slowest", "duration", "waited"]);
const CHOICES: Readonly<Record<string, readonly string[]>> = {
  retried: ["yes", "no"],
  path: ["critical"],
  level: LEVELS,
  stream: ["stdout", "stderr", "log"],
};
const KEYS: readonly string[] = ["status", "node", "group", "function", ...NUMBERS, ...Object.keys(CHOICES)];
const COMPARED = new Set(["attempt", "duration", "waited", "level"]);
/** About lines of a log: they hold for every node. */
const OF_LINES = new Set(["level", "stream"]);
const NONE: Filter = { text: "", terms: [], problem: null };

// --- reading -------------------------------------------------------------------------------------------------------

/** Never throws: what cannot be understood is told as `problem`, with its place. */
export function parse(text: string): Filter {
  const terms: Term[] = [];
  const space = /\s*/y;
  for (let at = 0; ; ) {
    space.lastIndex = at;
    at += space.exec(text)?.[0].length ?? 0;
    if (at >= text.length) return terms.length > 0 ? { text, terms, problem: null } : { ...NONE, text };
    const term = readTerm(text, at);
    if ("code" in term) return { text, terms, problem: term };
    terms.push(term);
    at = term.to;
  }
}

const HEAD = /(-|not\s+)?(\+)?(?:([A-Za-z]+)(>=|<=|[:=<>]))?/y;
const VALUE = /"((?:[^"\\]|\\.)*)("?)|[^\s"]+/y;

function readTerm(text: string, from: number): Term | Problem {
  HEAD.lastIndex = from;
  const [head = "", not, up, name, sign = ":"] = HEAD.exec(text) ?? [];
  let at = from + head.length;
  const key = name?.toLowerCase() ?? "";
  const problem = (code: Problem["code"], start: number, found: string): Problem => ({
    code,
    from: start,
    to: Math.max(at, start + 1),
    found,
  });
  if (name && !KEYS.includes(key)) return problem("unknown", at - name.length - sign.length, name);
  VALUE.lastIndex = at;
  const found = VALUE.exec(text);
  const start = at;
  at += found?.[0].length ?? 0;
  const isQuoted = found?.[1] !== undefined;
  if (isQuoted && !found?.[2]) return problem("unclosed", start, found?.[0] ?? "");
  let value = isQuoted ? (found?.[1] ?? "").replace(/\\(.)/g, "$1") : (found?.[0] ?? "");
  let isDown = false;
  if (isQuoted && text[at] === "+") {
    isDown = true;
    at += 1;
  } else if (!isQuoted && value.length > 1 && value.endsWith("+")) {
    isDown = true;
    value = value.slice(0, -1);
  }
  if (value === "") return problem("no_value", start, head);
  const operator = (sign === "=" ? ":" : sign) as Operator;
  if (operator !== ":" && !COMPARED.has(key)) return problem("operator", start - sign.length, sign);
  const amount = amountOf(key, value);
  const wrong = wrongValue(key, value, amount);
  if (wrong) return problem(wrong, start, value);
  return {
    key: isQuoted && key === "" && !up && !isDown ? "text" : key,
    operator,
    value: key in CHOICES ? value.toLowerCase() : value,
    amount,
    isNot: not !== undefined,
    isUp: up !== undefined,
    isDown,
    from,
    to: at,
  };
}

function wrongValue(key: string, value: string, amount: number): Problem["code"] | null {
  if (key === "status") return value.split(",").every((each) => statusesLike(each).length > 0) ? null : "status";
  if (NUMBERS.has(key)) return Number.isNaN(amount) ? "number" : null;
  const choices = CHOICES[key];
  return choices && !choices.includes(value.toLowerCase()) ? "choice" : null;
}

/** "failed", "Parent Failed" and "parent-failed" mean one; the start of a word is enough. */
function statusesLike(word: string): number[] {
  const wanted = word
    .trim()
    .toLowerCase()
    .replace(/[\s_]+/g, "-");
  if (wanted === "") return [];
  const names = STATUS_WORDS.map((each) => each.toLowerCase().replace(" ", "-"));
  const exact = names.indexOf(wanted);
  if (exact > 0) return [exact];
  return names.flatMap((name, status) => (name.startsWith(wanted) ? [status] : []));
}

const UNITS: Readonly<Record<string, number>> = { ms: 0.001, s: 1, m: 60, min: 60, h: 3600 };

/** 2, 1.5s, 300ms, 2m, 1h, 1:42, 2:03:10 */
function amountOf(key: string, value: string): number {
  if (!NUMBERS.has(key)) return Number.NaN;
  const isTime = key === "duration" || key === "waited";
  if (/^\d+$/.test(value)) return Number(value);
  if (!isTime) return Number.NaN;
  if (/^\d+(:\d\d){1,2}(\.\d+)?$/.test(value))
    return value.split(":").reduce((sum, part) => 60 * sum + Number(part), 0);
  const [, number, unit = "s"] = /^(\d+(?:\.\d*)?|\.\d+)(ms|s|min|m|h)?$/.exec(value) ?? [];
  return number === undefined ? Number.NaN : Number(number) * (UNITS[unit] ?? 1);
}

/** What is wrong, in a sentence. */
export function problemWords({ code, from, found }: Problem): string {
  return say(`filter.${code}`, {
    found,
    at: from + 1,
    keys: KEYS.join(", "),
    statuses: STATUS_WORDS.slice(1).join(", "),
  });
}

// --- matching ------------------------------------------------------------------------------------------------------

export interface Known {
  /** Error message of a node as far as the page knows it. */
  errorOf(node: number): string;
}

/** Per node 1 if all terms hold; null if there is none to hold. O(nodes) per term, names compared in lower case once. */
export function match(filter: Filter, store: Store, known?: Known): Uint8Array | null {
  if (filter.problem || filter.terms.length === 0) return null;
  const all = new Uint8Array(store.total).fill(1);
  // What one term leaves out, the next ones need not look at: the quick one goes first.
  const terms = [...filter.terms].sort((a, b) => Number(b.key === "status") - Number(a.key === "status"));
  for (const term of terms) {
    if (OF_LINES.has(term.key)) continue;
    const own = new Uint8Array(store.total);
    fillTerm(own, term, store, term.isUp || term.isDown ? null : all, known);
    const wanted = term.isNot ? 0 : 1;
    for (let node = 0; node < all.length; node++) if (own[node] !== wanted) all[node] = 0;
  }
  return all;
}

/** Does the answer change while a run goes on? */
export function isMoving(filter: Filter): boolean {
  return filter.terms.some((term) => !["", "node", "group", "function", "level", "stream"].includes(term.key));
}

function fillTerm(own: Uint8Array, term: Term, store: Store, within: Uint8Array | null, known?: Known): void {
  const { key, value, amount } = term;
  const where = (holds: (node: number) => boolean): void => {
    for (let node = 0; node < own.length; node++) if (within?.[node] !== 0 && holds(node)) own[node] = 1;
  };
  const wanted = value.toLowerCase();
  if (key === "status") {
    const statuses = new Set(value.split(",").flatMap(statusesLike));
    where((node) => statuses.has(store.status[node] ?? 0));
  } else if (key === "group" || key === "function") {
    const { groups } = store;
    const fits = (groups?.names ?? groupNames(store)).map((name) => matches(name, value));
    const of = groups?.of ?? store.markOf;
    where((node) => fits[of[node] ?? 0] === true);
  } else if (key === "attempt") where((node) => compare(store.attempt[node] ?? 0, term));
  else if (key === "retried") where((node) => (store.attempt[node] ?? 0) > 1 === (wanted === "yes"));
  else if (key === "duration") where((node) => compare(ranFor(store, node), term));
  else if (key === "waited") where((node) => compare(waitedFor(store, node), term));
  else if (key === "slowest") for (const node of slowest(store, amount)) own[node] = 1;
  else if (key === "path") for (const node of criticalPath(store)?.nodes ?? []) own[node] = 1;
  else if (key === "text") {
    const names = lowerNames(store);
    where(
      (node) => (names[node] ?? "").includes(wanted) || Boolean(known?.errorOf(node).toLowerCase().includes(wanted)),
    );
  } else {
    const names = lowerNames(store);
    const fits = fitting(wanted);
    where((node) => fits(names[node] ?? ""));
    const found: number[] = [];
    if (term.isUp || term.isDown) for (let node = 0; node < own.length; node++) if (own[node] === 1) found.push(node);
    for (const [isWanted, isDown] of [
      [term.isUp, false],
      [term.isDown, true],
    ] as const)
      if (isWanted) for (const node of reach(store, found, isDown)) own[node] = 1;
  }
}

function compare(value: number, { operator, amount }: Term): boolean {
  if (operator === ":") return Math.abs(value - amount) < 0.05;
  if (operator === ">") return value > amount;
  if (operator === ">=") return value >= amount;
  return operator === "<" ? value < amount : value <= amount;
}

/**
 * Seconds for which the present attempt could have started and had not: from the end of the last parent, and of the
 * attempt before. NaN where it has not started.
 */
export function waitedFor(store: Store, node: number): number {
  const before = (store.attempt[node] ?? 0) - 1;
  let ready = store.past.get(node)?.find(({ attempt }) => attempt === before)?.ended || 0;
  for (const parent of store.parentsOf(node)) ready = Math.max(ready, store.ended[parent] || 0);
  return Math.max(0, (store.started[node] ?? Number.NaN) - ready);
}

function slowest(store: Store, most: number): number[] {
  const timed: number[] = [];
  for (let node = 0; node < store.total; node++) if (ranFor(store, node) > 0) timed.push(node);
  const took = new Map(timed.map((node) => [node, ranFor(store, node)]));
  return timed.sort((a, b) => (took.get(b) ?? 0) - (took.get(a) ?? 0) || a - b).slice(0, most);
}

/** Per mark the function or stage of its members: what a stack is called, or what the kernel says it is. */
function groupNames(store: Store): string[] {
  const marks = store.picture?.marks;
  if (!marks) return [];
  const byGroup = new Map<number, string>();
  marks.kind.forEach((kind, mark) => {
    if (kind === "stack") byGroup.set(marks.group[mark] ?? -1, marks.name[mark] ?? "");
  });
  const { groups = {} } = store.picture ?? {};
  return marks.name.map(
    (name, mark) => byGroup.get(marks.group[mark] ?? -1) ?? groups[marks.group[mark] ?? -1] ?? name,
  );
}

const lowered = new WeakMap<readonly string[], string[]>();

function lowerNames(store: Store): string[] {
  const names = store.names ?? Array.from({ length: store.total }, (_, node) => store.nameOf(node));
  let own = lowered.get(names);
  if (!own) {
    own = names.map((name) => name.toLowerCase());
    lowered.set(names, own);
  }
  return own;
}

/** Does `name` hold `wanted`, whatever the case? With a `*` the whole name has to fit. */
export function matches(name: string, wanted: string): boolean {
  return fitting(wanted.trim().toLowerCase())(name.toLowerCase());
}

/** The test for one text, made once; both sides in lower case. */
function fitting(text: string): (own: string) => boolean {
  if (!text.includes("*")) return (own) => own.includes(text);
  const parts = text.split("*");
  const first = parts.shift() ?? "";
  const last = parts.pop() ?? "";
  return (own) => {
    const end = own.length - last.length;
    if (end < first.length || !own.startsWith(first) || !own.endsWith(last)) return false;
    let at = first.length;
    for (const part of parts) {
      const found = own.indexOf(part, at);
      if (found < 0) return false;
      at = found + part.length;
    }
    return at <= end;
  };
}

/** What stands in front of the field's chips, ready to be pressed. */
export const PRESETS: readonly (readonly [
  word: "failed" | "running" | "slowest" | "critical" | "not_done",
  text: string,
])[] = [
  ["failed", "status:failed"],
  ["running", "status:running"],
  ["slowest", "slowest:5"],
  ["critical", "path:critical"],
  ["not_done", "-status:completed"],
];

/** The filter without one of its terms; the others as they were typed. */
export function without({ text, terms }: Filter, term: Term): string {
  const others = terms.filter(({ from }) => from !== term.from);
  return others.map(({ from, to }) => text.slice(from, to)).join(" ");
}

/** Python for it: `dag.find("status:failed")`. */
export function pythonFor(text: string, reference: string): string {
  return `${reference}.find(${JSON.stringify(text.trim())})`;
}
