// One view of a graph: summary, tools, graph, inspector, actions; its size, focus and keys. The file is long because
// these parts share one state and one life; what is drawn stands in `graph`, `inspector` and `actions`.
import { finished, runStatus, segments, timeLeft, timeLeftWords } from "../model/derive.ts";
import { byName } from "../model/filter.ts";
import type { Changes, Store } from "../model/store.ts";
import { clock, duration, plain, say, timeOfDay, utc } from "../model/words.ts";
import { type Action, PROTOCOL, STATUS_WORDS, Status } from "../protocol.ts";
import type { Direction } from "../render/place.ts";
import type { Camera } from "../render/scene.ts";
import { readTheme, STATUS_NAMES, watchTheme } from "../render/theme.ts";
import type { Source } from "../sources/source.ts";
import { ActionButton, type ActionContext } from "./actions.ts";
import type { Details } from "./details.ts";
import { type Button, button, copyText, element, fill, glyph, icon, on, rove, set, setText } from "./dom.ts";
import { GraphView } from "./graph.ts";
import { failuresInOrder, Inspector, nodesOf, type Tab } from "./inspector.ts";

const HEIGHTS = { tiny: 160, small: 360, large: 480, least: 200, most: 900 } as const;
/** Summary, tools and actions. */
const BARS = 108;
const WITH_INSPECTOR = 420;
const WITH_DRAWER = 560;
const WIDE = 900;
const COLUMN = { usual: 320, least: 240, most: 520 } as const;
const TICK_MS = 1000;
const LEFT_MS = 2000;
const SAY_MS = 5000;
const SLEEP_MS = 5000;
const SAVE_MS = 400;
const MOST_FOUND = 10_000;

interface Kept {
  camera: Camera | null;
  direction: Direction | "auto";
  hasEdges: boolean;
  marks: number[];
  node: number;
  tab: Tab | null;
  height: number;
  column: number;
  isCollapsed: boolean;
}

const FRESH: Kept = {
  camera: null,
  direction: "auto",
  hasEdges: true,
  marks: [],
  node: -1,
  tab: null,
  height: 0,
  column: COLUMN.usual,
  isCollapsed: false,
};

export class Shell {
  readonly root: HTMLElement;
  private readonly source: Source;
  private readonly store: Store;
  private readonly details: Details;
  private readonly id: string;
  private readonly signal: AbortSignal;
  private readonly graph: GraphView;
  private readonly inspector: Inspector;
  private readonly context: ActionContext;
  private state: Kept = { ...FRESH };
  private isRestored = false;
  private awake: AbortController | null = null;
  private isOnScreen = true;
  /** Something changed while nobody could see it. */
  private isStale = false;
  private outSince = 0;
  private saveTimer: ReturnType<typeof setTimeout> | undefined;
  private left = { at: 0, text: "" };
  private said = { at: 0, text: "" };
  private found: { text: string; nodes: number[]; at: number } = { text: "", nodes: [], at: -1 };
  private confirmed: ActionButton[] = [];

  // Parts that are filled again and again.
  private readonly toggle = element("button.td-toggle", { type: "button" });
  private readonly status = element("span.td-status");
  private readonly name = element("span.td-name");
  private readonly done = element("span.td-done");
  private readonly bar = element("span.td-bar", { role: "img" });
  private readonly failed: Button;
  private readonly elapsed = element("span.td-elapsed");
  private readonly leftText = element("span.td-left");
  private readonly stripe = element("div.td-stripe", { hidden: true, role: "status" });
  private readonly search = element("input.td-input.td-search", { type: "search", spellcheck: "false" });
  private readonly searchCount = element("span.td-searchcount", { "aria-live": "polite" });
  private readonly zoomText: Button;
  private readonly empty = element("div.td-empty", { hidden: true });
  private readonly connection = element("span.td-connection");
  private readonly announcer = element("div.td-announcer", { "aria-live": "polite", role: "status" });
  private readonly menu = element("div.td-menu", { role: "menu", hidden: true });
  private readonly keyMap = element("div.td-keys", { role: "dialog", hidden: true });
  private readonly body = element("div.td-body");
  private readonly handle = element("div.td-handle");
  private readonly splitter = element("div.td-splitter", { hidden: true });
  private readonly tools = element("div.td-tools", { role: "toolbar" });
  private readonly actions = element("div.td-actions", { role: "toolbar" });
  private readonly full: Button;
  private readonly more: Button;

