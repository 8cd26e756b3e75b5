// Buttons that do something to the graph: what they say, when they may, and what became of it.
import { blockerOf, effect, reach } from "../model/derive.ts";
import type { Store } from "../model/store.ts";
import { plain, say } from "../model/words.ts";
import { type Action, Status } from "../protocol.ts";
import type { Pending, Source } from "../sources/source.ts";
import { type Button, button, element, fill, hide, on, set, setText } from "./dom.ts";

const CONFIRM_MS = 5000;

/** `blocker` is Retry of the node that blocks the shown one. */
export type ActionKind = Action | "blocker";

export interface ActionContext {
  readonly source: Source;
  /** Show on the graph what would be touched; null for nothing. */
  highlight(action: Action | null, nodes: readonly number[]): void;
}

/** The request that a button makes. */
export interface Wanted {
  action: Action;
  nodes: readonly number[];
}

export class ActionButton {
  readonly root = element("span.td-action");
  readonly kind: ActionKind;
  private readonly context: ActionContext;
  private readonly nodesOf: () => readonly number[];
  private readonly signal: AbortSignal;
  private readonly main: Button;
  private readonly note = element("span.td-note", { hidden: true });
  private readonly takeBack = element("button.td-link", { type: "button", hidden: true }, say("actions.withdraw"));
  private asked: Pending | null = null;
  private confirming: ReturnType<typeof setTimeout> | undefined;
  private confirmBox: HTMLElement | null = null;

  constructor(kind: ActionKind, context: ActionContext, nodesOf: () => readonly number[], signal: AbortSignal) {
    this.kind = kind;
    this.context = context;
    this.nodesOf = nodesOf;
    this.signal = signal;
    const isLoud = kind === "stop";
    const isFirst = kind === "retry_failed" || kind === "retry" || kind === "blocker";
    this.main = button("", () => this.press(), signal, {
      className: `td-do${isLoud ? " is-danger" : ""}${isFirst ? " is-primary" : ""}`,
    });
    this.main.root.dataset.action = kind;
    const enter = (): void => {
      this.main.setTitle(tooltip(this.context.source.store, this.kind, this.nodesOf()));
      const { action, nodes } = this.wanted();
      if (!this.main.root.hasAttribute("aria-disabled")) context.highlight(action, nodes);
    };
    const leave = (): void => context.highlight(null, []);
    on(this.main.root, "pointerenter", signal, enter);
    on(this.main.root, "focus", signal, enter);
    on(this.main.root, "pointerleave", signal, leave);
    on(this.main.root, "blur", signal, leave);
    signal.addEventListener("abort", () => clearTimeout(this.confirming), { once: true });
    set(this.takeBack, { title: say("actions.withdraw_title") });
    on(this.takeBack, "click", signal, () => {
      if (this.asked) context.source.withdraw(this.asked);
      this.main.root.focus();
    });
    fill(this.root, this.main.root, this.takeBack, this.note);
    this.update();
  }

  get isHidden(): boolean {
    return this.root.hidden;
  }

  update(): void {
    const { source } = this.context;
    const { store } = source;
    const nodes = this.nodesOf();
    hide(this.root, isAbsent(store, this.kind, nodes));
    const waiting = this.asked && this.asked.answered === 0 ? this.asked : null;
    this.main.setLabel(waiting ? waitingWords(waiting) : labelOf(store, this.kind, nodes));
    set(this.main.root, { "data-waiting": waiting ? waiting.state : null });
    this.main.setBlocked(waiting ? waitingReason(waiting) : blockedBecause(source, this.kind, nodes));
    hide(this.takeBack, waiting?.state !== "busy");
    const answered = this.asked && this.asked.answered > 0 ? this.asked : null;
    const isKept = answered !== null && source.pending.includes(answered);
    const text = isKept && answered ? answered.message : "";
    setText(this.note, text);
    set(this.note, {
      hidden: text === "",
      role: answered?.state === "refused" ? "alert" : "status",
      "data-state": answered?.state,
      title: text,
    });
    if (this.confirmBox && blockedBecause(source, this.kind, nodes) !== "") this.endConfirm();
  }

