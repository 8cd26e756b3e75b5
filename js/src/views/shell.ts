// One view of a graph: it hosts the panes, says what the whole graph is about, and owns size, focus, keys and what is
// remembered. What is drawn stands in the panes, in `summary`, `inspector` and `actions`.
import { blockerOf, failuresInOrder } from "../model/derive.ts";
import { Focus, type FocusPart } from "../model/focus.ts";
import type { Changes, Store } from "../model/store.ts";
import { duration, plain, say, timeOfDay } from "../model/words.ts";
import { PROTOCOL, Status } from "../protocol.ts";
import { readTheme, watchTheme } from "../render/theme.ts";
import type { Source } from "../sources/source.ts";
import { ActionButton, type ActionContext } from "./actions.ts";
import type { Details } from "./details.ts";
import type { ExportBox } from "./export.ts";
import { type Button, button, copyText, element, fill, on, rove, set, setText } from "./dom.ts";
import { makeGraphPane } from "./graph_pane.ts";
import type { Tab } from "./inspector.ts";
import { InspectorSlot } from "./inspector_slot.ts";
import type { KeyMap } from "./keymap.ts";
import { Menu } from "./menu.ts";
import type { MenuItem, Pane, PaneContext, PaneName } from "./pane.ts";
import type { Later } from "./more.ts";
import { PANES } from "./panes.ts";
import type { ReplayBar } from "./replay.ts";
import { SearchSlot } from "./search_slot.ts";
import { Summary } from "./summary.ts";
import { Waiting, WaitingPane } from "./waiting.ts";

const HEIGHTS = { tiny: 160, small: 360, large: 480, least: 200, most: 900 } as const;
/** Summary, tools and actions. */
const BARS = 108;
const WITH_INSPECTOR = 420;
const WITH_DRAWER = 560;
const WIDE = 900;
const NARROW = 600;
const TINY = 480;
const COLUMN = { usual: 320, least: 240, most: 520 } as const;
const TICK_MS = 1000;
const SLEEP_MS = 5000;
const SAVE_MS = 400;
/** After the first picture the second part of the bundle is fetched, so that it is there when it is wanted. */
const FETCH_MS = 2000;
const MOST_KEPT = 50;
const CRITICAL = "path:critical";
const NOTHING: Changes = { structure: false, statuses: false, names: false, edges: false, run: false };
const EVERYTHING: Changes = { structure: true, statuses: true, names: true, edges: true, run: true };

/** Goes through `sessionStorage`. */
interface Kept {
  pane: PaneName | null;
  panes: Partial<Record<PaneName, unknown>>;
  marks: readonly number[];
  nodes: readonly number[];
  filter: string;
  isHiding: boolean;
  tab: Tab | null;
  height: number;
  column: number;
  isCollapsed: boolean;
}

const FRESH: Kept = {
  pane: null,
  panes: {},
  marks: [],
  nodes: [],
  filter: "",
  isHiding: false,
  tab: null,
  height: 0,
  column: COLUMN.usual,
  isCollapsed: false,
};

/** What comes with the second part of the bundle and is not a pane. */
interface Extras {
  readonly keyMap: KeyMap;
  readonly replay: ReplayBar;
  readonly exporter: ExportBox;
}

interface Drag {
  y: number;
  x: number;
  height: number;
  column: number;
}

export class Shell {
  readonly root: HTMLElement;
  private readonly source: Source;
  private readonly store: Store;
  private readonly details: Details;
  private readonly id: string;
  private readonly signal: AbortSignal;
  private readonly focus: Focus;
  private readonly later: Later;
  private readonly inspector: InspectorSlot;
  private readonly actionContext: ActionContext;
  private readonly panes = new Map<PaneName, Pane>();
  private pane: Pane | null = null;
  private isPaneShown = false;
  private state: Kept = { ...FRESH };
  private isRestored = false;
  private awake: AbortController | null = null;
  private isOnScreen = true;
  /** Something changed while nobody could see it. */
  private isStale = false;
  private outSince = 0;
  private saveTimer: ReturnType<typeof setTimeout> | undefined;
  private readonly confirmed: readonly ActionButton[];
  private readonly summary: Summary;
  private readonly search: SearchSlot;
  private readonly menu: Menu;
  private readonly full: Button;
  private extras: Extras | null = null;
  /** To be done when they are there. */
  private wish: ((extras: Extras) => void) | null = null;
  private pictureAt = 0;

