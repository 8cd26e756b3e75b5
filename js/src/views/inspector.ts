// One node, one stack or several: what it is, what happened, what can be done.
import { ranFor, URGENCY } from "../model/derive.ts";
import type { Focus } from "../model/focus.ts";
import { spans } from "../model/loglines.ts";
import { STATUS_COUNT, type Store } from "../model/store.ts";
import { count, duration, plain, say, upright } from "../model/words.ts";
import { type NodeDetail, STATUS_WORDS, Status } from "../protocol.ts";
import { elapsedOf, waitingWords } from "../render/scene.ts";
import { STATUS_NAMES } from "../render/theme.ts";
import type { Source } from "../sources/source.ts";
import { ActionButton, type ActionContext, type ActionKind } from "./actions.ts";
import type { Details } from "./details.ts";
import { button, element, fill, glyph, on, set, setText } from "./dom.ts";
import { GroupPanel } from "./inspector_group.ts";
import { Overview } from "./inspector_overview.ts";
import { copyButton, frameRow, timeElement } from "./inspector_parts.ts";
import { failuresOf } from "./failures.ts";
import { LogList, silence } from "./loglist.ts";

export const TABS = ["error", "overview", "logs", "attempts", "code"] as const;
export type Tab = (typeof TABS)[number];

export interface InspectorEvents extends ActionContext {
  /** Show a node, here and on the graph. */
  reveal(node: number): void;
  /** Back to a whole stack. */
  openMark(mark: number): void;
  /** Search the lines of what is selected. */
  searchLogs(): void;
  closed(): void;
}

const NODE_ACTIONS: readonly ActionKind[] = ["retry", "blocker", "retry_from", "cancel", "stop"];
const GROUP_ACTIONS: readonly ActionKind[] = ["retry", "cancel", "stop"];
const MOST_LINKS = 12;
const MOST_ASKED = 12;
const GROUP_MS = 400;

export class Inspector {
  readonly root: HTMLElement;
  tab: Tab = "overview";
  private readonly source: Source;
  private readonly store: Store;
  private readonly details: Details;
  private readonly events: InspectorEvents;
  private readonly signal: AbortSignal;
  private readonly prefix: string;
  private readonly head = element("div.td-head");
  private readonly actions = element("div.td-actionrow", { role: "toolbar" });
  private readonly tabs = element("div.td-tabs", { role: "tablist" });
  private readonly panel = element("div.td-panel", { tabindex: 0 });
  private sentence = element("div.td-sentence");
  private buttons: ActionButton[] = [];
  private marks: readonly number[] = [];
  private node = -1;
  private nodesKey = "";
  private isTabChosen = false;
  private shown = "";
  private inner = new AbortController();
  private forActions = new AbortController();
  private readonly overview: Overview;
  private readonly group: GroupPanel;
  private isPressed = false;
  private lastGroup = 0;
  private groupTimer: ReturnType<typeof setTimeout> | undefined;
  private readonly focus: Focus;
  /** Lines of the one node, made when they are first looked at. */
  private log: LogList | null = null;

  constructor(
    source: Source,
    focus: Focus,
    details: Details,
    events: InspectorEvents,
    prefix: string,
    signal: AbortSignal,
    root: HTMLElement,
  ) {
    this.source = source;
    this.focus = focus;
    this.store = source.store;
    this.details = details;
    this.events = events;
    this.prefix = prefix;
    this.signal = signal;
    this.root = root;
    const reveal = (node: number): void => events.reveal(node);
    const does = { reveal, changed: () => this.update() };
    this.overview = new Overview(this.panel, source, focus, details, does, signal);
    this.group = new GroupPanel(this.panel, this.store, focus, details, reveal);
    fill(root, this.head, this.actions, this.tabs, this.panel);
    on(this.tabs, "keydown", signal, (event) => this.tabKey(event));
    on(this.tabs, "click", signal, ({ target }) => {
      const tab = (target as Element).closest<HTMLElement>("[data-tab]")?.dataset.tab;
      if (tab) this.chooseTab(tab as Tab);
    });
    // What is made anew between press and release would never be clicked on.
    on(root, "pointerdown", signal, () => {
      this.isPressed = true;
    });
    for (const name of ["pointerup", "pointercancel"] as const)
      on(window, name, signal, () => {
        if (!this.isPressed) return;
        this.isPressed = false;
        setTimeout(() => this.update());
      });
    focus.subscribe((changed) => {
      if (changed.has("attempt")) this.log?.scopeChanged();
      if (changed.has("attempt") || changed.has("filter")) this.update();
    }, signal);
    signal.addEventListener(
      "abort",
      () => {
        this.inner.abort();
        clearTimeout(this.groupTimer);
      },
      { once: true },
    );
  }