  /** Cancel graph and Stop now ask first, Cancel node where a key was pressed for it. */
  press(isAsking = false): void {
    if (this.main.root.hasAttribute("aria-disabled") || this.root.hidden) return;
    if (isAsking || this.kind === "cancel_graph" || this.kind === "stop") this.confirm();
    else this.go();
  }

  private wanted(): Wanted {
    const nodes = this.nodesOf();
    if (this.kind !== "blocker") return { action: this.kind, nodes: own(this.context.source.store, this.kind, nodes) };
    const blocker = blockerOf(this.context.source.store, nodes[0] ?? 0);
    return { action: "retry", nodes: blocker < 0 ? [] : [blocker] };
  }

  private go(): void {
    const { action, nodes } = this.wanted();
    this.endConfirm();
    this.context.highlight(null, []);
    const answer = this.context.source.act(action, nodes);
    this.asked = this.context.source.pending.at(-1) ?? null;
    this.update();
    void answer.then(() => {
      if (!this.signal.aborted) this.update();
    });
  }

  /** Asks in the same place; what is not answered in five seconds is a no. */
  private confirm(): void {
    if (this.confirmBox) return;
    const { store } = this.context.source;
    const isStop = this.kind === "stop";
    const { action, nodes } = this.wanted();
    const what = effect(store, action, nodes);
    const label = say(isStop ? "actions.confirm_stop" : "actions.confirm_cancel", { n: what.own.length });
    const yes = button(label, () => this.go(), this.signal, { className: "td-do is-danger" });
    const no = button(say("actions.keep"), () => this.endConfirm(true), this.signal, { className: "td-do" });
    this.confirmBox = element("span.td-confirm", { role: "group" }, yes.root, no.root);
    on(this.confirmBox, "keydown", this.signal, (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.endConfirm(true);
    });
    this.confirmBox.style.setProperty("--td-wait", `${CONFIRM_MS}ms`);
    this.main.root.hidden = true;
    this.main.root.after(this.confirmBox);
    yes.root.focus();
    this.confirming = setTimeout(() => this.endConfirm(), CONFIRM_MS);
  }

  private endConfirm(isFocused = false): void {
    clearTimeout(this.confirming);
    const hadFocus = isFocused || (this.confirmBox?.matches(":focus-within") ?? false);
    this.confirmBox?.remove();
    this.confirmBox = null;
    this.main.root.hidden = false;
    if (hadFocus) this.main.root.focus();
  }
}

function waitingWords(pending: Pending): string {
  if (pending.state === "busy") return say("actions.busy");
  return say(pending.action.startsWith("retry") ? "actions.requested" : "actions.stopping");
}

function waitingReason(pending: Pending): string {
  return say(pending.state === "busy" ? "actions.busy_title" : "blocked.requested");
}

/** Of several nodes those that the action is for; for the whole graph none. */
function own(store: Store, action: Action, nodes: readonly number[]): readonly number[] {
  if (action === "retry_failed" || action === "cancel_graph") return [];
  return nodes.length > 1 || action === "stop" ? effect(store, action, nodes).own : nodes;
}

function isAbsent(store: Store, kind: ActionKind, nodes: readonly number[]): boolean {
  if (kind === "stop") return !store.run?.can_stop;
  const status = nodes.length === 1 ? store.status[nodes[0] ?? 0] : 0;
  if (kind === "blocker") return status !== Status.PARENT_FAILED;
  if (kind === "retry") return status === Status.PARENT_FAILED;
  return false;
}

function labelOf(store: Store, kind: ActionKind, nodes: readonly number[]): string {
  const many = nodes.length > 1;
  switch (kind) {
    case "blocker":
      return say("actions.retry_blocker");
    case "retry":
    case "cancel": {
      if (!many) return say(`actions.${kind}`);
      const n = nodes.filter((node) => isOwn(store, kind, node)).length;
      return n > 0 ? say(`actions.${kind}_members`, { n }) : say(`actions.${kind}_none`);
    }
    case "retry_failed": {
      const n = (store.counts[Status.FAILED] ?? 0) + (store.counts[Status.CANCELLED] ?? 0);
      return n > 0 ? say("actions.retry_failed", { n }) : say("actions.retry_failed_none");
    }
    default:
      return say(`actions.${kind}`);
  }
}

