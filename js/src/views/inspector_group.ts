// The inspector of a stack or of several nodes: what failed in it, what took long, and all of it as a list.
import { ranFor, URGENCY } from "../model/derive.ts";
import { matches } from "../model/filter.ts";
import type { Focus } from "../model/focus.ts";
import type { Store } from "../model/store.ts";
import { readyAt } from "../model/timeline.ts";
import { duration, say } from "../model/words.ts";
import { Status } from "../protocol.ts";
import type { Details } from "./details.ts";
import { button, element, fill, on } from "./dom.ts";
import { copyRow, nodeLink, section } from "./inspector_parts.ts";

const MOST_LINKS = 12;
const MOST_ROWS = 40;
const MOST_ERRORS = 40;
const SLOWEST = 5;
const MOST_WHY = 20_000;

export class GroupPanel {
  private readonly panel: HTMLElement;
  private readonly store: Store;
  private readonly focus: Focus;
  private readonly details: Details;
  private readonly reveal: (node: number) => void;
  private rows = MOST_ROWS;
  private filter = "";

  constructor(panel: HTMLElement, store: Store, focus: Focus, details: Details, reveal: (node: number) => void) {
    this.panel = panel;
    this.store = store;
    this.focus = focus;
    this.details = details;
    this.reveal = reveal;
  }

  /** Other nodes: from the top. */
  begin(): void {
    this.rows = MOST_ROWS;
    this.filter = "";
  }

  /** Another one when it has to be shown anew, beside what the store says. */
  get key(): string {
    return `${this.rows}|${this.focus.state.filter}|${this.store.whyOf !== null}`;
  }

  show(members: readonly number[], failed: readonly number[], signal: AbortSignal): void {
    const { panel } = this;
    const isTyping = panel.contains(document.activeElement) && document.activeElement instanceof HTMLInputElement;
    const scroll = panel.scrollTop;
    const input = element("input.td-input", {
      type: "search",
      placeholder: say("inspector.filter_members"),
      "aria-label": say("inspector.filter_members"),
      spellcheck: "false",
    });
    input.value = this.filter;
    const list = element("div.td-members");
    on(input, "input", signal, () => {
      this.filter = input.value;
      this.rows = MOST_ROWS;
      this.showMembers(list, members, signal);
    });
    fill(
      panel,
      this.waiting(members),
      this.failures(failed, signal),
      this.slowest(members, signal),
      copyRow(this.store, this.focus, "", signal),
      section(say("inspector.all_members"), members.length, members.length > 8 ? input : null, list),
    );
    this.showMembers(list, members, signal);
    panel.scrollTop = scroll;
    if (isTyping) input.focus();
  }

  /** Of those that have not started: how many could, and how many wait for others. With the switch for it only. */
  private waiting(members: readonly number[]): HTMLElement | null {
    const { store } = this;
    if (!store.whyOf) return null;
    const waiting = members.slice(0, MOST_WHY).filter((node) => store.status[node] === Status.NOT_STARTED);
    if (waiting.length === 0) return null;
    const ready = waiting.filter((node) => !Number.isNaN(readyAt(store, node)));
    const [first] = ready.length > 0 ? ready : waiting;
    const why = store.whyOf(first ?? 0);
    const values = { n: waiting.length, ready: ready.length, others: waiting.length - ready.length };
    return element(
      "div.td-why",
      {},
      element("div", {}, say("why.group", values)),
      ready.length > 0 && why ? element("div.td-quiet", {}, why) : null,
    );
  }

  private failures(failed: readonly number[], signal: AbortSignal): HTMLElement | null {
    if (failed.length === 0) return null;
    const groups = new Map<string, number[]>();
    for (const node of failed) {
      const message = this.details.messageOf(node);
      const list = groups.get(message);
      if (list) list.push(node);
      else groups.set(message, [node]);
    }
    const sorted = [...groups].sort((a, b) => Number(a[0] === "") - Number(b[0] === "") || b[1].length - a[1].length);
    const rows = sorted
      .slice(0, MOST_ERRORS)
      .map(([message, nodes]) =>
        element(
          "div.td-failure",
          {},
          message
            ? element(
                "div.td-failuretext",
                { title: message },
                element("span.td-strong", {}, `${say("inspector.times", { n: nodes.length })} `),
                message,
              )
            : null,
          element(
            "div.td-links",
            {},
            ...nodes.slice(0, MOST_LINKS).map((node) => this.linkTo(node, signal)),
            nodes.length > MOST_LINKS
              ? element("span.td-quiet", {}, say("inspector.and_more", { n: nodes.length - MOST_LINKS }))
              : null,
          ),
        ),
      );
    const others = sorted.length - rows.length;
    const rest = others > 0 ? element("p.td-quiet", {}, say("inspector.more_errors", { n: others })) : null;
    return section(say("inspector.failures"), failed.length, ...rows, rest);
  }

  private slowest(members: readonly number[], signal: AbortSignal): HTMLElement | null {
    const timed = members
      .map((node) => ({ node, took: ranFor(this.store, node) }))
      .filter((each) => each.took > 0)
      .sort((a, b) => b.took - a.took)
      .slice(0, SLOWEST);
    if (timed.length < 2) return null;
    const most = timed[0]?.took ?? 1;
    const rows = timed.map(({ node, took }) => {
      const bar = element("span.td-slowbar");
      bar.style.setProperty("--td-share", String(took / most));
      return element("div.td-slow", {}, this.linkTo(node, signal), bar, element("span.td-time", {}, duration(took)));
    });
    return section(say("inspector.slowest"), null, ...rows);
  }

  private showMembers(list: HTMLElement, members: readonly number[], signal: AbortSignal): void {
    const { store } = this;
    const found = members.filter((node) => matches(store.nameOf(node), this.filter));
    const rank = (node: number): number => URGENCY.indexOf(store.status[node] ?? 0);
    found.sort((a, b) => rank(a) - rank(b) || a - b);
    const rows = found.slice(0, this.rows).map((node) => {
      const took = ranFor(store, node);
      return element(
        "div.td-member",
        {},
        this.linkTo(node, signal),
        element("span.td-time", {}, Number.isNaN(took) ? "" : duration(took)),
      );
    });
    const rest = found.length - rows.length;
    const more = button(
      say("inspector.more_members", { n: Math.min(rest, 5 * MOST_ROWS) }),
      () => {
        this.rows += 5 * MOST_ROWS;
        this.showMembers(list, members, signal);
      },
      signal,
      { className: "is-small" },
    );
    const none = say("inspector.no_match", { text: this.filter, n: members.length });
    fill(
      list,
      ...(rows.length > 0 ? rows : [element("p.td-quiet", {}, none)]),
      rest > 0 ? element("div.td-row", {}, more.root) : null,
    );
  }

  private linkTo(node: number, signal: AbortSignal): HTMLElement {
    return nodeLink(this.store, node, this.reveal, signal);
  }
}
