// The inspector's overview of a node: what it is, what it got and gave, and what it stands between.
import { blockerOf, ranFor, URGENCY } from "../model/derive.ts";
import { waitedFor } from "../model/filter.ts";
import type { Focus } from "../model/focus.ts";
import type { Store } from "../model/store.ts";
import { count, duration, say } from "../model/words.ts";
import { type NodeDetail, NO_SLOT, type Preview, STATUS_WORDS, Status } from "../protocol.ts";
import type { Source } from "../sources/source.ts";
import type { Details } from "./details.ts";
import { button, element, fill } from "./dom.ts";
import { copyRow, facts, nodeLink, section, timeElement } from "./inspector_parts.ts";
import { Rich } from "./rich.ts";

const MOST_LINKS = 12;
const SLOW_MS = 50;

export class Overview {
  private readonly panel: HTMLElement;
  private readonly source: Source;
  private readonly store: Store;
  private readonly focus: Focus;
  private readonly details: Details;
  private readonly does: { reveal(node: number): void; changed(): void };
  private readonly signal: AbortSignal;
  private readonly previews = new Map<string, { text: string; isBusy: boolean }>();
  private readonly body = element("div.td-stack");
  /** Beside the rest: a frame that is moved begins anew. */
  private readonly rich: Rich;

  constructor(
    panel: HTMLElement,
    source: Source,
    focus: Focus,
    details: Details,
    does: { reveal(node: number): void; changed(): void },
    signal: AbortSignal,
  ) {
    this.panel = panel;
    this.source = source;
    this.store = source.store;
    this.focus = focus;
    this.details = details;
    this.does = does;
    this.signal = signal;
    this.rich = new Rich(source, signal);
  }

  /** Another one when it has to be shown anew, beside what the store says. */
  get key(): string {
    return [...this.previews].map(([key, value]) => `${key}${value.isBusy}`).join();
  }

  /** All of it, in the panel. */
  show(node: number, detail: NodeDetail | null, trouble: HTMLElement, signal: AbortSignal): void {
    const { store } = this;
    const known = detail ?? this.details.lastOf(node);
    const { root } = this.rich;
    const isMoved = root.parentElement !== this.panel;
    if (isMoved) fill(this.panel, this.body, root);
    const isRich = store.status[node] === Status.COMPLETED && (known?.rich ?? false);
    this.rich.show(node, this.resultKey(node), isRich, isMoved);
    fill(
      this.body,
      this.blockedBy(node, signal),
      facts([
        [say("inspector.function"), known ? element("code", {}, known.function) : null],
        [say("inspector.mode"), known?.mode],
        [say("inspector.resource_class"), known?.resource_class],
        ...this.timings(node),
      ]),
      known ? null : trouble,
      known ? this.argumentList(known, signal) : null,
      this.links(say("inspector.parents"), store.parentsOf(node), signal),
      this.links(say("inspector.children"), store.childrenOf(node), signal),
      copyRow(store, this.focus, known?.reference ?? "", signal),
      this.result(node, detail, signal),
    );
  }

  private blockedBy(node: number, signal: AbortSignal): HTMLElement | null {
    const { store } = this;
    if (store.status[node] !== Status.PARENT_FAILED) return null;
    const blocker = this.details.of(node)?.blocker ?? blockerOf(store, node);
    if (blocker === null || blocker < 0) return null;
    const fine = [...store.parentsOf(node)].filter((each) => store.status[each] === Status.COMPLETED).length;
    return element(
      "div.td-blocked",
      {},
      element("span", {}, `${say("inspector.blocked_by")} `),
      this.linkTo(blocker, signal),
      element("span", {}, ` (${STATUS_WORDS[store.status[blocker] ?? 0] ?? ""}). `),
      fine > 0 ? element("span", {}, say("inspector.others_completed", { n: fine })) : null,
    );
  }