function isOwn(store: Store, kind: "retry" | "cancel", node: number): boolean {
  const status = store.status[node];
  if (kind === "cancel") return status === Status.NOT_STARTED;
  return status === Status.FAILED || status === Status.CANCELLED;
}

/** Why it cannot be pressed; empty if it can. */
export function blockedBecause(source: Source, kind: ActionKind, nodes: readonly number[]): string {
  const { store } = source;
  if (source.connection.state === "detached" || source.connection.state === "connecting")
    return say("blocked.detached");
  if (!Number.isNaN(store.shownAt)) return say("replay.blocked");
  if (store.run?.is_record) return say("blocked.record");
  const counts = store.counts;
  const has = (...statuses: number[]): boolean => nodes.some((node) => statuses.includes(store.status[node] ?? 0));
  switch (kind) {
    case "blocker":
      return "";
    case "retry":
      return has(Status.FAILED, Status.CANCELLED) ? "" : say("blocked.retry");
    case "retry_failed":
      return (counts[Status.FAILED] ?? 0) + (counts[Status.CANCELLED] ?? 0) > 0 ? "" : say("blocked.retry_failed");
    case "retry_from":
      if (!store.run?.is_ended || (counts[Status.RUNNING] ?? 0) > 0) return say("blocked.retry_from");
      return has(Status.COMPLETED, Status.FAILED, Status.CANCELLED) ? "" : say("blocked.retry_from_status");
    case "cancel":
      return has(Status.NOT_STARTED) ? "" : say("blocked.cancel");
    case "cancel_graph":
      return (counts[Status.NOT_STARTED] ?? 0) + (counts[Status.RUNNING] ?? 0) > 0 && !store.run?.is_ended
        ? ""
        : say("blocked.cancel_graph");
    case "stop":
      return (nodes.length > 0 ? has(Status.RUNNING) : (counts[Status.RUNNING] ?? 0) > 0) ? "" : say("blocked.stop");
  }
}

/** What would happen, in one line, by the page's own columns. */
export function tooltip(store: Store, kind: ActionKind, nodes: readonly number[]): string {
  const name = nodes.length > 0 ? plain(store.nameOf(nodes[0] ?? 0)) : "";
  switch (kind) {
    case "blocker": {
      const blocker = blockerOf(store, nodes[0] ?? 0);
      if (blocker < 0) return "";
      const others =
        [...reach(store, [blocker], true)].filter((node) => store.status[node] === Status.PARENT_FAILED).length - 1;
      const values = { name: plain(store.nameOf(blocker)), n: others };
      return say(others > 0 ? "tooltips.retry_blocker_others" : "tooltips.retry_blocker", values);
    }
    case "retry":
    case "retry_failed": {
      const what = effect(store, kind, nodes);
      const isOne = kind === "retry" && nodes.length === 1;
      if (isOne)
        return say(what.follow.length ? "tooltips.retry_follow" : "tooltips.retry", { name, n: what.follow.length });
      const values = { n: what.own.length, follow: what.follow.length };
      return say(what.follow.length ? "tooltips.retry_many_follow" : "tooltips.retry_many", values);
    }
    case "retry_from": {
      const what = effect(store, kind, nodes);
      const values = { name, n: what.follow.length, completed: what.completed };
      return say(what.completed ? "tooltips.retry_from_completed" : "tooltips.retry_from", values);
    }
    case "cancel": {
      const what = effect(store, kind, nodes);
      if (nodes.length > 1) return say("tooltips.cancel_many", { n: what.own.length, follow: what.follow.length });
      return say(what.follow.length ? "tooltips.cancel_follow" : "tooltips.cancel", { n: what.follow.length });
    }
    case "cancel_graph": {
      const what = effect(store, kind, nodes);
      const values = { n: what.own.length, running: what.follow.length };
      return say(
        store.run?.can_stop || !what.follow.length ? "tooltips.cancel_graph" : "tooltips.cancel_graph_no_stop",
        values,
      );
    }
    case "stop":
      return say("tooltips.stop", { n: effect(store, kind, nodes).own.length });
  }
}