  get isOpen(): boolean {
    return !this.root.hidden;
  }

  /** Show a node (`node` >= 0), a stack (one mark) or several marks. */
  show(marks: readonly number[], node: number): void {
    const nodes = this.focus.state.nodes.join();
    const isOther = node !== this.node || marks.join() !== this.marks.join() || nodes !== this.nodesKey;
    this.nodesKey = nodes;
    this.marks = [...marks];
    this.node = node;
    if (isOther) {
      this.isTabChosen = false;
      this.group.begin();
      this.panel.scrollTop = 0;
    }
    set(this.root, { hidden: marks.length === 0 });
    this.shown = "";
    if (marks.length > 0) this.update();
    else {
      this.inner.abort();
      this.log?.hide();
    }
  }

  /** Something changed: draw again what says something else now. What had the focus and is gone leaves it here. */
  update(): void {
    if (!this.isOpen || this.signal.aborted || this.isPressed) return;
    const focused = this.root.contains(document.activeElement) ? document.activeElement : null;
    for (const each of this.buttons) each.update();
    if (this.node >= 0) this.updateNode();
    else this.updateGroup();
    if (focused instanceof HTMLElement && !focused.checkVisibility()) this.panel.focus({ preventScroll: true });
  }

  /** Times go on. */
  tick(): void {
    if (this.isOpen && this.node >= 0) setText(this.sentence, this.sentenceOf(this.node));
  }

  chooseTab(tab: Tab): void {
    this.tab = tab;
    this.isTabChosen = true;
    this.shown = "";
    this.update();
  }

  /** The action button of that kind, for a key. */
  press(kind: ActionKind, isAsking = false): boolean {
    const found = this.buttons.find((each) => each.kind === kind && !each.isHidden);
    found?.press(isAsking);
    return found !== undefined;
  }

  private begin(): AbortSignal {
    this.inner.abort();
    this.inner = new AbortController();
    return AbortSignal.any([this.inner.signal, this.signal]);
  }

  /** The buttons are made anew for other nodes only: one that was pressed keeps the focus and tells what became of it. */
  private showActions(kinds: readonly ActionKind[], nodes: readonly number[]): void {
    const key = `${kinds.join()}|${nodes.join()}`;
    if (this.actions.dataset.key === key) return;
    this.actions.dataset.key = key;
    this.forActions.abort();
    this.forActions = new AbortController();
    const signal = AbortSignal.any([this.forActions.signal, this.signal]);
    this.buttons = kinds.map((kind) => new ActionButton(kind, this.events, () => nodes, signal));
    fill(this.actions, ...this.buttons.map((each) => each.root));
  }

  // --- a node --------------------------------------------------------------------------------------------------

