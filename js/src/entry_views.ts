// What anywidget calls: one source and store per model, a shell per view. Nothing happens before it is called.
import type { CodePart } from "./protocol.ts";
import type { Carrier } from "./sources/code.ts";
import { type CommModel, CommSource, makeId, toView } from "./sources/comm.ts";
import { lensed } from "./sources/lensed.ts";
import type { RunsHost } from "./views/browser.ts";
import { Details } from "./views/details.ts";
import { element } from "./views/dom.ts";
import type { Later } from "./views/more.ts";
import { Shell } from "./views/shell.ts";
import { Waiting } from "./views/waiting.ts";

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
  later: Later;
}

/** Makes what brings the second part of the bundle. */
export type Fetch = (carrier: Carrier, signal: AbortSignal) => Later;

/** Runs on record: questions and answers on the model that the opened run's view uses, too. */
function showRuns(model: CommModel, el: HTMLElement, fetch: Fetch, outer?: AbortSignal): () => void {
  const life = new AbortController();
  const end = (): void => life.abort();
  outer?.addEventListener("abort", end, { once: true, signal: life.signal });
  const waiting = new Map<string, (reply: RunsReply) => void>();
  const hear = (reply: RunsReply): void => {
    if (reply?.type !== "runs") return;
    waiting.get(reply.id)?.(reply);
    waiting.delete(reply.id);
  };
  model.on("msg:custom", hear);
  life.signal.addEventListener("abort", () => model.off("msg:custom", hear), { once: true });
  const later = fetch(carrierOf(model), life.signal);
  const place = element("div.tiledag.td-runs", {}, new Waiting(later, life.signal).root);
  const host: RunsHost = {
    ask: (kind, about) =>
      new Promise((resolve, reject) => {
        const id = makeId();
        waiting.set(id, (reply) => (reply.error ? reject(new Error(reply.error)) : resolve(reply)));
        model.send({ ...about, kind, id });
      }),
    show: (place, signal) => {
      const source = new CommSource(model);
      signal.addEventListener("abort", () => source.close(), { once: true });
      new Shell(place, lensed(source, signal), new Details(source, signal), makeId().slice(0, 8), signal, later);
      source.open();
    },
  };
  const arrived = (): void => {
    if (!later.now || life.signal.aborted) return;
    place.remove();
    new later.now.Browser(el, host, life.signal);
  };
  later.subscribe(arrived, life.signal);
  life.signal.addEventListener("abort", () => place.remove(), { once: true });
  if (!later.now) el.append(place);
  arrived();
  later.want();
  return end;
}

interface RunsReply {
  type: string;
  id: string;
  error: string;
  found: unknown;
}

/** A model without a source of its own. */
function carrierOf(model: CommModel): Carrier {
  let isGone = false;
  return {
    send: (request) => model.send(request),
    listen: (hear, signal) => {
      const heard = (content: CodePart, buffers: readonly DataView[]): void => {
        if (content?.type === "code") hear(content, buffers.map(toView));
      };
      model.on("msg:custom", heard);
      signal.addEventListener("abort", () => model.off("msg:custom", heard), { once: true });
    },
    watch: (gone, signal) => {
      const closed = (): void => {
        isGone = true;
        gone();
      };
      model.on("comm:close", closed);
      signal.addEventListener("abort", () => model.off("comm:close", closed), { once: true });
    },
    canAsk: () => !isGone,
  };
}

/** What anywidget asks a module for. */
export const widgetOf = (fetch: Fetch) => () => {
  let live: Live | null = null;

  function start(model: CommModel): Live {
    const source = new CommSource(model);
    const made = { source, details: new Details(source, source.signal), later: fetch(source.carrier(), source.signal) };
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
      if (model.get("kind") === "runs") return showRuns(model, el, fetch, signal);
      const { source, details, later } = live ?? start(model);
      const life = new AbortController();
      const end = (): void => life.abort();
      signal?.addEventListener("abort", end, { once: true, signal: life.signal });
      source.signal.addEventListener("abort", end, { once: true, signal: life.signal });
      new Shell(el, lensed(source, life.signal), details, makeId().slice(0, 8), life.signal, later);
      source.open();
      return end;
    },
  };
};
