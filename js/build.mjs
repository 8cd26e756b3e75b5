// Bundles the page side into ../tiledag_widget/static in two parts and prints what they weigh; fails when the first one,
// which each widget carries, is over its budget.
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build, transform } from "esbuild";
import { minify } from "terser";
import { giving, modulesOf, splitRules, taking, takenOver } from "./parts.mjs";
import { neededWords, nested, rulesOf, shortVariable, shrinking, split } from "./shrink.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const STATIC = process.env.TILEDAG_STATIC ?? join(HERE, "..", "tiledag_widget", "static");
const BUDGET = 150_000;

/** Status colours and built-in chrome as CSS variables: `style.css` itself has no colour in it. */
export async function themeVariables() {
  const bundled = await build({
    entryPoints: [join(HERE, "src", "render", "theme.ts")],
    bundle: true,
    format: "esm",
    write: false,
    target: "es2022",
  });
  const code = Buffer.from(bundled.outputFiles[0].contents).toString("base64");
  const theme = await import(`data:text/javascript;base64,${code}`);
  return theme.cssVariables();
}

/** All styles as they are written. */
export async function styles() {
  return `${await themeVariables()}\n${readFileSync(join(HERE, "src", "style.css"), "utf8")}`;
}

const ESBUILD = {
  bundle: true,
  format: "esm",
  target: "es2022",
  minify: true,
  legalComments: "none",
  write: false,
  charset: "utf8",
  define: { "Number.isNaN": "isNaN", "Number.NaN": "NaN", "Number.POSITIVE_INFINITY": "Infinity" },
};

/** A second look after esbuild's, which does not inline across statements. */
async function small(code) {
  const compress = { passes: 2, pure_getters: true, unsafe_arrows: true, hoist_props: true, keep_fargs: false };
  const done = await minify(code, { module: true, ecma: 2022, compress, format: { comments: false } });
  return done.code;
}

/** Which module is in which part, and the short names of properties: the same ones in all parts. */
async function survey() {
  const entries = ["entry_widget.ts", "entry_more.ts", "entry_page.ts"];
  const { metafile, mangleCache } = await build({
    ...ESBUILD,
    minify: false,
    entryPoints: entries.map((name) => join(HERE, "src", name)),
    outdir: join(HERE, "lib"),
    metafile: true,
    mangleCache: {},
    plugins: [shrinking({})],
  });
  const [first, second, page] = entries.map((name) => modulesOf(metafile, name));
  return { first, second, page, mangleCache, taken: takenOver(first, second) };
}

async function firstPart({ taken, mangleCache }, name, words) {
  const { outputFiles } = await build({
    ...ESBUILD,
    entryPoints: [join(HERE, "src", "entry_widget.ts")],
    mangleCache,
    plugins: [giving(taken, name), shrinking(words)],
  });
  return small(outputFiles[0].text);
}

/** The second part, as a module whose default export makes it from what the first part gives. */
async function secondPart({ first, taken, mangleCache }, words, css) {
  const contents = `import { learn } from "./model/words.ts";
import { more } from "./entry_more.ts";
learn(${JSON.stringify(words)});
export { more };`;
  const { outputFiles } = await build({
    ...ESBUILD,
    format: "iife",
    globalName: "MADE",
    stdin: { contents, resolveDir: join(HERE, "src"), loader: "ts" },
    mangleCache,
    plugins: [taking(taken, first), shrinking(words)],
  });
  const code = `export default BASE=>{${outputFiles[0].text};return MADE.more};export const css=${JSON.stringify(css)};`;
  return small(code);
}

async function main() {
  mkdirSync(STATIC, { recursive: true });
  const parts = await survey();
  const firstWords = neededWords(parts.first);
  const laterWords = Object.fromEntries(
    Object.entries(neededWords(parts.second)).filter(([key]) => !(key in firstWords)),
  );
  const [firstStyles, laterStyles] = await smallStyles(parts.first);
  const second = await secondPart(parts, laterWords, laterStyles);
  const name = createHash("sha256").update(second).digest("hex").slice(0, 16);
  const first = await firstPart(parts, name, firstWords);
  await exportedPage(parts);
  const products = {
    "widget.js": first,
    "widget.css": firstStyles,
    "more.js": `${second}export const made="${name}";`,
  };
  for (const [file, text] of Object.entries(products)) {
    writeFileSync(join(STATIC, file), text);
    console.log(line(file, text));
  }
  const counted = first + firstStyles;
  const total = Buffer.byteLength(counted);
  console.log(`${line("first part", counted)}  of at most ${format(BUDGET).trim()}`);
  console.log(`${line("second part", products["more.js"])}  sent when it is first needed, once in a page`);
  if (total > BUDGET) {
    console.error(`the first part is over its budget by ${format(total - BUDGET).trim()}`);
    process.exitCode = 1;
  }
}

function line(name, text) {
  return `${name.padEnd(12)} ${format(Buffer.byteLength(text))}  gzip ${format(gzipSync(text).length)}`;
}

/** Styles of both parts, with short variables. */
async function smallStyles(first) {
  const { code } = await transform(await styles(), { loader: "css", minify: true });
  const sources = [...first].filter((path) => path.endsWith(".ts"));
  const known = sources.map((path) => readFileSync(join(HERE, "src", path), "utf8")).join("\n");
  return splitRules(rulesOf(code), known, rulesOf, split).map((rules) =>
    nested(rules).replace(/--td-[a-z]+/g, shortVariable),
  );
}

/** Script and styles of an exported run: a file of its own, that no notebook carries. */
async function exportedPage({ page, mangleCache }) {
  const { outputFiles } = await build({
    ...ESBUILD,
    format: "iife",
    entryPoints: [join(HERE, "src", "entry_page.ts")],
    mangleCache,
    plugins: [shrinking(neededWords(page))],
  });
  const script = outputFiles[0].text.replaceAll("</script", "<\\/script").replaceAll("<!--", "<\\!--");
  const { code } = await transform(await styles(), { loader: "css", minify: true });
  const around = `html,body{margin:0;height:100%}body{padding:12px;box-sizing:border-box;background:#fff}body[data-theme="dark"],:root:has(.tiledag[data-scheme="dark"]) body{background:#1e1e1e}#tiledag{height:100%}#tiledag>.tiledag{height:100%}`;
  writeFileSync(join(STATIC, "page.js"), script);
  writeFileSync(join(STATIC, "page.css"), `${code.replace(/--td-[a-z]+/g, shortVariable)}\n${around}\n`);
}

function format(bytes) {
  return `${(bytes / 1000).toFixed(1).padStart(7)} kB`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