  private updateNode(): void {
    const { node, store } = this;
    this.details.want(node);
    const status = store.status[node] ?? 0;
    const detail = this.details.of(node);
    const trouble = this.details.troubleOf(node);
    const key = [
      node,
      status,
      store.attempt[node],
      detail !== null,
      trouble,
      this.tab,
      this.isTabChosen,
      this.overview.key,
      this.focus.state.filter,
      store.parents !== null,
      store.names !== null,
      this.neighbourStates(node),
      store.isSecret(node),
      this.focus.state.attempt,
    ].join("|");
    if (key === this.shown) return;
    this.shown = key;
    if (!this.isTabChosen) this.tab = this.tabThatMatters(status);
    const signal = this.begin();
    this.showNodeHead(node, status, signal);
    this.showActions(NODE_ACTIONS, [node]);
    const tabs = TABS.filter((tab) => tab !== "error" || this.hasError(node));
    if (!tabs.includes(this.tab)) this.tab = "overview";
    this.showTabs(tabs);
    const scroll = this.panel.scrollTop;
    set(this.panel, { "data-tab": this.tab });
    if (this.tab !== "logs") this.log?.hide();
    if (this.tab === "error") this.showError(node, detail, trouble, signal);
    else if (this.tab === "attempts") this.showAttempts(node, detail, signal);
    else if (this.tab === "logs") this.showLog();
    else if (this.tab === "code") this.showCode(node, detail, trouble, signal);
    else this.overview.show(node, detail, this.waiting(trouble), signal);
    this.panel.scrollTop = scroll;
  }

  private neighbourStates(node: number): string {
    const near = [
      ...this.store.parentsOf(node).subarray(0, MOST_LINKS),
      ...this.store.childrenOf(node).subarray(0, MOST_LINKS),
    ];
    return near.map((each) => this.store.status[each] ?? 0).join("");
  }

  private tabThatMatters(status: number): Tab {
    return status === Status.FAILED ? "error" : status === Status.RUNNING ? "logs" : "overview";
  }

  private hasError(node: number): boolean {
    return this.store.status[node] === Status.FAILED || Boolean(this.details.of(node)?.error_type);
  }

  private showNodeHead(node: number, status: number, signal: AbortSignal): void {
    const { store } = this;
    const mark = store.markOf[node] ?? 0;
    const isMember = (store.picture?.marks.size[mark] ?? 1) > 1;
    const name = plain(store.nameOf(node));
    this.sentence = element(
      "div.td-sentence",
      { class: `td-sentence is-${STATUS_NAMES[status] ?? ""}` },
      this.sentenceOf(node),
    );
    const back = element(
      "button.td-link.td-back",
      { type: "button" },
      `‹ ${plain(store.picture?.marks.name[mark] ?? "")}`,
    );
    on(back, "click", signal, () => this.events.openMark(mark));
    const attempt = store.attempt[node] ?? 0;
    fill(
      this.head,
      isMember ? back : null,
      element(
        "div.td-titlerow",
        {},
        glyph(status),
        element("h3.td-title", { title: name }, name),
        attempt > 1
          ? element("span.td-badge", { title: say("inspector.attempt", { n: attempt }) }, `↻${attempt}`)
          : null,
        this.closeButton(signal),
      ),
      this.sentence,
    );
  }

  private closeButton(signal: AbortSignal): HTMLElement {
    const close = button(say("inspector.close"), () => this.events.closed(), signal, {
      icon: "close",
      isIconOnly: true,
    });
    return close.root;
  }

  private sentenceOf(node: number): string {
    const { store } = this;
    const status = store.status[node] ?? 0;
    const took = ranFor(store, node);
    const n = store.attempt[node] ?? 0;
    const time = Number.isNaN(took) ? "" : status === Status.RUNNING ? elapsedOf(store, node, took) : duration(took);
    if (time) {
      if (status === Status.RUNNING)
        return say(n > 1 ? "inspector.running_attempt" : "inspector.running_for", { time, n });
      if (status === Status.COMPLETED)
        return say(n > 1 ? "inspector.completed_attempt" : "inspector.completed_in", { time, n });
      if (status === Status.FAILED)
        return say(n > 1 ? "inspector.failed_attempt" : "inspector.failed_after", { time, n });
    }
    const word = STATUS_WORDS[status] ?? "";
    const why = status === Status.NOT_STARTED && store.run?.started != null ? waitingWords(store, node) : "";
    return why ? say("inspector.not_started_why", { status: word, why }) : word;
  }