  constructor(host: HTMLElement, source: Source, details: Details, id: string, signal: AbortSignal) {
    this.source = source;
    this.store = source.store;
    this.details = details;
    this.id = id;
    this.signal = signal;
    this.root = element("div.tiledag", {
      "data-lm-suppress-shortcuts": "true",
      "data-state": "connecting",
      role: "region",
      tabindex: -1,
    });
    host.append(this.root);
    const theme = readTheme(this.root);
    this.context = {
      source,
      highlight: (action: Action | null, nodes: readonly number[]) => this.graph.highlight(action, nodes),
    };
    this.graph = new GraphView(
      source,
      details,
      theme,
      { camera: null, direction: "auto", hasEdges: true },
      {
        selected: (marks, node) => this.selected(marks, node),
        opened: () =>
          this.inspector.root.querySelector<HTMLElement>("[role=tab],button")?.focus({ preventScroll: true }),
        moved: () => this.moved(),
        leave: () => this.leave(),
      },
      `td-${id}-mark`,
      signal,
    );
    this.inspector = new Inspector(
      source,
      details,
      {
        ...this.context,
        reveal: (node) => this.graph.reveal(node),
        openMark: (mark) => this.graph.select([mark]),
        closed: () => {
          this.graph.select([]);
          this.graph.focusCanvas();
        },
      },
      `td-${id}`,
      signal,
    );
    this.failed = button("", () => this.nextFailure(1), signal, {
      className: "td-failed",
      title: say("summary.failed_title"),
    });
    this.zoomText = button("100 %", () => this.graph.zoomTo(1), signal, {
      className: "td-zoomtext",
      title: say("tools.zoom_reset"),
    });
    this.full = button(say("tools.fullscreen"), () => this.toggleFull(), signal, { icon: "full", isIconOnly: true });
    this.more = button(say("tools.more"), () => this.openMenu(this.menu.hidden), signal, {
      icon: "more",
      isIconOnly: true,
    });
    this.build();
    this.listen();
    signal.addEventListener("abort", () => this.end(), { once: true });
    this.wake();
  }

  // --- building ------------------------------------------------------------------------------------------------

  private build(): void {
    const { signal } = this;
    const fit = button(say("tools.fit"), () => this.graph.fitAll(), signal, { icon: "fit", isIconOnly: true });
    const zoomIn = button(say("tools.zoom_in"), () => this.graph.zoomBy(1.25), signal, {
      icon: "plus",
      isIconOnly: true,
    });
    const zoomOut = button(say("tools.zoom_out"), () => this.graph.zoomBy(0.8), signal, {
      icon: "minus",
      isIconOnly: true,
    });
    fill(this.toggle, this.status, this.name, this.done, this.bar);
    const summary = element(
      "div.td-summary",
      { role: "group", "aria-label": say("aria.summary") },
      this.toggle,
      this.failed.root,
      element("span.td-times", {}, this.elapsed, this.leftText),
    );
    on(summary, "click", signal, (event) => {
      if (event.target instanceof Element && !event.target.closest(".td-failed"))
        this.collapse(!this.state.isCollapsed);
    });
    set(this.search, { placeholder: say("tools.search"), "aria-label": say("tools.search") });
    set(this.tools, { "aria-label": say("aria.tools") });
    set(this.more.root, { "aria-haspopup": "menu", "aria-expanded": "false" });
    this.full.root.hidden = !this.root.ownerDocument.fullscreenEnabled;
    fill(
      this.tools,
      element("span.td-searchbox", {}, this.search, this.searchCount),
      element("span.td-space"),
      fit.root,
      this.full.root,
      this.more.root,
    );
    this.graph.controls.prepend(
      element("div.td-zoom", { role: "group" }, zoomOut.root, this.zoomText.root, zoomIn.root),
    );
    this.graph.root.append(this.empty);
    set(this.actions, { "aria-label": say("aria.actions") });
    this.confirmed = (["retry_failed", "cancel_graph", "stop"] as const).map(
      (kind) => new ActionButton(kind, this.context, () => [], signal),
    );
    fill(this.actions, ...this.confirmed.map((each) => each.root), element("span.td-space"), this.connection);
    set(this.handle, {
      role: "separator",
      tabindex: 0,
      "aria-orientation": "horizontal",
      "aria-label": say("tools.handle"),
      title: say("tools.handle"),
    });
    set(this.splitter, { role: "separator", "aria-hidden": "true" });
    fill(
      this.body,
      element("div.td-left-side", {}, this.tools, this.graph.root),
      this.splitter,
      this.inspector.root,
      this.menu,
      this.keyMap,
    );
    fill(this.root, summary, this.stripe, this.body, this.actions, this.handle, this.announcer);
    // With the canvas these are the five stops of the Tab key.
    rove([summary], signal);
    rove([this.tools, this.graph.controls], signal);
    rove([this.inspector.root], signal);
    rove([this.actions, this.handle], signal);
  }

