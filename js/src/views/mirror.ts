// Marks in words: for the tooltip, and as elements that a screen reader can be pointed at.
import { blockerOf, effect, ranFor, URGENCY } from "../model/derive.ts";
import { isSlow } from "../model/left.ts";
import { STATUS_COUNT, type Store } from "../model/store.ts";
import { count, duration, middle, plain, say } from "../model/words.ts";
import { STATUS_WORDS, Status } from "../protocol.ts";
import { waitingWords } from "../render/scene.ts";
import type { Details } from "./details.ts";
import { element, fill, set } from "./dom.ts";

export const LONGEST_NAME = 300;
const MOST_NEAR = 12;

export function isCard(store: Store, mark: number): boolean {
  return store.picture?.marks.kind[mark] === "card";
}

export function firstOf(store: Store, mark: number): number {
  return store.picture?.marks.first[mark] ?? 0;
}

/** What a mark is called on screen. */
export function nameOf(store: Store, mark: number): string {
  const own = isCard(store, mark) ? store.nameOf(firstOf(store, mark)) : (store.picture?.marks.name[mark] ?? "");
  return middle(plain(own), LONGEST_NAME);
}

/** A mark in a sentence. */
export function describeMark(store: Store, details: Details, mark: number): string {
  if (isCard(store, mark)) return describeNode(store, details, firstOf(store, mark));
  const base = mark * STATUS_COUNT;
  const parts = URGENCY.filter((status) => (store.markCounts[base + status] ?? 0) > 0).map(
    (status) => `${count(store.markCounts[base + status] ?? 0)} ${STATUS_WORDS[status] ?? ""}`,
  );
  return `${say("aria.nodes", { n: store.picture?.marks.size[mark] ?? 0 })}: ${parts.join(", ")}`;
}

export function describeNode(store: Store, details: Details, node: number): string {
  const status = store.status[node] ?? 0;
  const parts = [STATUS_WORDS[status] ?? ""];
  const attempt = store.attempt[node] ?? 0;
  if (attempt > 1) parts.push(say("aria.attempt", { n: attempt }));
  const took = ranFor(store, node);
  if (!Number.isNaN(took)) parts.push(duration(took));
  if (isSlow(store, node)) parts.push(say("detail.slow"));
  const error = details.errorOf(node);
  if (status === Status.FAILED && error) parts.push(plain(error));
  const blocked = status === Status.FAILED ? effect(store, "retry", [node]).follow.length : 0;
  if (blocked > 0) parts.push(say("detail.blocks", { n: blocked }));
  const blocker = status === Status.PARENT_FAILED ? blockerOf(store, node) : -1;
  if (blocker >= 0) parts.push(say("detail.blocked_by", { name: plain(store.nameOf(blocker)) }));
  if (status === Status.NOT_STARTED && store.run?.started != null) parts.push(waitingWords(store, node));
  return parts
    .filter(Boolean)
    .map((part) => middle(part, LONGEST_NAME))
    .join(", ");
}

/** The focused mark, its neighbours, and the tile under the keyboard. */
export class Mirror {
  readonly root = element("div.td-mirror");
  private readonly viewport: HTMLElement;
  private readonly details: Details;
  private readonly prefix: string;

  constructor(viewport: HTMLElement, details: Details, prefix: string) {
    this.viewport = viewport;
    this.details = details;
    this.prefix = prefix;
    this.root.dataset.prefix = prefix;
  }

  show(store: Store, focused: number, node: number): void {
    const edges = store.picture?.edges;
    if (!edges || focused < 0) {
      fill(this.root);
      set(this.viewport, { "aria-activedescendant": null });
      return;
    }
    const near = new Map([[focused, 0]]);
    edges.source.forEach((source, edge) => {
      const target = edges.target[edge] ?? 0;
      const other = source === focused ? target : target === focused ? source : -1;
      if (other < 0 || (near.size >= MOST_NEAR && !near.has(other))) return;
      near.set(other, (near.get(other) ?? 0) + (edges.count[edge] ?? 1));
    });
    const item = (id: string, text: string): HTMLElement =>
      element("div", { id: `${this.prefix}-${id}`, role: "img", "aria-label": text }, text);
    const items = [...near].map(([mark, count]) => {
      const words = [nameOf(store, mark), describeMark(store, this.details, mark)];
      if (count > 1) words.push(say("aria.edges", { n: count }));
      return item(String(mark), words.join(", "));
    });
    if (node >= 0) {
      const name = middle(plain(store.nameOf(node)), LONGEST_NAME);
      items.push(item("tile", `${name}, ${describeNode(store, this.details, node)}`));
    }
    fill(this.root, ...items);
    set(this.viewport, { "aria-activedescendant": `${this.prefix}-${node >= 0 ? "tile" : focused}` });
  }
}
