// What the kernel knows of single nodes, asked for when somebody looks, kept until the node changes.
import { plain } from "../model/words.ts";
import { ERROR_CUT, type NodeDetail } from "../protocol.ts";
import type { Store } from "../model/store.ts";
import type { Source } from "../sources/source.ts";

interface Kept {
  key: string;
  detail: NodeDetail | null;
  error: string;
}

/** What tells of the present status of a node. */
const SECRET = {
  error_type: "",
  error_message: "",
  traceback: "",
  frames: [],
  attempts: [],
  blocker: null,
  result: "",
  rich: false,
};
const MOST_KEPT = 500;
const MOST_OPEN = 8;

/** What the kernel says of all failed nodes at once. */
export interface Failures {
  textOf(node: number): string;
}

export class Details {
  readonly source: Source;
  /** What has no store of its own. */
  readonly root: Details = this;
  failures: Failures | null = null;
  readonly signal: AbortSignal;
  private readonly kept = new Map<number, Kept>();
  private readonly listeners = new Set<() => void>();
  private open = 0;

  constructor(source: Source, signal: AbortSignal) {
    this.source = source;
    this.signal = signal;
  }

  /** The same for one view, without what its store keeps secret. */
  within(store: Store): Details {
    const own: Details = Object.create(this);
    const shown = (node: number, detail: NodeDetail | null): NodeDetail | null =>
      detail && store.isSecret(node) ? { ...detail, ...SECRET } : detail;
    own.of = (node) => shown(node, this.of(node));
    own.lastOf = (node) => shown(node, this.lastOf(node));
    own.messageOf = (node) => (store.isSecret(node) ? "" : this.messageOf(node));
    return own;
  }

  subscribe(listener: () => void, signal: AbortSignal): void {
    this.listeners.add(listener);
    signal.addEventListener("abort", () => this.listeners.delete(listener), { once: true });
  }

  /** The detail of the node as it is now, or null while it is unknown. */
  of(node: number): NodeDetail | null {
    const kept = this.kept.get(node);
    return kept && kept.key === this.key(node) ? kept.detail : null;
  }

  /** The last one known, even if the node has changed since. */
  lastOf(node: number): NodeDetail | null {
    return this.kept.get(node)?.detail ?? null;
  }

  /** The last one known, asked for if need be; null where none comes. */
  get(node: number): Promise<NodeDetail | null> {
    const known = this.lastOf(node);
    if (known) return Promise.resolve(known);
    return new Promise((resolve) => {
      const done = new AbortController();
      const look = (): void => {
        const detail = this.lastOf(node);
        if (!detail) this.want(node);
        if (!detail && !this.troubleOf(node) && this.canAsk()) return;
        done.abort();
        resolve(detail);
      };
      this.subscribe(look, AbortSignal.any([done.signal, this.signal]));
      look();
    });
  }

  /** Why there is none, in words; empty if there is or may be one. */
  troubleOf(node: number): string {
    const kept = this.kept.get(node);
    return kept?.key === this.key(node) ? kept.error : "";
  }

  /** Type of the exception of a failed node, where known. */
  errorOf(node: number): string {
    return this.of(node)?.error_type ?? "";
  }

  /** Type and message of the error of a failed node, cut: the same for every node, whoever has looked at which. */
  messageOf(node: number): string {
    const detail = this.of(node);
    if (!detail?.error_type) return this.failures?.textOf(node) ?? "";
    const text = detail.error_message ? `${detail.error_type}: ${detail.error_message}` : detail.error_type;
    return plain([...text.slice(0, 2 * ERROR_CUT)].slice(0, ERROR_CUT).join(""));
  }

  /** Ask, unless it is known or asked for. True if it asked. */
  want(node: number): boolean {
    const key = this.key(node);
    if (this.kept.get(node)?.key === key || this.open >= MOST_OPEN) return false;
    if (!this.canAsk()) return false;
    this.forgetOldest();
    const detail = this.kept.get(node)?.detail ?? null;
    this.kept.set(node, { key, detail: null, error: "" });
    this.open += 1;
    this.source
      .ask("node", node, this.signal)
      .then(
        (body) => this.kept.set(node, { key, detail: body as unknown as NodeDetail, error: "" }),
        (error: unknown) =>
          this.kept.set(node, { key, detail, error: error instanceof Error ? error.message : String(error) }),
      )
      .finally(() => {
        this.open -= 1;
        this.tell();
      });
    return true;
  }

  tell(): void {
    if (!this.signal.aborted) for (const listener of [...this.listeners]) listener();
  }

  /** After a new connection what failed is asked for again. */
  forgetTrouble(): void {
    for (const [node, kept] of this.kept) if (kept.error) this.kept.delete(node);
  }

  canAsk(): boolean {
    const { state, why } = this.source.connection;
    return !this.signal.aborted && (state !== "detached" || why === "saved");
  }

  private key(node: number): string {
    const { store } = this.source;
    return `${store.epoch}.${store.status[node] ?? 0}.${store.attempt[node] ?? 0}`;
  }

  private forgetOldest(): void {
    if (this.kept.size < MOST_KEPT) return;
    const oldest = this.kept.keys().next().value;
    if (oldest !== undefined) this.kept.delete(oldest);
  }
}