  private listen(): void {
    const { signal, root } = this;
    on(root, "keydown", signal, (event) => this.key(event));
    for (const name of ["keyup", "keypress", "contextmenu"]) on(root, name, signal, (event) => event.stopPropagation());
    on(root, "dblclick", signal, (event) => this.graph.doubleClick(event));
    on(this.search, "input", signal, () => this.find());
    on(this.search, "keydown", signal, (event) => this.searchKey(event));
    this.drag(this.handle, (event, start) => this.setHeight(start.height + event.clientY - start.y));
    this.drag(this.splitter, (event, start) => {
      const isColumn = this.root.dataset.wide === "true";
      if (isColumn) this.setColumn(start.column + start.x - event.clientX);
    });
    on(this.handle, "keydown", signal, (event) => {
      const step = event.key === "ArrowDown" ? 20 : event.key === "ArrowUp" ? -20 : 0;
      if (step === 0) return;
      event.preventDefault();
      this.setHeight(this.height() + step);
    });
    on(root.ownerDocument, "fullscreenchange", signal, () => this.fullChanged());
    on(root.ownerDocument, "pointerdown", signal, (event) => {
      if (event.target instanceof Node && !this.menu.contains(event.target) && !this.more.root.contains(event.target))
        this.openMenu(false);
    });
    const sized = new ResizeObserver(() => {
      if (root.clientWidth > 0) this.resized();
      if (root.isConnected) this.wake();
    });
    sized.observe(root);
    const seen = new IntersectionObserver((entries) => {
      this.isOnScreen = entries.at(-1)?.isIntersecting ?? true;
      if (root.isConnected) this.wake();
      this.tellVisible();
    });
    seen.observe(root);
    signal.addEventListener("abort", () => {
      sized.disconnect();
      seen.disconnect();
    });
  }

  /** Follow the graph. A view that its host put aside sleeps, and wakes when it is shown again. */
  private wake(): void {
    if (this.awake || this.signal.aborted) return;
    this.awake = new AbortController();
    this.outSince = 0;
    const signal = AbortSignal.any([this.awake.signal, this.signal]);
    this.store.subscribe((changes) => this.changed(changes), signal);
    this.source.subscribe(() => this.connectionChanged(), signal);
    this.details.subscribe(() => {
      this.graph.restate();
      this.inspector.update();
    }, signal);
    watchTheme(this.root, () => this.graph.setTheme(readTheme(this.root)), signal);
    on(this.root.ownerDocument, "visibilitychange", signal, () => this.tellVisible());
    const timer = setInterval(() => this.tick(), TICK_MS);
    signal.addEventListener("abort", () => clearInterval(timer), { once: true });
    this.graph.setTheme(readTheme(this.root));
    if (this.store.picture) this.changed({ structure: true, statuses: true, names: true, edges: true, run: true });
    this.connectionChanged();
    this.tellVisible();
  }

  private sleep(): void {
    this.awake?.abort();
    this.awake = null;
    this.source.setVisible(this.id, false);
  }

  private end(): void {
    clearTimeout(this.saveTimer);
    this.sleep();
    const source = this.source as Source & { forget?(view: string): void };
    source.forget?.(this.id);
    this.root.remove();
  }

  private tellVisible(): void {
    const isSeen = this.isSeen();
    const isDrawn = isSeen && !this.state.isCollapsed;
    this.source.setVisible(this.id, isDrawn && this.awake !== null);
    this.graph.setShown(isDrawn);
    if (isSeen && this.isStale) this.restate();
  }

  // --- changes -------------------------------------------------------------------------------------------------

  private changed(changes: Changes): void {
    const { picture } = this.store;
    if (!picture) return;
    if (changes.structure) {
      this.restore();
      set(this.root, {
        "data-graph": picture.graph_id,
        "aria-label": say("aria.root", { name: plain(picture.title) }),
      });
      this.resized();
      this.graph.arrange();
      this.resized();
    }
    this.restate();
  }

