// What anywidget loads: one source and store per model, a shell per view. Nothing happens before it is called.
import { CommSource, type CommModel, makeId } from "./sources/comm.ts";
import { lensed } from "./sources/lensed.ts";
import { Details } from "./views/details.ts";
import { Shell } from "./views/shell.ts";

interface Initialize {
  model: CommModel;
  signal?: AbortSignal;
}

interface Render extends Initialize {
  el: HTMLElement;
}

interface Live {
  source: CommSource;
  details: Details;
}

export default () => {
  let live: Live | null = null;

  function start(model: CommModel): Live {
    const source = new CommSource(model);
    const made = { source, details: new Details(source, source.signal) };
    source.signal.addEventListener("abort", () => {
      if (live === made) live = null;
    });
    live = made;
    return made;
  }

  return {
    initialize({ model, signal }: Initialize): () => void {
      const { source } = start(model);
      signal?.addEventListener("abort", () => source.close(), { once: true });
      return () => source.close();
    },

    render({ model, el, signal }: Render): () => void {
      const { source, details } = live ?? start(model);
      const life = new AbortController();
      const end = (): void => life.abort();
      signal?.addEventListener("abort", end, { once: true });
      source.signal.addEventListener("abort", end, { once: true });
      new Shell(el, lensed(source, life.signal), details, makeId().slice(0, 8), life.signal);
      source.open();
      return end;
    },
  };
};
