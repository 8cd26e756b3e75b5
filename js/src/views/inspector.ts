// One node, one stack or several: what it is, what happened, what can be done.
import { blockerOf, ranFor, URGENCY } from "../model/derive.ts";
import { matches } from "../model/filter.ts";
import type { Focus } from "../model/focus.ts";
import { spans } from "../model/loglines.ts";
import { STATUS_COUNT, type Store } from "../model/store.ts";
import { count, duration, plain, say, timeOfDay, utc } from "../model/words.ts";
import { type Frame, type NodeDetail, NO_SLOT, type Preview, STATUS_WORDS, Status } from "../protocol.ts";
import { ticking, waitingWords } from "../render/scene.ts";
import { STATUS_NAMES } from "../render/theme.ts";
import type { Source } from "../sources/source.ts";
import { ActionButton, type ActionContext, type ActionKind } from "./actions.ts";
import type { Details } from "./details.ts";
import { LogList } from "./loglist.ts";
import { button, copyText, element, fill, glyph, on, set, setText } from "./dom.ts";

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
const MOST_ROWS = 40;
const SLOWEST = 5;
const MOST_ASKED = 12;
const SLOW_MS = 50;
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
  private previews = new Map<string, { text: string; isBusy: boolean }>();
  private lastGroup = 0;
  private groupTimer: ReturnType<typeof setTimeout> | undefined;
  private rows = MOST_ROWS;
  private filter = "";
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
    fill(root, this.head, this.actions, this.tabs, this.panel);
    on(this.tabs, "keydown", signal, (event) => this.tabKey(event));
    focus.subscribe((changed) => {
      if (!changed.has("attempt")) return;
      this.log?.scopeChanged();
      this.update();
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
      this.rows = MOST_ROWS;
      this.filter = "";
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
    if (!this.isOpen || this.signal.aborted) return;
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
    const busy = [...this.previews].map(([key, value]) => `${key}${value.isBusy}`).join();
    const trouble = this.details.troubleOf(node);
    const key = [
      node,
      status,
      store.attempt[node],
      detail !== null,
      trouble,
      this.tab,
      this.isTabChosen,
      busy,
      store.parents !== null,
      store.names !== null,
      this.neighbourStates(node),
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
    this.showTabs(tabs, signal);
    const scroll = this.panel.scrollTop;
    set(this.panel, { "data-tab": this.tab });
    if (this.tab !== "logs") this.log?.hide();
    if (this.tab === "error") this.showError(node, detail, trouble, signal);
    else if (this.tab === "attempts") this.showAttempts(node, detail, signal);
    else if (this.tab === "logs") this.showLog();
    else if (this.tab === "code") this.showCode(node, detail, trouble, signal);
    else this.showOverview(node, detail, trouble, signal);
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
    const time = Number.isNaN(took) ? "" : status === Status.RUNNING ? ticking(took) : duration(took);
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

  private showTabs(tabs: readonly Tab[], signal: AbortSignal): void {
    const made = tabs.map((tab) => {
      const isOn = tab === this.tab;
      const attributes = {
        type: "button",
        role: "tab",
        id: `${this.prefix}-tab-${tab}`,
        "aria-selected": String(isOn),
        "aria-controls": `${this.prefix}-panel`,
        tabindex: isOn ? 0 : -1,
        "data-tab": tab,
      };
      const made = element("button.td-tab", attributes, say(`inspector.${tab}`));
      on(made, "click", signal, () => this.chooseTab(tab));
      return made;
    });
    const focused = this.tabs.contains(document.activeElement);
    fill(this.tabs, ...made);
    set(this.tabs, { hidden: false });
    set(this.panel, {
      id: `${this.prefix}-panel`,
      role: "tabpanel",
      "aria-labelledby": `${this.prefix}-tab-${this.tab}`,
    });
    if (focused) made.find((each) => each.dataset.tab === this.tab)?.focus();
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
    if (!known.error_type && !known.traceback) {
      fill(this.panel, element("p.td-quiet", {}, say("inspector.no_error")));
      return;
    }
    const isOld = this.store.status[node] !== Status.FAILED;
    const mine = known.frames.filter((frame) => frame.mine);
    const rest = known.frames.filter((frame) => !frame.mine);
    const copy = button(say("inspector.copy_traceback"), () => this.copy(known.traceback, copy.root, signal), signal, {
      icon: "copy",
      className: "is-small",
    });
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
        element("div.td-errormessage", {}, known.error_message),
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
      element("div.td-row", {}, known.traceback ? copy.root : null, search.root),
    );
  }

  private copy(text: string, near: HTMLElement, signal: AbortSignal): void {
    void copyText(text, near, signal).then((isDone) => {
      const label = near.querySelector(".td-label");
      if (!isDone || !label) return;
      const before = label.textContent ?? "";
      label.textContent = say("inspector.copied");
      setTimeout(() => {
        label.textContent = before;
      }, 1500);
    });
  }

  private showOverview(node: number, detail: NodeDetail | null, trouble: string, signal: AbortSignal): void {
    const { store } = this;
    const known = detail ?? this.details.lastOf(node);
    fill(
      this.panel,
      this.blockedBy(node, signal),
      facts([
        [say("inspector.function"), known ? element("code", {}, known.function) : null],
        [say("inspector.mode"), known?.mode],
        [say("inspector.resource_class"), known?.resource_class],
        ...this.timings(node),
      ]),
      detail || known ? null : this.waiting(trouble),
      known ? this.argumentList(known, signal) : null,
      this.links(say("inspector.parents"), store.parentsOf(node), signal),
      this.links(say("inspector.children"), store.childrenOf(node), signal),
      this.result(node, detail, signal),
      known ? this.referenceRow(known.reference, signal) : null,
    );
  }

  private referenceRow(reference: string, signal: AbortSignal): HTMLElement {
    const copy = button(
      say("inspector.copy_reference"),
      ({ shiftKey }) => {
        const run = shiftKey ? `  # run ${this.store.picture?.graph_id ?? ""}` : "";
        this.copy(reference + run, copy.root, signal);
      },
      signal,
      {
        icon: "copy",
        className: "is-small",
        title: say("inspector.copy_reference_title", { reference }),
      },
    );
    return element("div.td-row", {}, copy.root);
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
      this.link(blocker, signal),
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
    const waited = started - this.readyAt(node);
    if (waited >= 0) rows.push([say("inspector.waited"), duration(waited)]);
    const took = ranFor(store, node);
    if (!Number.isNaN(took)) rows.push([say("inspector.ran"), duration(took)]);
    rows.push([say("inspector.started"), timeElement(zero + started, store.now())]);
    if (!Number.isNaN(ended)) rows.push([say("inspector.ended"), timeElement(zero + ended, store.now())]);
    const slot = store.slot[node] ?? NO_SLOT;
    if (slot !== NO_SLOT) rows.push([say("inspector.slot"), count(slot + 1)]);
    return rows;
  }

  /** When the last parent and the attempt before this one had ended. */
  private readyAt(node: number): number {
    const { store } = this;
    let ready = 0;
    for (const parent of store.parentsOf(node)) ready = Math.max(ready, store.ended[parent] ?? 0);
    const before = (store.attempt[node] ?? 0) - 1;
    const own = store.past.get(node)?.find((each) => each.attempt === before)?.ended ?? Number.NaN;
    const told = this.details.of(node)?.attempts.find((each) => each.number === before)?.ended ?? Number.NaN;
    const last = Number.isNaN(own) ? told - (store.run?.started ?? 0) : own;
    return Number.isNaN(last) ? ready : Math.max(ready, last);
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
          : element("span.td-argvalue", {}, this.link(each.node, signal)),
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
        ...sorted.slice(0, MOST_LINKS).map((node) => this.link(node, signal)),
        rest > 0 ? element("span.td-quiet", {}, say("inspector.and_more", { n: rest })) : null,
      ),
    );
  }

  private link(node: number, signal: AbortSignal): HTMLElement {
    const name = plain(this.store.nameOf(node));
    const status = this.store.status[node] ?? 0;
    const made = element(
      "button.td-nodelink",
      { type: "button", title: `${name}, ${STATUS_WORDS[status] ?? ""}` },
      glyph(status),
      element("span", {}, name),
    );
    on(made, "click", signal, () => this.events.reveal(node));
    return made;
  }

  // --- result --------------------------------------------------------------------------------------------------

  private result(node: number, detail: NodeDetail | null, signal: AbortSignal): HTMLElement | null {
    if (this.store.status[node] !== Status.COMPLETED) return null;
    const key = `${node}.${this.store.attempt[node] ?? 0}`;
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

  private preview(node: number, key: string): void {
    const put = (text: string, isBusy: boolean): void => {
      if (this.signal.aborted) return;
      this.previews.set(key, { text, isBusy });
      this.update();
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

  // --- attempts ------------------------------------------------------------------------------------------------

  /** What is open stays as it is: a list that scrolls is not made anew because a time went on. */
  private showLog(): void {
    const { focus, signal } = this;
    this.log ??= new LogList(
      this.source,
      focus,
      `${this.prefix}-node`,
      {
        scope: () => ({ nodes: spans([Math.max(0, this.node)]), attempt: focus.state.attempt, least: 0, stream: 0 }),
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
    if (this.focus.state.attempt > 0) return "";
    const isRunning = this.store.status[this.node] === Status.RUNNING;
    return say(isRunning ? "logs.empty_remote" : "logs.empty_node", { name: plain(this.store.nameOf(this.node)) });
  }

  private showCode(node: number, detail: NodeDetail | null, trouble: string, signal: AbortSignal): void {
    const known = detail ?? this.details.lastOf(node);
    if (!known) {
      fill(this.panel, this.waiting(trouble));
      return;
    }
    const copy = button(say("inspector.copy_code"), () => this.copy(known.source, copy.root, signal), signal, {
      icon: "copy",
      className: "is-small",
    });
    fill(
      this.panel,
      element("p.td-quiet", {}, known.function),
      known.source
        ? element("pre.td-pre", { tabindex: 0 }, known.source)
        : element("p.td-quiet", {}, say("inspector.no_code")),
      known.source ? element("div.td-row", {}, copy.root) : null,
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

  private members(): readonly number[] {
    return this.focus.chosen();
  }

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
    const members = this.members();
    const counts = new Uint32Array(STATUS_COUNT);
    for (const node of members) {
      const status = store.status[node] ?? 0;
      counts[status] = (counts[status] ?? 0) + 1;
    }
    const failed = members.filter((node) => store.status[node] === Status.FAILED);
    for (const node of failed.slice(0, MOST_ASKED)) this.details.want(node);
    const messages = failed.map((node) => this.details.messageOf(node)).join("|");
    const key = [
      "group",
      this.marks.join(),
      members.length,
      counts.join(),
      messages,
      this.rows,
      store.names !== null,
    ].join("|");
    if (key === this.shown) return;
    this.shown = key;
    const signal = this.begin();
    const isTyping = this.panel.contains(document.activeElement) && document.activeElement instanceof HTMLInputElement;
    this.showGroupHead(members.length, counts, signal);
    this.showActions(GROUP_ACTIONS, members);
    set(this.tabs, { hidden: true });
    set(this.panel, { "data-tab": null });
    for (const name of ["id", "role", "aria-labelledby"]) this.panel.removeAttribute(name);
    const scroll = this.panel.scrollTop;
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
      this.panel,
      this.failures(failed, signal),
      this.slowest(members, signal),
      section(say("inspector.all_members"), members.length, members.length > 8 ? input : null, list),
    );
    this.showMembers(list, members, signal);
    this.panel.scrollTop = scroll;
    if (isTyping) input.focus();
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
    const rows = sorted.map(([message, nodes]) =>
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
          ...nodes.slice(0, MOST_LINKS).map((node) => this.link(node, signal)),
          nodes.length > MOST_LINKS
            ? element("span.td-quiet", {}, say("inspector.and_more", { n: nodes.length - MOST_LINKS }))
            : null,
        ),
      ),
    );
    return section(say("inspector.failures"), failed.length, ...rows);
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
      return element("div.td-slow", {}, this.link(node, signal), bar, element("span.td-time", {}, duration(took)));
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
        this.link(node, signal),
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
}

function facts(rows: readonly (readonly [string, string | HTMLElement | null | undefined])[]): HTMLElement | null {
  const shown = rows.filter(([, value]) => value);
  if (shown.length === 0) return null;
  return element(
    "dl.td-facts",
    {},
    ...shown.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value ?? "")]),
  );
}

