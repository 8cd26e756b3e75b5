// The errors of all failed nodes, asked for in one question: what is found or counted by them must not depend on which
// nodes somebody has looked at.
import { asideOf } from "../model/aside.ts";
import { plain } from "../model/words.ts";
import { type Errors, Status } from "../protocol.ts";
import type { Details } from "./details.ts";

/** They are asked for this often at most while nodes fail; less often where the answer takes its time or does not come. */
const AGAIN_MS = 1000;
const SHARE = 10;
const LOST_MS = 30_000;

class AllFailures {
  /** Changes when texts have come, or will not come. */
  version = 0;
  private readonly details: Details;
  /** By node: the attempt that failed, and its error. */
  private readonly known = new Map<number, { attempt: number; text: string }>();
  private nextAt = 0;
  private wait = AGAIN_MS;
  private isAsking = false;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(details: Details) {
    this.details = details;
    details.signal.addEventListener("abort", () => clearTimeout(this.timer), { once: true });
  }

  textOf(node: number): string {
    const { status, attempt } = this.details.source.store;
    const known = this.known.get(node);
    return known && status[node] === Status.FAILED && known.attempt === attempt[node] ? known.text : "";
  }

  /** Ask, if there is a failed node whose error is not known. */
  want(): void {
    if (this.isAsking || this.timer !== undefined || !this.details.canAsk() || !this.isLacking()) return;
    const wait = this.nextAt - Date.now();
    if (wait > 0) {
      this.timer = setTimeout(() => {
        this.timer = undefined;
        this.want();
      }, wait);
      return;
    }
    const askedAt = Date.now();
    this.isAsking = true;
    this.ask(AbortSignal.any([this.details.signal, AbortSignal.timeout(LOST_MS)]))
      .then(
        () => SHARE * (Date.now() - askedAt),
        () => 2 * this.wait,
      )
      .then((wait) => {
        this.wait = Math.min(LOST_MS, Math.max(AGAIN_MS, wait));
        this.nextAt = Date.now() + this.wait;
        this.isAsking = false;
        this.version += 1;
        this.details.tell();
      });
  }

  private isLacking(): boolean {
    const { store } = this.details.source;
    return store.status.some(
      (status, node) => status === Status.FAILED && this.known.get(node)?.attempt !== store.attempt[node],
    );
  }

  private async ask(signal: AbortSignal): Promise<void> {
    const { source } = this.details;
    const { store } = source;
    const failed: [number, number][] = [];
    store.status.forEach((status, node) => {
      if (status === Status.FAILED) failed.push([node, store.attempt[node] ?? 0]);
    });
    const { number } = (await source.ask("errors", 0, signal)) as { number: number };
    const bytes = await asideOf(store, number, signal);
    const { texts, nodes, of }: Errors = JSON.parse(new TextDecoder().decode(bytes));
    const shown = texts.map(plain);
    const found = new Map(nodes.map((node, at) => [node, shown[of[at] ?? 0] ?? ""]));
    for (const [node, attempt] of failed) this.known.set(node, { attempt, text: found.get(node) ?? "" });
  }
}

const kept = new WeakMap<Details, AllFailures>();

/** Those of a graph: one for all that look at it by the same way. */
export function failuresOf({ root }: Details): AllFailures {
  const known = kept.get(root) ?? new AllFailures(root);
  kept.set(root, known);
  root.failures = known;
  return known;
}