  /** What the view says, said anew. Out of sight only what is cheap: the rest follows when somebody can see it. */
  private restate(): void {
    this.showSummary();
    for (const each of this.confirmed) each.update();
    this.isStale = !this.isSeen();
    if (this.isStale) return;
    this.showEmpty();
    this.inspector.update();
    this.showConnection();
    this.graph.restate();
  }

  private isSeen(): boolean {
    return this.isOnScreen && !this.root.ownerDocument.hidden && this.root.isConnected;
  }

  private connectionChanged(): void {
    const { connection } = this.source;
    if (connection.state === "live") this.details.forgetTrouble();
    set(this.root, { "data-state": connection.state });
    const isDetached = connection.state === "detached";
    const text = isDetached ? this.detachedWords() : this.isNewer() ? say("connection.newer") : "";
    setText(this.stripe, text);
    set(this.stripe, { hidden: text === "" });
    this.restate();
  }

  private isNewer(): boolean {
    return (this.store.picture?.protocol ?? PROTOCOL) > PROTOCOL;
  }

  private detachedWords(): string {
    const { connection } = this.source;
    if (!this.store.picture || connection.why === "none") return say("connection.none");
    return say(`connection.${connection.why}`, { time: timeOfDay((connection.heard || connection.since) / 1000) });
  }

  private tick(): void {
    if (!this.root.isConnected) {
      this.outSince ||= Date.now();
      if (Date.now() - this.outSince >= SLEEP_MS) this.sleep();
      return;
    }
    this.outSince = 0;
    if (!this.isSeen()) {
      this.isStale = true;
      return;
    }
    this.showTimes();
    this.inspector.tick();
    this.showConnection();
  }

  // --- summary -------------------------------------------------------------------------------------------------

  private runWord(): number {
    const { counts, run } = this.store;
    return runStatus(counts, run?.started != null, run?.is_ended ?? false);
  }

  private showSummary(): void {
    const { store } = this;
    const { picture, counts } = store;
    if (!picture) {
      setText(this.name, say("connection.connecting"));
      return;
    }
    const status = this.runWord();
    if (this.status.dataset.status !== String(status)) {
      this.status.dataset.status = String(status);
      this.status.className = `td-status is-${STATUS_NAMES[status] ?? ""}`;
      fill(this.status, glyph(status), element("span", {}, STATUS_WORDS[status] ?? ""));
    }
    const done = counts[Status.COMPLETED] ?? 0;
    const failed = counts[Status.FAILED] ?? 0;
    const title = plain(picture.title) || say("summary.untitled");
    setText(this.name, title);
    set(this.name, { title });
    setText(this.done, say("summary.done", { done, total: store.total }));
    set(this.done, { title: say("summary.done_title", { done, total: store.total }) });
    this.showBar();
    const isFailed = failed > 0;
    this.failed.root.hidden = !isFailed;
    if (isFailed && this.failed.root.dataset.n !== String(failed)) {
      this.failed.root.dataset.n = String(failed);
      fill(this.failed.root, glyph(Status.FAILED), element("span", {}, say("summary.failed", { n: failed })));
    }
    set(this.toggle, {
      "aria-expanded": String(!this.state.isCollapsed),
      title: say(this.state.isCollapsed ? "summary.expand" : "summary.collapse"),
    });
    this.showTimes();
    this.announce(done, failed);
  }

  private showBar(): void {
    const { counts, total } = this.store;
    const width = this.bar.clientWidth || 160;
    const made = segments(counts, width, 2, 0, 4);
    const key = made.map((each) => `${each.status}:${each.width.toFixed(1)}`).join();
    if (this.bar.dataset.key === key) return;
    this.bar.dataset.key = key;
    fill(
      this.bar,
      ...made.map((each) => {
        const part = element(`span.td-part.is-${STATUS_NAMES[each.status] ?? ""}` as "span");
        part.style.width = `${(100 * each.width) / width}%`;
        return part;
      }),
    );
    const values = { done: counts[Status.COMPLETED] ?? 0, total, failed: counts[Status.FAILED] ?? 0 };
    set(this.bar, { "aria-label": say("aria.bar", values) });
  }