  private readonly stripe = element("div.td-stripe", { hidden: true, role: "status" });
  private readonly tabs = element("div.td-panetabs", { role: "tablist", "aria-label": say("tools.panes") });
  private readonly own = element("span.td-own");
  private readonly room = element("div.td-room");
  private readonly empty = element("div.td-empty", { hidden: true });
  private readonly connection = element("span.td-connection");
  private readonly body = element("div.td-body");
  private readonly handle = element("div.td-handle");
  private readonly forReplay = element("div.td-slot");
  private readonly waiting = element("div.td-keys.td-waitbox", { hidden: true });
  private readonly splitter = element("div.td-splitter", { hidden: true });
  private readonly tools = element("div.td-tools", { role: "toolbar" });
  private readonly actions = element("div.td-actions", { role: "toolbar" });

  constructor(host: HTMLElement, source: Source, details: Details, id: string, signal: AbortSignal, later: Later) {
    this.source = source;
    this.later = later;
    this.store = source.store;
    this.details = details;
    this.id = id;
    this.signal = signal;
    this.focus = new Focus(source.store);
    this.root = element("div.tiledag", {
      "data-lm-suppress-shortcuts": "true",
      "data-state": "connecting",
      role: "region",
      tabindex: -1,
    });
    host.append(this.root);
    this.actionContext = {
      source,
      highlight: (action, nodes) => this.pane?.highlight?.(action, nodes),
    };
    this.inspector = new InspectorSlot(
      later,
      source,
      this.focus,
      details,
      {
        ...this.actionContext,
        reveal: (node) => this.reveal(node),
        openMark: (mark) => this.focus.selectMarks([mark]),
        searchLogs: () => {
          this.go("logs");
          this.pane?.search?.();
        },
        closed: () => {
          this.focus.selectMarks([]);
          this.pane?.focus();
        },
      },
      `td-${id}`,
      signal,
    );
    this.summary = new Summary(
      source,
      () => this.collapse(!this.state.isCollapsed),
      () => this.nextFailure(1),
      () => {
        this.go("list");
        this.pane?.focus();
      },
      signal,
    );
    const said = (sentence: string): void => this.summary.announcer.tell(sentence);
    this.search = new SearchSlot(
      later,
      this.store,
      this.focus,
      details,
      { reveal: (node) => this.reveal(node), left: () => this.pane?.focus(), said },
      signal,
    );
    this.menu = new Menu(() => this.menuItems(), this.root.ownerDocument, signal);
    this.full = button(say("tools.fullscreen"), () => this.toggleFull(), signal, { icon: "full", isIconOnly: true });
    this.confirmed = (["retry_failed", "cancel_graph", "stop"] as const).map(
      (kind) => new ActionButton(kind, this.actionContext, () => [], signal),
    );
    this.build();
    this.listen();
    this.focus.subscribe((changed) => this.focusChanged(changed), signal);
    signal.addEventListener("abort", () => this.end(), { once: true });
    later.subscribe(() => this.arrived(), signal);
    this.arrived();
    this.wake();
  }

  // --- building ------------------------------------------------------------------------------------------------

