// What makes the bundle small without changing what it does: texts that the page never says stay behind, their keys
// become numbers, own property names short ones, and the styles stand in one nested block.
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { prepare } from "./names.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const SRC = join(HERE, "src");
const CACHE = join(HERE, "node_modules", ".cache", "tiledag-names.json");
const WORDS = join(HERE, "..", "tiledag_widget", "view", "words.json");

function sources() {
  return readdirSync(SRC, { recursive: true })
    .map(String)
    .filter((name) => name.endsWith(".ts"))
    .sort()
    .map((name) => readFileSync(join(SRC, name), "utf8"));
}

/** What `names` found out takes seconds, so it is kept until a source changes. */
function prepared() {
  const key = createHash("sha256")
    .update([readFileSync(join(HERE, "names.mjs"), "utf8"), ...sources()].join("\0"))
    .digest("hex");
  try {
    const kept = JSON.parse(readFileSync(CACHE, "utf8"));
    if (kept.key === key) return kept;
  } catch {
    // Nothing is kept yet.
  }
  const made = { key, ...prepare() };
  mkdirSync(dirname(CACHE), { recursive: true });
  writeFileSync(CACHE, JSON.stringify(made));
  return made;
}

/** "a.b" -> text. */
function flat(words, prefix = "") {
  return Object.entries(words).flatMap(([name, value]) =>
    typeof value === "string" ? [[prefix + name, value]] : flat(value, `${prefix}${name}.`),
  );
}

/** Starts of keys that are put together when they are said. */
function begunIn(code) {
  return [...code.matchAll(/`([a-z_]+\.[a-z_.]*)\$\{/g)].map((found) => found[1]);
}

/** A short name for each text of the catalogue whose key is never put together. */
function shortKeys() {
  const code = sources().join("\n");
  const begun = begunIn(code);
  const names = new Map();
  for (const [key] of flat(JSON.parse(readFileSync(WORDS, "utf8")))) {
    if (!begun.some((start) => key.startsWith(start)) && code.includes(`"${key}"`))
      names.set(key, names.size.toString(36));
  }
  return names;
}

/** The texts that these modules of `src` may say, by the names that they have in the bundle. */
export function neededWords(modules) {
  const code = [...modules]
    .filter((path) => path.endsWith(".ts"))
    .map((path) => readFileSync(join(SRC, path), "utf8"))
    .join("\n");
  const begun = begunIn(code);
  const names = shortKeys();
  const words = {};
  for (const [key, text] of flat(JSON.parse(readFileSync(WORDS, "utf8")))) {
    if (begun.some((start) => key.startsWith(start)) || code.includes(`"${key}"`)) words[names.get(key) ?? key] = text;
  }
  return words;
}

/** Plugin for esbuild, see above; `words` are the texts that the bundle holds. */
export const shrinking = (words) => ({
  name: "shrinking",
  setup(build) {
    const names = shortKeys();
    const { texts, names: own } = prepared();
    build.initialOptions.mangleProps = new RegExp(`^(?:_p_.*|${own.join("|")})$`);
    build.onLoad({ filter: /words\.json$/ }, () => ({ contents: JSON.stringify(words), loader: "json" }));
    // The colours come with the styles; glyphs as characters are for text forms.
    build.onLoad({ filter: /palette\.json$/ }, ({ path }) => {
      const { glyph_grid, glyph_stroke_width, statuses, accents } = JSON.parse(readFileSync(path, "utf8"));
      for (const each of Object.values(statuses)) {
        for (const name of ["glyph", "ascii"]) delete each[name];
        for (const scheme of ["light", "dark"]) each[scheme] = 0;
      }
      return { contents: JSON.stringify({ glyph_grid, glyph_stroke_width, statuses, accents }), loader: "json" };
    });
    build.onLoad({ filter: /[\\/]src[\\/].*\.ts$/ }, ({ path }) => {
      const text = (texts[relative(SRC, path)] ?? readFileSync(path, "utf8"))
        .replace(/"([a-z_]+(?:\.[a-z0-9_]+)+)"/g, (all, key) => (names.has(key) ? `"${names.get(key)}"` : all))
        .replace(/--td-[a-z]+/g, shortVariable);
      return { contents: text, loader: "ts" };
    });
  },
});

const variables = new Map();

/** Our own variables of CSS; those that a page may set are called `--tiledag-*` and keep their names. */
export function shortVariable(name) {
  if (!variables.has(name)) variables.set(name, `--d${variables.size.toString(36)}`);
  return variables.get(name);
}

/** Rules of minified styles, every one of them under `.tiledag`, as one nested block. */
export function nested(rules) {
  const inside = [];
  const outside = [];
  for (const rule of rules) {
    if (rule.head.startsWith("@keyframes")) outside.push(`${rule.head}{${rule.body}}`);
    else if (rule.head.startsWith("@")) inside.push(`${rule.head}{${rulesOf(rule.body).map(nest).join("")}}`);
    else inside.push(nest(rule));
  }
  return `.tiledag{${inside.join("")}}${outside.join("")}`.replace(/(--[\w-]+): /g, "$1:");
}

function nest({ head, body }) {
  const selectors = split(head, ",").map((each) => {
    if (!/^\.tiledag(?![\w-])/.test(each)) throw new Error(`the rule "${each}" does not stand under .tiledag`);
    const rest = each.slice(".tiledag".length);
    if (rest === "") return "&";
    return /^ [.*:]/.test(rest) ? rest.slice(1) : `&${rest}`;
  });
  return selectors.length === 1 && selectors[0] === "&" ? `${body};` : `${selectors.join()}{${body}}`;
}

/** Top-level rules of minified CSS. */
export function rulesOf(css) {
  const rules = [];
  for (let at = 0; at < css.length; ) {
    const open = css.indexOf("{", at);
    if (open < 0) break;
    let depth = 1;
    let end = open + 1;
    for (; depth > 0; end++) depth += css[end] === "{" ? 1 : css[end] === "}" ? -1 : 0;
    rules.push({ head: css.slice(at, open).trim(), body: css.slice(open + 1, end - 1) });
    at = end;
  }
  return rules;
}

export function split(text, sign) {
  const parts = [""];
  let depth = 0;
  for (const each of text) {
    depth += each === "(" ? 1 : each === ")" ? -1 : 0;
    if (each === sign && depth === 0) parts.push("");
    else parts[parts.length - 1] += each;
  }
  return parts.map((each) => each.trim());
}