  private showTimes(): void {
    const { run, counts } = this.store;
    if (run?.started == null) {
      setText(this.elapsed, "");
      setText(this.leftText, "");
      return;
    }
    const isOver = run.is_ended && run.ended !== null;
    const frozen =
      this.source.connection.state === "detached" ? this.source.connection.since / 1000 + this.store.clockOffset : 0;
    const now = isOver ? (run.ended ?? 0) : frozen || this.store.now();
    const spent = Math.max(0, now - run.started);
    setText(this.elapsed, isOver && spent < 59.5 ? duration(spent) : clock(spent));
    const values = { time: timeOfDay(run.started, this.store.now()), utc: utc(run.started) };
    set(this.elapsed, { title: say("summary.started_at", values) });
    const isActive =
      !run.is_ended && this.source.connection.state !== "detached" && finished(counts) < this.store.total;
    if (!isActive) this.left = { at: 0, text: "" };
    else if (Date.now() - this.left.at >= LEFT_MS) {
      this.left = { at: Date.now(), text: spent < 2 ? "" : timeLeftWords(timeLeft(this.store)) };
    }
    setText(this.leftText, this.left.text);
  }

  private announce(done: number, failed: number): void {
    const values = { done, total: this.store.total, failed };
    const text = say(failed > 0 ? "aria.progress_failed" : "aria.progress", values);
    if (text === this.said.text || Date.now() - this.said.at < SAY_MS) return;
    this.said = { at: Date.now(), text };
    setText(this.announcer, text);
  }

  private showConnection(): void {
    const { connection, pending } = this.source;
    const busy = pending.filter((each) => each.state === "busy").length;
    const { run } = this.store;
    let text: string;
    if (connection.state === "detached") text = "";
    else if (busy > 0) text = say("connection.busy", { n: busy });
    else if (connection.state === "connecting") text = say("connection.connecting");
    else if (connection.state === "quiet")
      text = say("connection.quiet", { n: Math.floor((Date.now() - connection.heard) / 1000) });
    else if (connection.state === "still") text = say("connection.still");
    else if (run?.is_ended && run.ended !== null)
      text = say("connection.ended", { time: timeOfDay(run.ended, this.store.now()) });
    else if (run?.started == null) text = say("connection.live");
    else {
      const age = (Date.now() - connection.heard) / 1000;
      text =
        age < 1.5 ? say("connection.live_now") : say("connection.live_updated", { time: duration(Math.round(age)) });
    }
    const key = `${connection.state}|${text}`;
    if (this.connection.dataset.key === key) return;
    this.connection.dataset.key = key;
    const dot = element("span.td-dot", { "data-state": busy > 0 ? "busy" : connection.state });
    const update = element("button.td-link", { type: "button" }, say("connection.update"));
    on(update, "click", this.signal, () => this.source.refresh());
    fill(this.connection, text ? dot : null, element("span", {}, text), connection.state === "still" ? update : null);
    set(this.connection, { title: busy > 0 ? say("actions.busy_title") : null });
  }

  private showEmpty(): void {
    const { picture, total, run, counts } = this.store;
    let key = "";
    if (!picture) key = this.source.connection.state === "detached" ? "none" : "loading";
    else if (total === 0) key = "nodes";
    else if (run?.started == null && counts[Status.NOT_STARTED] === total) key = "ready";
    if (this.empty.dataset.key === key) return;
    this.empty.dataset.key = key;
    set(this.empty, { hidden: key === "", "data-place": key === "ready" ? "corner" : "middle" });
    (key === "ready" ? this.graph.controls : this.graph.root).append(this.empty);
    if (key === "loading" || key === "none") {
      fill(this.empty, element("p", {}, say(key === "none" ? "connection.none" : "empty.loading")));
      return;
    }
    const reference = picture?.reference || "dag";
    if (key === "nodes") {
      const code = say("empty.no_nodes_code", { reference });
      const copy = button(say("empty.copy"), () => void copyText(code, copy.root, this.signal), this.signal, {
        icon: "copy",
        className: "is-small",
      });
      fill(
        this.empty,
        element("p", {}, say("empty.no_nodes")),
        element("p.td-row", {}, element("code.td-code", {}, code), copy.root),
      );
    } else if (key === "ready") {
      const [before, after] = say("empty.ready", { n: total, code: "\u0000" }).split("\u0000");
      fill(
        this.empty,
        element("p", {}, before ?? "", element("code.td-code", {}, `${reference}.compute()`), after ?? ""),
      );
    }
  }

  // --- selection -----------------------------------------------------------------------------------------------

  private selected(marks: readonly number[], node: number): void {
    this.state.marks = [...marks].slice(0, 50);
    this.state.node = node;
    this.inspector.show(marks, node);
    this.resized();
    this.save();
  }

  private nextFailure(step: number): void {
    const failures = failuresInOrder(this.store);
    if (failures.length === 0) return;
    if (this.state.isCollapsed) this.collapse(false);
    const at = failures.indexOf(this.graph.node);
    const next = at < 0 ? (step > 0 ? 0 : failures.length - 1) : (at + step + failures.length) % failures.length;
    this.graph.reveal(failures[next] ?? 0);
  }

