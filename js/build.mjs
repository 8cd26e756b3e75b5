// Bundles the page side into ../tiledag_widget/static and prints what it weighs; fails when that is over the budget.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { build, transform } from "esbuild";

const HERE = dirname(fileURLToPath(import.meta.url));
const STATIC = join(HERE, "..", "tiledag_widget", "static");
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

export async function styles({ minify = true } = {}) {
  const text = `${await themeVariables()}\n${readFileSync(join(HERE, "src", "style.css"), "utf8")}`;
  return minify ? (await transform(text, { loader: "css", minify: true })).code : text;
}

async function main() {
  mkdirSync(STATIC, { recursive: true });
  const result = await build({
    entryPoints: [join(HERE, "src", "entry_widget.ts")],
    bundle: true,
    format: "esm",
    target: "es2022",
    minify: true,
    legalComments: "none",
    write: false,
    charset: "utf8",
  });
  const products = { "widget.js": result.outputFiles[0].text, "widget.css": await styles() };
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
    process.exitCode = 1;
  }
}

function format(bytes) {
  return `${(bytes / 1000).toFixed(1).padStart(7)} kB`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main();