function section(title: string, total: number | null, ...children: (HTMLElement | null)[]): HTMLElement {
  const number = total === null ? null : element("span.td-total", {}, count(total));
  return element("section.td-section", {}, element("h4.td-caption", {}, title, number), ...children);
}

function frameRow(frame: Frame): HTMLElement {
  const file = frame.file.split(/[\\/]/).at(-1) ?? frame.file;
  const place =
    frame.cell === null
      ? `${file}:${frame.line}`
      : say("inspector.cell", { cell: frame.cell, line: String(frame.line) });
  return element(
    "div.td-frame",
    {},
    element(
      "div.td-frameplace",
      { title: frame.cell === null ? `${frame.file}:${frame.line}` : place },
      element("span.td-strong", {}, place),
      ` ${say("inspector.in_function", { function: frame.function })}`,
    ),
    frame.code ? element("code.td-code", {}, frame.code.trim()) : null,
  );
}

function timeElement(unix: number, now: number): HTMLElement {
  return element("time", { title: utc(unix), datetime: new Date(unix * 1000).toISOString() }, timeOfDay(unix, now));
}

/** The nodes that a key acts on when several marks are selected. */
export function nodesOf(store: Store, marks: Iterable<number>, node: number): number[] {
  if (node >= 0) return [node];
  const found: number[] = [];
  for (const mark of marks) found.push(...store.membersOf(mark));
  return found;
}
