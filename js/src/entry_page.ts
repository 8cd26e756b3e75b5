// The page of an exported run: the saved source and one view of it. Nothing is asked of anybody.
import { more } from "./entry_more.ts";
import { present } from "./model/part.ts";
import { lensed } from "./sources/lensed.ts";
import { RecordedSource, type Saved } from "./sources/recorded.ts";
import { Details } from "./views/details.ts";
import { Shell } from "./views/shell.ts";

function start(): void {
  const host = document.querySelector<HTMLElement>("#tiledag");
  const data = document.querySelector("#tiledag-data")?.textContent;
  if (!host || !data) return;
  const life = new AbortController();
  const source = new RecordedSource(JSON.parse(data) as Saved);
  const own = lensed(source, life.signal);
  new Shell(host, own, new Details(own, life.signal), "page", life.signal, present(more));
  source.open();
}

start();
