// Writes build/harness/index.html: the view on a fake kernel, in Lab's colours, for looking at and for pictures. With
// `--built` it is the bundle that users get (short names, see shrink.mjs), else the sources as they are.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { styles } from "../build.mjs";

const HERE = dirname(fileURLToPath(import.meta.url));
/** Where the page goes: a folder of one's own lets two people look at once. */
const OUT = process.env.TILEDAG_HARNESS ?? join(HERE, "..", "..", "build", "harness");

const LAB = `
body { margin: 16px; font: 13px system-ui, "DejaVu Sans"; background: var(--jp-layout-color1); }
body[data-jp-theme-light="true"] { --jp-layout-color1: #ffffff; --jp-ui-font-color0: rgba(0,0,0,1); --jp-border-color2: #e0e0e0; }
.jp-OutputArea-output dt { display: block; font-weight: bold; float: left; width: 20%; }
.jp-OutputArea-output dd { display: block; float: left; width: 80%; }
.jp-OutputArea-output :is(code, kbd, samp, pre) { font-family: monospace; font-size: 13px; }
body[data-jp-theme-light="false"] { --jp-layout-color1: #212121; --jp-ui-font-color0: rgba(255,255,255,1); --jp-border-color2: #424242; }
`;

const STATIC = process.env.TILEDAG_STATIC ?? join(HERE, "..", "..", "tiledag_widget", "static");
const isBuilt = process.argv.includes("--built");
const built = {
  name: "built",
  setup(build) {
    build.onResolve({ filter: /widget_here\.ts$/ }, () => ({ path: join(STATIC, "widget.js") }));
  },
};

mkdirSync(OUT, { recursive: true });
const { outputFiles } = await build({
  entryPoints: [join(HERE, "harness.ts")],
  bundle: true,
  format: "esm",
  target: "es2022",
  write: false,
  charset: "utf8",
  plugins: isBuilt ? [built] : [],
});
const css = isBuilt ? readFileSync(join(STATIC, "widget.css"), "utf8") : await styles();
const quoted = (text) => JSON.stringify(text).replaceAll("</", "<\\/").replaceAll("<!--", "<\\u0021--");
const page = `<!doctype html><html><head><meta charset="utf-8"><title>harness</title><style>${LAB}</style><style>${css}</style></head>
<body><script>window.more = ${isBuilt ? quoted(readFileSync(join(STATIC, "more.js"), "utf8")) : "undefined"}</script><div id="host" class="jp-OutputArea-output"></div><script type="module">${outputFiles[0].text.replaceAll("</script", "<\\/script")}</script></body></html>`;
writeFileSync(join(OUT, "index.html"), page);
