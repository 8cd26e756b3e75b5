// The second part of the bundle, from the kernel: asked for once in a page, kept for all its views and graphs.
//
// It is loaded as the host loads the first part, from a blob, so it needs no wider policy than that.
import type { Part } from "../model/part.ts";
import { inflate } from "../model/store.ts";
import { say } from "../model/words.ts";
import type { CodePart, Request } from "../protocol.ts";
import { makeId } from "./comm.ts";

/** What a part is fetched by. */
export interface Carrier {
  send(request: Request): void;
  /** Calls `hear` with every message that brings code. */
  listen(hear: (content: CodePart, buffers: readonly DataView[]) => void, signal: AbortSignal): void;
  /** Calls `gone` when nobody will answer. */
  watch(gone: () => void, signal: AbortSignal): void;
  /** False where nobody would answer now. */
  canAsk(): boolean;
}

interface Loaded {
  readonly default: (base: readonly unknown[]) => unknown;
  readonly css: string;
  readonly made: string;
}

/** By the name of the code, in every window. Other graphs have a first part of their own, but this is theirs, too. */
const KEPT = Symbol.for("tiledag_widget.parts");
/** An event of the page by the name of the code: a part has come, also for those to whom none could be brought. */
const CAME = "tiledag-part-";
/** For as long one view waits for what another one asked for. */
const PATIENCE_MS = 4000;

type Kept = Map<string, Promise<Loaded>>;

function kept(): Kept {
  const page = globalThis as { [KEPT]?: Kept };
  page[KEPT] ??= new Map();
  return page[KEPT];
}

export class FetchedPart<T> implements Part<T> {
  now: T | null = null;
  trouble = "";
  private readonly name: string;
  private readonly base: readonly unknown[];
  private readonly carrier: Carrier;
  private readonly signal: AbortSignal;
  private readonly listeners = new Set<() => void>();
  private isAsked = false;

  constructor(name: string, base: readonly unknown[], carrier: Carrier, signal: AbortSignal) {
    this.name = name;
    this.base = base;
    this.carrier = carrier;
    this.signal = signal;
    const again = (): void => {
      if (this.trouble) this.want();
    };
    addEventListener(CAME + name, again, { signal });
  }

  want(): void {
    if (this.isAsked || this.now || this.signal.aborted) return;
    this.isAsked = true;
    this.trouble = "";
    this.changed();
    this.load().then(
      (loaded) => {
        this.now = loaded.default(this.base) as T;
        this.changed();
      },
      (error: unknown) => {
        this.isAsked = false;
        const reason = error instanceof Error ? error.message : String(error);
        this.trouble = say("waiting.failed", { reason });
        this.changed();
      },
    );
  }

  subscribe(listener: () => void, signal: AbortSignal): void {
    this.listeners.add(listener);
    signal.addEventListener("abort", () => this.listeners.delete(listener), { once: true });
  }

  private changed(): void {
    if (!this.signal.aborted) for (const listener of [...this.listeners]) listener();
  }

  private async load(): Promise<Loaded> {
    const others = kept().get(this.name);
    if (others) {
      // Whoever asked may have gone, or its kernel may be busy.
      const found = await Promise.race([others.catch(() => null), patience()]);
      if (found) return found;
    }
    if (!this.carrier.canAsk()) throw new Error(say("connection.cannot"));
    const own = this.fetch().then((text) => adopt(text, this.name));
    kept().set(this.name, own);
    const { name } = this;
    own
      .then(() => dispatchEvent(new Event(CAME + name)))
      .catch(() => {
        if (kept().get(this.name) === own) kept().delete(this.name);
      });
    return own;
  }

  private async fetch(): Promise<string> {
    const done = new AbortController();
    const signal = AbortSignal.any([done.signal, this.signal]);
    const id = makeId();
    try {
      const deflated = await new Promise<Uint8Array>((resolve, reject) => {
        const refuse = (): void => reject(new Error(say("connection.cannot")));
        this.signal.addEventListener("abort", refuse, { once: true, signal: done.signal });
        const parts = new Map<number, DataView>();
        this.carrier.listen((content, buffers) => {
          if (content.type !== "code" || content.id !== id || !buffers[0]) return;
          parts.set(content.part, buffers[0]);
          if (parts.size === content.of) resolve(joined(parts));
        }, signal);
        this.carrier.watch(refuse, signal);
        this.carrier.send({ id, kind: "code" });
      });
      return new TextDecoder().decode(await inflate(deflated));
    } finally {
      done.abort();
    }
  }
}

function joined(parts: ReadonlyMap<number, DataView>): Uint8Array {
  const all = [...parts].sort(([a], [b]) => a - b).map(([, part]) => part);
  const whole = new Uint8Array(all.reduce((sum, part) => sum + part.byteLength, 0));
  let at = 0;
  for (const part of all) {
    whole.set(new Uint8Array(part.buffer, part.byteOffset, part.byteLength), at);
    at += part.byteLength;
  }
  return whole;
}

function patience(): Promise<null> {
  return new Promise((done) => setTimeout(() => done(null), PATIENCE_MS));
}

async function adopt(text: string, name: string): Promise<Loaded> {
  const address = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  try {
    const loaded = (await import(/* @vite-ignore */ address)) as Loaded;
    if (loaded.made !== name) throw new Error(say("waiting.other"));
    const style = document.createElement("style");
    style.textContent = loaded.css;
    document.head.append(style);
    return loaded;
  } finally {
    URL.revokeObjectURL(address);
  }
}