  private showTabs(tabs: readonly Tab[]): void {
    const focused = this.tabs.contains(document.activeElement);
    const shown = [...this.tabs.children].map((each) => (each as HTMLElement).dataset.tab);
    if (shown.join() !== tabs.join()) {
      const attributes = { type: "button", role: "tab", "aria-controls": `${this.prefix}-panel` };
      const made = tabs.map((tab) =>
        element(
          "button.td-tab",
          { ...attributes, id: `${this.prefix}-tab-${tab}`, "data-tab": tab },
          say(`inspector.${tab}`),
        ),
      );
      fill(this.tabs, ...made);
    }
    for (const each of this.tabs.children) {
      const isOn = (each as HTMLElement).dataset.tab === this.tab;
      set(each, { "aria-selected": String(isOn), tabindex: isOn ? 0 : -1 });
      if (isOn && focused) (each as HTMLElement).focus();
    }
    set(this.tabs, { hidden: false });
    set(this.panel, {
      id: `${this.prefix}-panel`,
      role: "tabpanel",
      "aria-labelledby": `${this.prefix}-tab-${this.tab}`,
    });
  }

  private tabKey(event: KeyboardEvent): void {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (step === 0) return;
    const all = [...this.tabs.querySelectorAll<HTMLElement>("[data-tab]")];
    const at = all.findIndex((each) => each.dataset.tab === this.tab);
    const next = all[(at + step + all.length) % all.length]?.dataset.tab;
    event.preventDefault();
    this.chooseTab((next ?? "overview") as Tab);
    this.tabs.querySelector<HTMLElement>(`[data-tab="${next}"]`)?.focus();
  }

  private waiting(trouble: string): HTMLElement {
    const isGone = this.source.connection.state === "detached";
    const reason = trouble || (isGone ? say("connection.cannot") : "");
    return element("p.td-quiet", {}, reason ? say("inspector.not_available", { reason }) : say("inspector.loading"));
  }

  private showError(node: number, detail: NodeDetail | null, trouble: string, signal: AbortSignal): void {
    const known = detail ?? this.details.lastOf(node);
    if (!known) {
      fill(this.panel, this.waiting(trouble));
      return;
    }
    if (this.showPastError(node, known, signal)) return;
    if (!known.error_type && !known.traceback) {
      fill(this.panel, element("p.td-quiet", {}, say("inspector.no_error")));
      return;
    }
    const isOld = this.store.status[node] !== Status.FAILED;
    const mine = known.frames.filter((frame) => frame.mine);
    const rest = known.frames.filter((frame) => !frame.mine);
    const copy = copyButton(say("inspector.copy_traceback"), () => known.traceback, signal);
    const search = button(say("inspector.search_logs"), () => this.events.searchLogs(), signal, {
      icon: "search",
      className: "is-small",
    });
    fill(
      this.panel,
      isOld ? element("p.td-quiet", {}, say("inspector.previous_error")) : null,
      element(
        "div.td-error",
        {},
        element("div.td-errortype", {}, known.error_type),
        element("div.td-errormessage", {}, upright(known.error_message)),
      ),
      mine.length > 0
        ? element("div.td-frames", {}, element("div.td-caption", {}, say("inspector.your_code")), ...mine.map(frameRow))
        : null,
      rest.length > 0
        ? element(
            "details.td-fold",
            { open: mine.length === 0 },
            element("summary", {}, say("inspector.library_frames", { n: rest.length })),
            element("div.td-frames.is-soft", {}, ...rest.map(frameRow)),
          )
        : null,
      known.traceback
        ? element(
            "details.td-fold",
            {},
            element("summary", {}, say("inspector.traceback")),
            element("pre.td-pre", { tabindex: 0 }, known.traceback),
          )
        : null,
      element("div.td-row", {}, known.traceback ? copy : null, search.root),
    );
  }