  private find(): void {
    const text = this.search.value;
    const nodes = text.trim() === "" ? [] : byName(this.store, text, MOST_FOUND);
    this.found = { text, nodes, at: -1 };
    this.showFound();
  }

  private showFound(): void {
    const { text, nodes, at } = this.found;
    const isNone = text.trim() !== "" && nodes.length === 0;
    set(this.search, { "aria-invalid": isNone ? "true" : null });
    let words = "";
    if (isNone) words = say("tools.search_none", { text: plain(text) });
    else if (nodes.length > 0) words = say("tools.search_count", { at: Math.max(0, at + 1), n: nodes.length });
    setText(this.searchCount, words);
  }

  private searchKey(event: KeyboardEvent): void {
    if (event.key === "Escape") {
      event.stopPropagation();
      this.search.value = "";
      this.find();
      this.graph.focusCanvas();
    }
    if (event.key !== "Enter" || this.found.nodes.length === 0) return;
    event.preventDefault();
    const { nodes } = this.found;
    this.found.at = (this.found.at + (event.shiftKey ? -1 : 1) + nodes.length) % nodes.length;
    if (this.found.at < 0) this.found.at = nodes.length - 1;
    this.graph.reveal(nodes[this.found.at] ?? 0);
    this.showFound();
  }

  // --- size ----------------------------------------------------------------------------------------------------

  private height(): number {
    if (this.state.height > 0) return this.state.height;
    const { total, picture } = this.store;
    const page = this.root.ownerDocument.defaultView?.innerHeight ?? 800;
    // A small graph gets the large view where that, and only that, shows its cards.
    const needed = this.graph.cardHeight(this.root.clientWidth) + BARS;
    const isHigh = needed > HEIGHTS.small && needed <= HEIGHTS.large;
    let height: number = total > 30 || isHigh ? HEIGHTS.large : HEIGHTS.small;
    if (picture && total < 3) height = HEIGHTS.tiny;
    if (this.inspector.isOpen)
      height = Math.max(height, this.root.dataset.wide === "true" ? WITH_INSPECTOR : WITH_DRAWER);
    return Math.min(height, Math.max(HEIGHTS.tiny, 0.7 * page));
  }

  private resized(): void {
    const width = this.root.clientWidth;
    const isFull = this.root.ownerDocument.fullscreenElement === this.root;
    const isWide = width >= WIDE;
    set(this.root, {
      "data-wide": String(isWide),
      "data-narrow": String(width < 600),
      "data-tiny": String(width < 480),
      "data-collapsed": String(this.state.isCollapsed),
      "data-few": String(this.store.total < 3 && !this.inspector.isOpen),
      "data-inspecting": String(this.inspector.isOpen),
    });
    this.root.style.setProperty("--td-height", isFull ? "100%" : `${this.height()}px`);
    this.root.style.setProperty("--td-column", `${this.state.column}px`);
    this.splitter.hidden = !this.inspector.isOpen || !isWide;
    if (this.store.picture) this.showBar();
  }

  private setHeight(height: number): void {
    this.state.height = Math.round(Math.min(HEIGHTS.most, Math.max(HEIGHTS.least, height)));
    this.resized();
    this.save();
  }

  private setColumn(width: number): void {
    this.state.column = Math.round(Math.min(COLUMN.most, Math.max(COLUMN.least, width)));
    this.resized();
    this.save();
  }

  private collapse(isCollapsed: boolean): void {
    this.state.isCollapsed = isCollapsed;
    this.resized();
    this.tellVisible();
    this.showSummary();
    this.save();
  }

  private drag(
    target: HTMLElement,
    moved: (event: PointerEvent, start: { x: number; y: number; height: number; column: number }) => void,
  ): void {
    let start: { x: number; y: number; height: number; column: number } | null = null;
    on(target, "pointerdown", this.signal, (event) => {
      event.preventDefault();
      target.setPointerCapture(event.pointerId);
      start = { x: event.clientX, y: event.clientY, height: this.height(), column: this.state.column };
    });
    on(target, "pointermove", this.signal, (event) => {
      if (start) moved(event, start);
    });
    for (const name of ["pointerup", "pointercancel"] as const) {
      on(target, name, this.signal, () => {
        start = null;
      });
    }
  }

