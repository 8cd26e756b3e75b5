// Every text on screen comes from the catalogue that Python reads too, and every number is written in one way.
import catalogue from "../../../tiledag_widget/view/words.json";

type Paths<T> = T extends string
  ? never
  : { [K in keyof T & string]: T[K] extends string ? K : `${K}.${Paths<T[K]>}` }[keyof T & string];

export type WordKey = Paths<typeof catalogue>;
export type WordValues = Record<string, string | number>;

/**
 * The text under `key` with its places filled: `{n}` is a value (numbers as 1,024), `{n|node|nodes}` the word that
 * fits the number `n`.
 */
export function say(key: WordKey, values: WordValues = {}): string {
  return textOf(key).replace(/\{(\w+)(?:\|([^|}]*)\|([^|}]*))?\}/g, (_, name: string, one?: string, many?: string) => {
    const value = values[name];
    if (one !== undefined) return (value === 1 ? one : many) ?? "";
    return typeof value === "number" ? count(value) : (value ?? "");
  });
}

/** Texts that come later. */
export function learn(words: Readonly<Record<string, string>>): void {
  Object.assign(catalogue, words);
}

/** The bundle holds the catalogue flat (`shrink.mjs`), the sources as it is written. */
function textOf(key: string): string {
  const all: Record<string, unknown> = catalogue;
  const own = all[key];
  return typeof own === "string"
    ? own
    : String(key.split(".").reduce((found: unknown, part) => (found as Record<string, unknown>)[part], all));
}

/** 1,024 */
export function count(value: number): string {
  return String(Math.round(value)).replace(/\B(?=(\d{3})+(?!\d))/g, ",");
}

/** 0.8 s, 12 s, 1:42, 2:03:10 */
export function duration(seconds: number): string {
  if (!(seconds >= 0)) return "";
  if (seconds < 0.0995) return `${Number(seconds.toPrecision(1)) < 0.001 ? "< 0.001" : seconds.toPrecision(1)} s`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  if (seconds < 59.5) return `${Math.round(seconds)} s`;
  return clock(Math.round(seconds));
}

/** 0:42, 1:42, 2:03:10 */
export function clock(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds + 1e-6));
  const two = (value: number): string => String(value).padStart(2, "0");
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** 14:02:11 in local time; the date too if it is not today. */
export function timeOfDay(unix: number, now = Date.now() / 1000): string {
  const at = new Date(unix * 1000);
  const two = (value: number): string => String(value).padStart(2, "0");
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  if (new Date(now * 1000).toDateString() === at.toDateString()) return time;
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${time}`;
}

/** The same moment in UTC, for tooltips. */
export function utc(unix: number): string {
  return `${new Date(unix * 1000).toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** Start and end of a text that is too long: "resize…_017". At most `most` characters, counted as code points. */
export function middle(text: string, most: number): string {
  if (text.length <= most) return text;
  const points = Array.from(text.length > 4 * most + 64 ? text.slice(0, 2 * most) + text.slice(-2 * most) : text);
  if (points.length <= most) return text;
  const tail = Math.max(1, Math.floor((most - 1) * 0.4));
  return `${points.slice(0, Math.max(1, most - 1 - tail)).join("")}…${points.slice(-tail).join("")}`;
}

/** A name as one line of plain text: what would break a line or turn its direction is shown as a sign instead. */
export function plain(name: string): string {
  // A name of nothing but spaces would be a link and a row that nobody sees.
  if (name.trim() === "") return "␣".repeat(name.length);
  return name
    .replace(/[\r\n\u2028\u2029]/g, "⏎")
    .replace(/\t/g, "⇥")
    .replace(/[\p{Cc}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, "·");
}

/** A text of many lines, such as an error: what would turn the direction of all that follows is shown as a sign. */
export function upright(text: string): string {
  return text.replace(/[\u202a-\u202e\u2066-\u2069]/g, "·");
}