  /** A moment of the past may show an attempt that failed before the last one: of it the first line is kept, no more. */
  private showPastError(node: number, { attempts, error_type }: NodeDetail, signal: AbortSignal): boolean {
    const number = this.store.attempt[node] ?? 0;
    const last = attempts.at(-1);
    if (this.store.status[node] !== Status.FAILED || !last) return false;
    const error = attempts.find((each) => each.number === number)?.error ?? "";
    if (last.number === number && (error_type || !error)) return false;
    const colon = error.indexOf(": ");
    const [type, message] = colon < 0 ? [error, ""] : [error.slice(0, colon), error.slice(colon + 2)];
    const search = button(say("inspector.search_logs"), () => this.events.searchLogs(), signal, {
      icon: "search",
      className: "is-small",
    });
    fill(
      this.panel,
      type
        ? element(
            "div.td-error",
            {},
            element("div.td-errortype", {}, type),
            element("div.td-errormessage", {}, upright(message)),
          )
        : null,
      element("p.td-quiet", {}, say(type ? "inspector.first_line" : "inspector.error_gone", { n: number })),
      element("div.td-row", {}, search.root),
    );
    return true;
  }

  // --- attempts ------------------------------------------------------------------------------------------------

  /** What is open stays as it is: a list that scrolls is not made anew because a time went on. */
  private showLog(): void {
    const { focus, signal } = this;
    this.log ??= new LogList(
      this.source,
      focus,
      `${this.prefix}-node`,
      {
        scope: () => ({
          nodes: this.store.isSecret(this.node) ? [] : spans([Math.max(0, this.node)]),
          attempt: focus.state.attempt,
          least: 0,
          stream: 0,
        }),
        nothing: () => this.noLines(),
        chosen: () => undefined,
        cleared: () => focus.set({ attempt: 0 }),
        changed: () => undefined,
      },
      signal,
    );
    if (this.panel.firstChild !== this.log.root) fill(this.panel, this.log.root);
    this.log.show();
  }

  private noLines(): string {
    if (this.store.isSecret(this.node)) return say("predict.hidden");
    if (this.focus.state.attempt > 0) return "";
    return silence(this.store, this.details, this.node);
  }

  private showCode(node: number, detail: NodeDetail | null, trouble: string, signal: AbortSignal): void {
    const known = detail ?? this.details.lastOf(node);
    if (!known) {
      fill(this.panel, this.waiting(trouble));
      return;
    }
    const copy = copyButton(say("inspector.copy_code"), () => known.source, signal);
    fill(
      this.panel,
      element("p.td-quiet", {}, known.function),
      known.source
        ? element("pre.td-pre", { tabindex: 0 }, known.source)
        : element("p.td-quiet", {}, say("inspector.no_code")),
      known.source ? element("div.td-row", {}, copy) : null,
    );
  }

  private showAttempts(node: number, detail: NodeDetail | null, signal: AbortSignal): void {
    const { store } = this;
    const zero = store.run?.started ?? 0;
    const rows = detail
      ? detail.attempts.map((each) => ({ ...each }))
      : [...(store.past.get(node) ?? []), this.presentAttempt(node)].map((each) => ({
          number: each.attempt,
          status: each.status,
          started: Number.isNaN(each.started) ? null : zero + each.started,
          ended: Number.isNaN(each.ended) ? null : zero + each.ended,
          error: "",
        }));
    const shown = rows.filter((each) => each.number > 0);
    if (shown.length === 0) {
      fill(this.panel, element("p.td-quiet", {}, say("inspector.no_attempts")));
      return;
    }
    const chosen = this.focus.state.attempt;
    const made = shown
      .reverse()
      .map((each) =>
        element(
          "li.td-attempt",
          { "data-on": each.number === chosen },
          glyph(each.status),
          element(
            "div",
            {},
            element(
              "div.td-attempthead",
              {},
              this.attemptButton(each.number, signal),
              element("span", {}, STATUS_WORDS[each.status] ?? ""),
              each.started !== null && each.ended !== null
                ? element("span", {}, duration(each.ended - each.started))
                : null,
              each.started !== null ? timeElement(each.started, store.now()) : null,
            ),
            each.error ? element("div.td-attempterror", {}, each.error) : null,
          ),
        ),
      );
    fill(this.panel, element("ol.td-list", {}, ...made));
  }