  private toggleFull(): void {
    const page = this.root.ownerDocument;
    if (page.fullscreenElement === this.root) void page.exitFullscreen();
    else void this.root.requestFullscreen?.().catch(() => undefined);
  }

  private fullChanged(): void {
    const isFull = this.root.ownerDocument.fullscreenElement === this.root;
    this.full.setLabel(say(isFull ? "tools.fullscreen_leave" : "tools.fullscreen"));
    set(this.root, { "data-full": isFull });
    this.resized();
  }

  private moved(): void {
    this.zoomText.setLabel(say("tools.zoom_level", { n: Math.round(this.graph.zoom * 100) }));
    this.state.camera = this.graph.state.camera;
    this.save();
  }

  // --- menu and key map ----------------------------------------------------------------------------------------

  private openMenu(isOpen: boolean): void {
    if (this.menu.hidden === !isOpen) return;
    this.menu.hidden = !isOpen;
    set(this.more.root, { "aria-expanded": String(isOpen) });
    if (!isOpen) {
      if (this.menu.contains(document.activeElement)) this.more.root.focus();
      return;
    }
    const { state } = this.graph;
    const item = (label: string, isOn: boolean | null, chosen: () => void): HTMLElement => {
      const role = isOn === null ? "menuitem" : "menuitemcheckbox";
      const made = element(
        "button.td-item",
        { type: "button", role, "aria-checked": isOn === null ? null : String(isOn), tabindex: -1 },
        element("span.td-check", {}, isOn === true ? icon("check") : null),
        label,
      );
      on(made, "click", this.signal, () => {
        this.openMenu(false);
        chosen();
      });
      return made;
    };
    const turn = (direction: Direction | "auto") => (): void => {
      this.state.direction = direction;
      this.graph.setDirection(direction);
      this.save();
    };
    fill(
      this.menu,
      item(say("tools.direction_auto"), state.direction === "auto", turn("auto")),
      item(say("tools.direction_right"), state.direction === "right", turn("right")),
      item(say("tools.direction_down"), state.direction === "down", turn("down")),
      element("div.td-rule", { role: "separator" }),
      item(say("tools.edges"), state.hasEdges, () => {
        this.state.hasEdges = !state.hasEdges;
        this.graph.setEdges(this.state.hasEdges);
        this.save();
      }),
      element("div.td-rule", { role: "separator" }),
      item(say("tools.keys"), null, () => this.openKeys(true)),
    );
    this.menu.querySelector<HTMLElement>("button")?.focus();
  }

