// Bundles the page side into ../tiledag_widget/static and prints what it weighs; fails when that is over the budget.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build, transform } from "esbuild";
import { minify } from "terser";
import { nested, shortVariable, shrinking } from "./shrink.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
const STATIC = join(HERE, "..", "tiledag_widget", "static");
const BUDGET = 150_000;
const WHILE_IT_GROWS = 0;

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

async function smallStyles() {
  const { code } = await transform(await styles(), { loader: "css", minify: true });
  return nested(code).replace(/--td-[a-z]+/g, shortVariable);
}

async function main() {
  mkdirSync(STATIC, { recursive: true });
  await exportedPage();
  const result = await build({
    entryPoints: [join(HERE, "src", "entry_widget.ts")],
    bundle: true,
    format: "esm",
    target: "es2022",
    minify: true,
    legalComments: "none",
    write: false,
    charset: "utf8",
    plugins: [shrinking],
    define: { "Number.isNaN": "isNaN", "Number.NaN": "NaN", "Number.POSITIVE_INFINITY": "Infinity" },
  });
  // A second look after esbuild's, which does not inline across statements.
  const { code } = await minify(result.outputFiles[0].text, {
    module: true,
    ecma: 2022,
    compress: { passes: 3, pure_getters: true, unsafe_arrows: true, hoist_props: true, keep_fargs: false },
    format: { comments: false },
  });
  const products = { "widget.js": code, "widget.css": await smallStyles() };
  let total = 0;
  for (const [name, text] of Object.entries(products)) {
    writeFileSync(join(STATIC, name), text);
    const bytes = Buffer.byteLength(text);
    total += bytes;
    console.log(`${name.padEnd(12)} ${format(bytes)}  gzip ${format(gzipSync(text).length)}`);
  }
  console.log(`${"together".padEnd(12)} ${format(total)}  of ${format(BUDGET)}`);
  if (total > BUDGET) {
    console.error(`over the budget by ${format(total - BUDGET).trim()}`);
    if (process.env.TILEDAG_BUDGET !== "warn") process.exitCode = WHILE_IT_GROWS;
  }
}

/** Script and styles of an exported run: a file of its own, that no notebook carries. */
async function exportedPage() {
  const result = await build({
    entryPoints: [join(HERE, "src", "entry_page.ts")],
    bundle: true,
    format: "iife",
    target: "es2022",
    minify: true,
    legalComments: "none",
    write: false,
    charset: "utf8",
  });
  const script = result.outputFiles[0].text.replaceAll("</script", "<\\/script").replaceAll("<!--", "<\\!--");
  const page = `html,body{margin:0;height:100%}body{padding:12px;box-sizing:border-box;background:#fff}body[data-theme="dark"],:root:has(.tiledag[data-scheme="dark"]) body{background:#1e1e1e}#tiledag{height:100%}#tiledag>.tiledag{height:100%}`;
  writeFileSync(join(STATIC, "page.js"), script);
  writeFileSync(join(STATIC, "page.css"), `${await styles()}\n${page}\n`);
}

function format(bytes) {
  return `${(bytes / 1000).toFixed(1).padStart(7)} kB`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
