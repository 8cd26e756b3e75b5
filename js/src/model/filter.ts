// Which nodes a piece of text means. This first form looks in names only; `*` stands for anything.
import type { Store } from "./store.ts";

/** Does `name` hold `wanted`, whatever the case? With a `*` the whole name has to fit. */
export function matches(name: string, wanted: string): boolean {
  const text = wanted.trim().toLowerCase();
  if (text === "") return true;
  const own = name.toLowerCase();
  if (!text.includes("*")) return own.includes(text);
  const parts = text.split("*");
  const first = parts[0] ?? "";
  const last = parts.at(-1) ?? "";
  if (!own.startsWith(first) || !own.endsWith(last) || own.length < first.length + last.length) return false;
  let at = first.length;
  for (const part of parts.slice(1, -1)) {
    const found = own.indexOf(part, at);
    if (found < 0) return false;
    at = found + part.length;
  }
  return at <= own.length - last.length;
}

/** Nodes whose name fits, lowest index first, at most `most`. */
export function byName(store: Store, wanted: string, most = Number.POSITIVE_INFINITY): number[] {
  const found: number[] = [];
  for (let node = 0; node < store.total && found.length < most; node++) {
    if (matches(store.nameOf(node), wanted)) found.push(node);
  }
  return found;
}