  private menuKey(event: KeyboardEvent): boolean {
    if (this.menu.hidden) return false;
    const items = [...this.menu.querySelectorAll<HTMLElement>("button")];
    const at = items.indexOf(document.activeElement as HTMLElement);
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step !== 0) items[(at + step + items.length) % items.length]?.focus();
    else if (event.key === "Escape" || event.key === "Tab") this.openMenu(false);
    else return false;
    event.preventDefault();
    return true;
  }

  private openKeys(isOpen: boolean): void {
    this.keyMap.hidden = !isOpen;
    if (!isOpen) {
      this.graph.focusCanvas();
      return;
    }
    const rows: [string, string][] = [
      ["← → ↑ ↓", say("keys.move")],
      ["Enter", say("keys.open")],
      ["Space", say("keys.add")],
      ["+ − 0", say("keys.zoom")],
      ["Home End", say("keys.ends")],
      ["f  Shift-F", say("keys.failure")],
      ["r  Shift-R", say("keys.retry")],
      ["c", say("keys.cancel")],
      ["b", say("keys.blocker")],
      ["/", say("keys.search")],
      ["Ctrl/⌘ C", say("keys.copy")],
      ["Double-click", say("keys.isolate")],
      ["Esc", say("keys.close")],
      ["?", say("keys.map")],
    ];
    const close = button(say("inspector.close"), () => this.openKeys(false), this.signal, {
      icon: "close",
      isIconOnly: true,
    });
    set(this.keyMap, { "aria-label": say("keys.title") });
    fill(
      this.keyMap,
      element("div.td-titlerow", {}, element("h3.td-title", {}, say("keys.title")), close.root),
      element(
        "dl.td-facts",
        {},
        ...rows.flatMap(([keys, what]) => [
          element("dt", {}, ...keys.split(/\s+/).map((each) => element("kbd", {}, each))),
          element("dd", {}, what),
        ]),
      ),
    );
    close.root.focus();
  }

  // --- keys ----------------------------------------------------------------------------------------------------

  private key(event: KeyboardEvent): void {
    event.stopPropagation();
    if (event.defaultPrevented) return;
    if (this.menuKey(event)) return;
    if (event.key === "Escape") {
      event.preventDefault();
      this.escape();
      return;
    }
    const target = event.target;
    if (target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement) return;
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "c") {
      this.copyReference();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (!this.graph.isCanvas(target) && target !== this.root) return;
    if (this.graph.key(event) || this.commandKey(event)) event.preventDefault();
  }

  private commandKey(event: KeyboardEvent): boolean {
    const chosen = nodesOf(this.store, this.graph.selection, this.graph.node);
    switch (event.key) {
      case "f":
      case "F":
        this.nextFailure(event.shiftKey ? -1 : 1);
        break;
      case "r":
        if (chosen.length > 0 && !this.inspector.press("retry")) this.inspector.press("blocker");
        break;
      case "R":
        this.confirmed.find((each) => each.kind === "retry_failed")?.press();
        break;
      case "c":
        if (chosen.length > 0) this.inspector.press("cancel");
        else this.confirmed.find((each) => each.kind === "cancel_graph")?.press();
        break;
      case "b":
        this.toBlocker();
        break;
      case "/":
        this.search.focus();
        break;
      case "?":
        this.openKeys(true);
        break;
      default:
        return false;
    }
    return true;
  }

  private toBlocker(): void {
    const { node } = this.graph;
    if (node < 0) return;
    const level = [node];
    const seen = new Set(level);
    for (const each of level) {
      for (const parent of this.store.parentsOf(each)) {
        const status = this.store.status[parent];
        if (status === Status.FAILED || status === Status.CANCELLED) {
          this.graph.reveal(parent);
          return;
        }
        if (!seen.has(parent)) level.push(parent);
        seen.add(parent);
      }
    }
  }

  private copyReference(): void {
    if ((this.root.ownerDocument.defaultView?.getSelection()?.toString() ?? "") !== "") return;
    const { node } = this.graph;
    const reference = node >= 0 ? this.details.lastOf(node)?.reference : this.store.picture?.reference;
    if (reference) void copyText(reference, this.connection, this.signal);
  }

  /** Closes what is open, then clears the selection, then leaves to the cell. */
  private escape(): void {
    if (!this.keyMap.hidden) this.openKeys(false);
    else if (this.graph.selection.size > 0) {
      this.graph.select([]);
      this.graph.focusCanvas();
    } else if (this.graph.isIsolated) this.graph.showAll();
    else this.leave();
  }

  private leave(): void {
    const active = document.activeElement;
    if (active instanceof HTMLElement) active.blur();
    this.root.closest<HTMLElement>(".jp-Notebook, .jp-CodeConsole")?.focus();
  }

  // --- what is remembered --------------------------------------------------------------------------------------

  /** Kept under the graph's id and the view's place among the views of that graph in the page. */
  private keptAs(): string {
    const id = this.store.picture?.graph_id ?? "";
    const views = [...this.root.ownerDocument.querySelectorAll<HTMLElement>(".tiledag")];
    const same = views.filter((view) => view.dataset.graph === id || view === this.root);
    return `tiledag:${id}:${same.indexOf(this.root)}`;
  }

  private restore(): void {
    if (this.isRestored) return;
    this.isRestored = true;
    this.state = { ...FRESH, ...this.readKept() };
    const { camera, direction, hasEdges, marks, node, tab } = this.state;
    this.graph.state = { camera, direction, hasEdges };
    const known = marks.filter((mark) => mark < this.store.markCount);
    if (known.length === 0) return;
    this.graph.select(known, node < this.store.total ? node : -1);
    if (tab) this.inspector.chooseTab(tab);
  }

  private readKept(): Partial<Kept> {
    try {
      const text = sessionStorage.getItem(this.keptAs());
      const kept: unknown = text ? JSON.parse(text) : null;
      return typeof kept === "object" && kept !== null ? (kept as Partial<Kept>) : {};
    } catch {
      return {};
    }
  }

  private save(): void {
    if (!this.isRestored || this.saveTimer !== undefined) return;
    this.saveTimer = setTimeout(() => {
      this.saveTimer = undefined;
      if (!this.root.isConnected || !this.store.picture) return;
      this.state.tab = this.inspector.isOpen ? this.inspector.tab : null;
      try {
        sessionStorage.setItem(this.keptAs(), JSON.stringify(this.state));
      } catch {
        // A host may close the storage; then a reload starts afresh.
      }
    }, SAVE_MS);
  }
}