  private build(): void {
    const { signal } = this;
    for (const { name, label, key } of PANES) {
      const tab = element(
        "button.td-button.td-panetab",
        { type: "button", role: "tab", "data-pane": name, "aria-selected": "false", "aria-keyshortcuts": key },
        say(label),
      );
      on(tab, "click", signal, () => this.go(name));
      this.tabs.append(tab);
    }
    set(this.tools, { "aria-label": say("aria.tools") });
    set(this.actions, { "aria-label": say("aria.actions") });
    this.full.root.hidden = !this.root.ownerDocument.fullscreenEnabled;
    fill(
      this.tools,
      this.tabs,
      this.search.root,
      element("span.td-space"),
      this.own,
      this.full.root,
      this.menu.button.root,
    );
    this.room.append(this.empty);
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
      element("div.td-left-side", {}, this.tools, this.search.chips, this.room, this.forReplay),
      this.splitter,
      this.inspector.root,
      this.menu.root,
      this.waiting,
    );
    this.waiting.append(new Waiting(this.later, signal).root);
    fill(this.root, this.summary.root, this.stripe, this.body, this.actions, this.handle, this.summary.announcer.root);
    // With the pane's body these are the five stops of the Tab key.
    rove([this.summary.root], signal);
    rove([this.tools, this.search.chips, this.room, this.forReplay], signal);
    rove([this.inspector.root], signal);
    rove([this.actions, this.handle], signal);
  }

  private listen(): void {
    const { signal, root } = this;
    on(root, "keydown", signal, (event) => this.key(event));
    for (const name of ["keyup", "keypress", "contextmenu"]) on(root, name, signal, (event) => event.stopPropagation());
    this.drag(this.handle, (event, start) => this.setHeight(start.height + event.clientY - start.y));
    this.drag(this.splitter, (event, start) => {
      if (this.isWide()) this.setColumn(start.column + start.x - event.clientX);
    });
    on(this.handle, "keydown", signal, (event) => {
      const step = event.key === "ArrowDown" ? 20 : event.key === "ArrowUp" ? -20 : 0;
      if (step === 0) return;
      event.preventDefault();
      this.setHeight(this.height() + step);
    });
    on(root.ownerDocument, "fullscreenchange", signal, () => this.fullChanged());
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
      this.tellPane(NOTHING);
      this.inspector.update();
    }, signal);
    watchTheme(this.root, () => this.themeChanged(), signal);
    on(this.root.ownerDocument, "visibilitychange", signal, () => this.tellVisible());
    const timer = setInterval(() => this.tick(), TICK_MS);
    signal.addEventListener("abort", () => clearInterval(timer), { once: true });
    this.resized();
    this.themeChanged();
    if (this.store.picture) this.changed(EVERYTHING);
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
    this.showPane(isDrawn);
    if (isSeen && this.isStale) this.restate();
  }

  private themeChanged(): void {
    const theme = readTheme(this.root);
    for (const pane of this.panes.values()) pane.setTheme?.(theme);
  }

  // --- panes ---------------------------------------------------------------------------------------------------

  /** Show a pane by wish; it is remembered. */
  private go(name: PaneName): void {
    if (this.state.isCollapsed) this.collapse(false);
    this.state.pane = name;
    this.choose();
    this.save();
  }

  /** The pane that is to be seen: the wished one; without a wish the graph, or the list where there is no room for it. */
  private choose(): void {
    const has = (name: PaneName): boolean => PANES.some((each) => each.name === name);
    const usual = this.root.dataset.tiny === "true" && has("list") ? "list" : "graph";
    const wished = this.state.pane;
    const name = wished && has(wished) ? wished : usual;
    if (this.pane?.name === name) return;
    const before = this.pane;
    const hadFocus = before?.root.contains(document.activeElement) ?? false;
    this.showPane(false);
    if (before) before.root.hidden = true;
    this.pane = this.paneOf(name);
    this.pane.root.hidden = false;
    set(this.root, { "data-pane": name });
    fill(this.own, this.pane.controls ?? null);
    for (const tab of this.tabs.querySelectorAll<HTMLElement>("[data-pane]"))
      set(tab, { "aria-selected": String(tab.dataset.pane === name) });
    this.placeEmpty();
    this.tellVisible();
    if (hadFocus) this.pane.focus();
  }

  private paneOf(name: PaneName): Pane {
    const known = this.panes.get(name);
    if (known) return known;
    const entry = PANES.find((each) => each.name === name);
    if (!entry) throw new Error(`there is no pane ${name}`);
    const make = name === "graph" ? makeGraphPane : this.later.now?.panes[name];
    const pane: Pane = make?.(this.paneContext()) ?? new WaitingPane(name, this.later, this.signal);
    const id = `td-${this.id}-pane-${name}`;
    set(pane.root, { id, role: "tabpanel", "aria-label": say(entry.label) });
    set(this.tabs.querySelector(`[data-pane=${name}]`) as Element, { "aria-controls": id });
    this.panes.set(name, pane);
    this.room.append(pane.root);
    const kept = this.state.panes[name];
    if (kept !== undefined) pane.restore?.(kept);
    if (this.store.picture) pane.changed(EVERYTHING);
    return pane;
  }

  private paneContext(): PaneContext {
    return {
      source: this.source,
      details: this.details,
      focus: this.focus,
      theme: readTheme(this.root),
      actions: this.actionContext,
      host: this.root,
      prefix: `td-${this.id}`,
      signal: this.signal,
      reveal: (node) => this.reveal(node),
      inspect: () => this.inspector.focus(),
      go: (name) => this.go(name),
      setFilter: (text) => this.search.set(text),
      keepLater: () => this.save(),
      leave: () => this.leave(),
    };
  }

  // --- what comes later ----------------------------------------------------------------------------------------

  /** The second part of the bundle is there, or did not come. */
  private arrived(): void {
    const { now } = this.later;
    if (!now || this.extras) return;
    const { source, focus, signal } = this;
    const back = (): void => this.pane?.focus();
    const does = { reveal: (node: number) => this.reveal(node), changed: () => this.resized() };
    const keyMap = new now.KeyMap(back, signal);
    const replay = new now.ReplayBar(source, focus, does, signal);
    const toSvg = (isWhole: boolean): string => this.toSvg(isWhole);
    const exporter = new now.ExportBox(source, { toSvg, closed: back }, signal);
    this.extras = { keyMap, replay, exporter };
    this.forReplay.append(replay.root);
    this.body.append(keyMap.root, exporter.root);
    this.search.arrived();
    this.inspector.arrived();
    this.replaceWaiting();
    this.waiting.hidden = true;
    this.wish?.(this.extras);
    this.wish = null;
  }

  private replaceWaiting(): void {
    const { pane } = this;
    for (const [name, each] of this.panes) {
      if (!(each instanceof WaitingPane)) continue;
      if (each !== pane) each.root.remove();
      this.panes.delete(name);
    }
    if (!(pane instanceof WaitingPane)) return;
    const hadFocus = pane.root.contains(document.activeElement);
    this.pane = null;
    this.isPaneShown = false;
    this.choose();
    pane.root.remove();
    if (hadFocus) (this.pane as Pane | null)?.focus();
  }

  /** Do it now, or when the second part is there; until then it is said what is waited for. */
  private withExtras(run: (extras: Extras) => void): void {
    if (this.extras) {
      run(this.extras);
      return;
    }
    this.wish = run;
    this.waiting.hidden = false;
    this.later.want();
  }

  private showPane(isShown: boolean): void {
    if (!this.pane || isShown === this.isPaneShown) return;
    this.isPaneShown = isShown;
    if (isShown) this.pane.show();
    else this.pane.hide();
  }

  private tellPane(changes: Readonly<Changes>): void {
    if (this.pane && (this.isPaneShown || changes.structure)) this.pane.changed(changes);
  }

  private reveal(node: number): void {
    if (node < 0 || node >= this.store.total) return;
    if (this.state.isCollapsed) this.collapse(false);
    this.focus.selectNodes([node]);
    this.pane?.reveal?.(node);
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
      const { marks, nodes } = this.focus.state;
      if (marks.some((mark) => mark >= this.store.markCount) || nodes.some((node) => node >= this.store.total))
        this.focus.selectMarks([]);
    }
    this.search.changed(changes);
    this.tellPane(changes);
    if (changes.structure) this.resized();
    this.restate();
  }

  /** What the view says, said anew. Out of sight only what is cheap: the rest follows when somebody can see it. */
  private restate(): void {
    this.summary.update(this.state.isCollapsed);
    for (const each of this.confirmed) each.update();
    const wasStale = this.isStale;
    this.isStale = !this.isSeen();
    if (this.isStale) return;
    this.showEmpty();
    this.inspector.update();
    this.showConnection();
    if (wasStale) this.tellPane(NOTHING);
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
    this.tellPane(NOTHING);
    this.restate();
  }

  private isNewer(): boolean {
    return (this.store.picture?.protocol ?? PROTOCOL) > PROTOCOL;
  }

  private detachedWords(): string {
    const { connection } = this.source;
    if (connection.why !== "saved" && (!this.store.picture || connection.why === "none")) return say("connection.none");
    return say(`connection.${connection.why}`, { time: timeOfDay((connection.heard || connection.since) / 1000) });
  }

  private tick(): void {
    if (!this.root.isConnected) {
      this.outSince ||= Date.now();
      if (Date.now() - this.outSince >= SLEEP_MS) this.sleep();
      return;
    }
    this.outSince = 0;
    if (this.store.picture && this.source.connection.state !== "detached") {
      this.pictureAt ||= Date.now();
      if (Date.now() - this.pictureAt >= FETCH_MS && this.isSeen() && !this.later.trouble) this.later.want();
    }
    if (!this.isSeen()) {
      this.isStale = true;
      return;
    }
    this.summary.showTimes();
    this.inspector.tick();
    this.showConnection();
    if (this.isPaneShown) this.pane?.tick?.();
  }

  private showConnection(): void {
    const { connection, pending } = this.source;
    const busy = pending.filter((each) => each.state === "busy").length;
    const { run } = this.store;
    const isSilent = run?.stale_since != null && !run.is_ended;
    const silence = Math.max(0, this.store.now() - (run?.stale_since ?? 0));
    let text: string;
    if (connection.state === "detached") text = "";
    else if (busy > 0) text = say("connection.busy", { n: busy });
    else if (connection.state === "connecting") text = say("connection.connecting");
    else if (connection.state === "quiet")
      text = say("connection.quiet", { n: Math.floor((Date.now() - connection.heard) / 1000) });
    else if (isSilent) text = say("connection.stale", { time: duration(Math.round(silence)) });
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
    const dot = element("span.td-dot", { "data-state": busy > 0 ? "busy" : isSilent ? "quiet" : connection.state });
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
    this.placeEmpty();
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

  /** "Ready" stands in the graph's corner, or in a line under another pane; what is said instead of a graph, over it. */
  private placeEmpty(): void {
    const corner = this.empty.dataset.place === "corner" ? this.room.querySelector(".td-corner") : null;
    (corner && this.pane?.name === "graph" ? corner : this.room).append(this.empty);
  }

  // --- selection -----------------------------------------------------------------------------------------------

  private focusChanged(changed: ReadonlySet<FocusPart>): void {
    if (changed.has("filter") || changed.has("isHiding")) {
      this.state.filter = this.focus.state.filter;
      this.state.isHiding = this.focus.state.isHiding;
      this.save();
    }
    if (!changed.has("marks") && !changed.has("nodes")) return;
    const { marks, nodes } = this.focus.state;
    this.state.marks = marks.slice(0, MOST_KEPT);
    this.state.nodes = nodes.slice(0, MOST_KEPT);
    this.inspector.show(marks, this.focus.node);
    this.resized();
    this.save();
  }

  private nextFailure(step: number): void {
    const failures = failuresInOrder(this.store);
    if (failures.length === 0) return;
    const at = failures.indexOf(this.focus.node);
    const next = at < 0 ? (step > 0 ? 0 : failures.length - 1) : (at + step + failures.length) % failures.length;
    this.reveal(failures[next] ?? 0);
  }

  // --- size ----------------------------------------------------------------------------------------------------

  private height(): number {
    if (this.state.height > 0) return this.state.height;
    const { total, picture } = this.store;
    const page = this.root.ownerDocument.defaultView?.innerHeight ?? 800;
    // A small graph gets the large view where that, and only that, shows its cards.
    const needed = (this.panes.get("graph")?.heightFor?.(this.root.clientWidth) ?? 0) + BARS;
    const isHigh = needed > HEIGHTS.small && needed <= HEIGHTS.large;
    let height: number = total > 30 || isHigh ? HEIGHTS.large : HEIGHTS.small;
    if (picture && total < 3 && this.pane?.name === "graph") height = HEIGHTS.tiny;
    if (this.inspector.isOpen) height = Math.max(height, this.isWide() ? WITH_INSPECTOR : WITH_DRAWER);
    return Math.min(height, Math.max(HEIGHTS.tiny, 0.7 * page));
  }

  private isWide(): boolean {
    return this.root.dataset.wide === "true";
  }

  private resized(): void {
    const width = this.root.clientWidth;
    const isFull = this.root.ownerDocument.fullscreenElement === this.root;
    const isInspecting = this.inspector.isOpen;
    set(this.root, {
      "data-wide": String(width >= WIDE),
      "data-narrow": String(width < NARROW),
      "data-tiny": String(width < TINY),
      "data-collapsed": String(this.state.isCollapsed),
      "data-few": String(this.store.total < 3 && !isInspecting && (this.pane?.name ?? "graph") === "graph"),
      "data-inspecting": String(isInspecting),
    });
    if (width > 0) this.choose();
    const height = Math.round(this.height());
    this.root.style.setProperty("--td-height", isFull ? "100%" : `${height}px`);
    set(this.handle, {
      "aria-valuemin": HEIGHTS.least,
      "aria-valuemax": HEIGHTS.most,
      "aria-valuenow": Math.max(HEIGHTS.least, Math.min(HEIGHTS.most, height)),
      "aria-valuetext": say("aria.pixels", { n: height }),
    });
    this.root.style.setProperty("--td-column", `${this.state.column}px`);
    this.splitter.hidden = !isInspecting || !this.isWide();
    if (this.store.picture) this.summary.showBar();
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
    this.summary.update(isCollapsed);
    this.save();
  }

  private drag(target: HTMLElement, moved: (event: PointerEvent, start: Drag) => void): void {
    let start: Drag | null = null;
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

  private menuItems(): readonly MenuItem[] {
    const keys = { label: say("tools.keys"), isOn: null, isNew: true, chosen: () => this.openKeys() };
    const own: MenuItem[] = [
      {
        label: say("replay.title"),
        isOn: this.extras?.replay.isOpen ?? false,
        isNew: true,
        chosen: () => this.withExtras(({ replay }) => (replay.isOpen ? replay.close() : void replay.open())),
      },
      {
        label: `${say("export.title")}…`,
        isOn: null,
        chosen: () => this.withExtras(({ exporter }) => exporter.open(true)),
      },
    ];
    return [...(this.pane?.menu?.() ?? []), ...(this.store.run?.started == null ? own.slice(1) : own), keys];
  }

  private openKeys(): void {
    this.withExtras(({ keyMap }) => keyMap.open(true));
  }

  /** Of the shown pane; of the graph where that has no picture. */
  private toSvg(isWhole: boolean): string {
    const shown = this.pane?.toSvg ? this.pane : this.panes.get("graph");
    const write = this.later.now?.toSvg;
    return (write && shown?.toSvg?.(isWhole, write)) ?? "";
  }

  // --- keys ----------------------------------------------------------------------------------------------------

  private key(event: KeyboardEvent): void {
    event.stopPropagation();
    if (event.defaultPrevented) return;
    if (this.menu.key(event)) return;
    if (event.key === "Escape") {
      event.preventDefault();
      this.escape();
      return;
    }
    const { target } = event;
    if (target instanceof HTMLInputElement || target instanceof HTMLTextAreaElement) return;
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "c") {
      this.copyReference();
      return;
    }
    const isBody = this.pane?.isBody(target) ?? false;
    if (!isBody && target !== this.root) return;
    if (isBody && this.pane?.key(event)) event.preventDefault();
    else if (!event.ctrlKey && !event.metaKey && !event.altKey && this.shellKey(event)) event.preventDefault();
  }

  private shellKey(event: KeyboardEvent): boolean {
    const pane = PANES.find((each) => each.key === event.key);
    if (pane) {
      this.go(pane.name);
      this.pane?.focus();
      return true;
    }
    const isAnyChosen = this.focus.state.marks.length > 0;
    switch (event.key) {
      case "f":
      case "F":
        this.nextFailure(event.shiftKey ? -1 : 1);
        break;
      case "r":
        if (isAnyChosen && !this.inspector.press("retry")) this.inspector.press("blocker");
        break;
      case "R":
        this.confirmed.find((each) => each.kind === "retry_failed")?.press();
        break;
      case "c":
        if (isAnyChosen) this.inspector.press("cancel", true);
        else this.confirmed.find((each) => each.kind === "cancel_graph")?.press();
        break;
      case "b":
        this.reveal(this.blocker());
        break;
      case "[":
      case "]":
        this.turnAttempt(event.key === "]" ? 1 : -1);
        break;
      case "p":
        this.search.set(this.focus.state.filter === CRITICAL ? "" : CRITICAL);
        break;
      case "/":
        this.search.focus();
        break;
      case "?":
        this.openKeys();
        break;
      default:
        return false;
    }
    return true;
  }

  /** The attempt that Timeline and Logs show: of the selected node, or as many as any node had; 0 stands for all. */
  private turnAttempt(step: number): void {
    const { node } = this.focus;
    const { attempt } = this.store;
    const most = node >= 0 ? (attempt[node] ?? 0) : attempt.reduce((high, each) => Math.max(high, each), 0);
    const next = (this.focus.state.attempt + step + most + 1) % (most + 1);
    this.focus.set({ attempt: next });
  }

  private blocker(): number {
    const { node } = this.focus;
    return node >= 0 && this.store.status[node] === Status.PARENT_FAILED ? blockerOf(this.store, node) : -1;
  }

  private copyReference(): void {
    if ((this.root.ownerDocument.defaultView?.getSelection()?.toString() ?? "") !== "") return;
    const { node } = this.focus;
    const reference = node >= 0 ? this.details.lastOf(node)?.reference : this.store.picture?.reference;
    if (reference) void copyText(reference, this.connection, this.signal);
  }

  /** Closes what is open, then clears the selection, then leaves to the cell. */
  private escape(): void {
    if (!this.waiting.hidden) this.endWish();
    else if (this.extras?.keyMap.isOpen) this.extras.keyMap.open(false);
    else if (this.extras?.exporter.isOpen) this.extras.exporter.open(false);
    else if (this.focus.state.marks.length > 0) {
      this.focus.selectMarks([]);
      this.pane?.focus();
    } else if (!this.pane?.escape?.() && !this.search.clear()) this.leave();
  }

  private endWish(): void {
    this.wish = null;
    this.waiting.hidden = true;
    this.pane?.focus();
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
    const { marks, nodes, tab, filter, isHiding, panes } = this.state;
    this.focus.set({ isHiding });
    for (const [name, pane] of this.panes) if (panes[name] !== undefined) pane.restore?.(panes[name]);
    if (filter) this.search.set(filter);
    const isKnown = marks.every((mark) => mark < this.store.markCount);
    if (marks.length === 0 || !isKnown || nodes.some((node) => node >= this.store.total)) return;
    this.focus.set({ marks, nodes });
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
      for (const [name, pane] of this.panes) if (pane.keep) this.state.panes[name] = pane.keep();
      try {
        sessionStorage.setItem(this.keptAs(), JSON.stringify(this.state));
      } catch {
        // A host may close the storage; then a reload starts afresh.
      }
    }, SAVE_MS);
  }
}