  /** Chosen, it is the one that timeline and logs show; pressed again, they show all. */
  private attemptButton(number: number, signal: AbortSignal): HTMLElement {
    const isOn = this.focus.state.attempt === number;
    const made = element(
      "button.td-link",
      { type: "button", "aria-pressed": String(isOn), title: say("inspector.attempt_title", { n: number }) },
      say("inspector.attempt", { n: number }),
    );
    on(made, "click", signal, () => this.focus.set({ attempt: isOn ? 0 : number }));
    return made;
  }

  private presentAttempt(node: number): { attempt: number; status: number; started: number; ended: number } {
    const { store } = this;
    return {
      attempt: store.attempt[node] ?? 0,
      status: store.status[node] ?? 0,
      started: store.started[node] ?? Number.NaN,
      ended: store.ended[node] ?? Number.NaN,
    };
  }

  // --- stacks and several --------------------------------------------------------------------------------------

  /** Counts change often: the list is drawn again at most a few times a second, and not under a pointer's press. */
  private updateGroup(): void {
    const wait = this.lastGroup + GROUP_MS - Date.now();
    if (this.shown !== "" && wait > 0) {
      this.groupTimer ??= setTimeout(() => {
        this.groupTimer = undefined;
        this.update();
      }, wait);
      return;
    }
    this.lastGroup = Date.now();
    const { store } = this;
    this.log?.hide();
    const members = this.focus.chosen();
    const counts = new Uint32Array(STATUS_COUNT);
    for (const node of members) {
      const status = store.status[node] ?? 0;
      counts[status] = (counts[status] ?? 0) + 1;
    }
    const failed = members.filter((node) => store.status[node] === Status.FAILED);
    if (failed.length > 0) failuresOf(this.details).want();
    for (const node of failed.slice(0, MOST_ASKED)) this.details.want(node);
    const messages = failed.slice(0, MOST_ASKED).map((node) => this.details.messageOf(node));
    const key = [
      "group",
      this.marks.join(),
      members.length,
      counts.join(),
      ...messages,
      failed.length > 0 ? failuresOf(this.details).version : 0,
      this.group.key,
      store.names !== null,
    ].join("|");
    if (key === this.shown) return;
    this.shown = key;
    const signal = this.begin();
    this.showGroupHead(members.length, counts, signal);
    this.showActions(GROUP_ACTIONS, members);
    set(this.tabs, { hidden: true });
    set(this.panel, { "data-tab": null });
    for (const name of ["id", "role", "aria-labelledby"]) this.panel.removeAttribute(name);
    this.group.show(members, failed, signal);
  }

  private showGroupHead(total: number, counts: Uint32Array, signal: AbortSignal): void {
    const { store } = this;
    const only = this.marks.length === 1 && this.focus.state.nodes.length === 0 ? (this.marks[0] ?? 0) : -1;
    const title = only >= 0 ? plain(store.picture?.marks.name[only] ?? "") : say("inspector.several", { n: total });
    const chips = URGENCY.filter((status) => (counts[status] ?? 0) > 0).map((status) =>
      element(
        `span.td-count.is-${STATUS_NAMES[status] ?? ""}` as "span",
        { title: STATUS_WORDS[status] ?? "" },
        glyph(status),
        `${count(counts[status] ?? 0)} ${STATUS_WORDS[status] ?? ""}`,
      ),
    );
    fill(
      this.head,
      element(
        "div.td-titlerow",
        {},
        element("h3.td-title", { title }, title),
        element("span.td-badge", {}, `×${count(total)}`),
        this.closeButton(signal),
      ),
      element("div.td-counts", {}, ...chips),
    );
  }
}
