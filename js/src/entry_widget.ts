// What anywidget loads: one source and store per model, a shell per view. Nothing happens before it is called.
import { CommSource, type CommModel, makeId } from "./sources/comm.ts";
import { lensed } from "./sources/lensed.ts";
import { Browser } from "./views/browser.ts";
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

/** Runs on record: questions and answers on the model that the opened run's view uses, too. */
function showRuns(model: CommModel, el: HTMLElement, outer?: AbortSignal): () => void {
  const life = new AbortController();
  const end = (): void => life.abort();
  outer?.addEventListener("abort", end, { once: true });
  const waiting = new Map<string, (reply: RunsReply) => void>();
  const hear = (reply: RunsReply): void => {
    if (reply?.type !== "runs") return;
    waiting.get(reply.id)?.(reply);
    waiting.delete(reply.id);
  };
  model.on("msg:custom", hear);
  life.signal.addEventListener("abort", () => model.off("msg:custom", hear), { once: true });
  new Browser(
    el,
    {
      ask: (kind, about) =>
        new Promise((resolve, reject) => {
          const id = makeId();
          waiting.set(id, (reply) => (reply.error ? reject(new Error(reply.error)) : resolve(reply)));
          model.send({ ...about, kind, id });
        }),
      show: (place, signal) => {
        const source = new CommSource(model);
        signal.addEventListener("abort", () => source.close(), { once: true });
        new Shell(place, lensed(source, signal), new Details(source, signal), makeId().slice(0, 8), signal);
        source.open();
      },
    },
    life.signal,
  );
  return end;
}

interface RunsReply {
  type: string;
  id: string;
  error: string;
  found: unknown;
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
      if (model.get("kind") === "runs") return () => undefined;
      const { source } = start(model);
      signal?.addEventListener("abort", () => source.close(), { once: true });
      return () => source.close();
    },

    render({ model, el, signal }: Render): () => void {
      if (model.get("kind") === "runs") return showRuns(model, el, signal);
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