  private timings(node: number): [string, string | HTMLElement | null][] {
    const { store } = this;
    const zero = store.run?.started ?? null;
    const started = store.started[node] ?? Number.NaN;
    const ended = store.ended[node] ?? Number.NaN;
    const rows: [string, string | HTMLElement | null][] = [];
    if (Number.isNaN(started) || zero === null) return rows;
    const waited = waitedFor(store, node);
    if (waited >= 0) rows.push([say("inspector.waited"), duration(waited)]);
    const took = ranFor(store, node);
    if (!Number.isNaN(took)) rows.push([say("inspector.ran"), duration(took)]);
    rows.push([say("inspector.started"), timeElement(zero + started, store.now())]);
    if (!Number.isNaN(ended)) rows.push([say("inspector.ended"), timeElement(zero + ended, store.now())]);
    const slot = store.slot[node] ?? NO_SLOT;
    if (slot !== NO_SLOT) rows.push([say("inspector.slot"), count(slot + 1)]);
    return rows;
  }

  private argumentList(detail: NodeDetail, signal: AbortSignal): HTMLElement {
    const rows = detail.arguments.map((each) =>
      element(
        "div.td-argument",
        {},
        element("span.td-argname", {}, each.name),
        element("span.td-argtype", {}, each.type),
        each.node === null
          ? element("code.td-argvalue", { title: each.value }, each.value)
          : element("span.td-argvalue", {}, this.linkTo(each.node, signal)),
      ),
    );
    const none = element("span.td-quiet", {}, say("inspector.no_arguments"));
    const list = rows.length > 0 ? element("div.td-arguments", {}, ...rows) : none;
    return section(say("inspector.arguments"), detail.arguments.length, list);
  }

  private links(title: string, nodes: Uint32Array, signal: AbortSignal): HTMLElement | null {
    if (nodes.length === 0) return null;
    const { store } = this;
    const rank = (node: number): number => URGENCY.indexOf(store.status[node] ?? 0);
    const sorted = nodes.length > 5000 ? [...nodes.subarray(0, 5000)] : [...nodes];
    sorted.sort((a, b) => rank(a) - rank(b) || a - b);
    const rest = nodes.length - Math.min(MOST_LINKS, sorted.length);
    return section(
      title,
      nodes.length,
      element(
        "div.td-links",
        {},
        ...sorted.slice(0, MOST_LINKS).map((node) => this.linkTo(node, signal)),
        rest > 0 ? element("span.td-quiet", {}, say("inspector.and_more", { n: rest })) : null,
      ),
    );
  }

  private result(node: number, detail: NodeDetail | null, signal: AbortSignal): HTMLElement | null {
    if (this.store.status[node] !== Status.COMPLETED) return null;
    const key = this.resultKey(node);
    const own = this.previews.get(key);
    const kind = detail?.result ? element("div.td-quiet", {}, detail.result) : null;
    if (own) {
      const body = own.isBusy
        ? element("p.td-quiet", {}, own.text)
        : element("pre.td-pre.is-wrapped", { tabindex: 0 }, own.text);
      return section(say("inspector.result"), null, kind, body);
    }
    const show = button(say("inspector.show_result"), () => this.preview(node, key), signal, { className: "is-small" });
    if (this.source.connection.state === "detached") show.setBlocked(say("blocked.detached"));
    return section(say("inspector.result"), null, kind, show.root);
  }

  private resultKey(node: number): string {
    return `${node}.${this.store.attempt[node] ?? 0}`;
  }

  private preview(node: number, key: string): void {
    const put = (text: string, isBusy: boolean): void => {
      if (this.signal.aborted) return;
      this.previews.set(key, { text, isBusy });
      this.does.changed();
    };
    put("…", true);
    const slow = setTimeout(() => put(say("inspector.computing"), true), SLOW_MS);
    this.source
      .ask("preview", node, this.signal)
      .then(
        (body) => {
          const made = body as unknown as Preview;
          const head = [made.type, made.size].filter(Boolean).join(" · ");
          put([head, made.text].filter(Boolean).join("\n"), false);
        },
        (error: unknown) => {
          this.previews.delete(key);
          put(error instanceof Error ? error.message : String(error), false);
        },
      )
      .finally(() => clearTimeout(slow));
  }

  private linkTo(node: number, signal: AbortSignal): HTMLElement {
    return nodeLink(this.store, node, (each) => this.does.reveal(each), signal);
  }
}
