// One view of a graph: it hosts the panes, says what the whole graph is about, and owns size, focus, keys and what is
// remembered. What is drawn stands in the panes, in `summary`, `inspector` and `actions`.
import { failuresInOrder } from "../model/derive.ts";
import { Focus, type FocusPart } from "../model/focus.ts";
import type { Changes, Store } from "../model/store.ts";
import { plain, say } from "../model/words.ts";
import { readTheme, type Theme, watchTheme } from "../render/theme.ts";
import type { Source } from "../sources/source.ts";
import { ActionButton, type ActionContext, type ActionKind } from "./actions.ts";
import { ConnectionWords } from "./connection.ts";
import type { Details } from "./details.ts";
import { copyText, element, fill, on, rove, set } from "./dom.ts";
import { EmptyNote } from "./empty.ts";
import type { ExportBox } from "./export.ts";
import { COLUMN, Frame } from "./frame.ts";
import { Held } from "./held.ts";
import { InspectorSlot } from "./inspector_slot.ts";
import type { KeyMap } from "./keymap.ts";
import { type Doing, isOthers, shellKey } from "./keys.ts";
import { fresh, type Kept, recall, remember } from "./memory.ts";
import { Menu } from "./menu.ts";
import type { Later } from "./more.ts";
import type { MenuItem, Pane, PaneContext, PaneName } from "./pane.ts";
import { PANES } from "./panes.ts";
import type { ReplayBar } from "./replay.ts";
import { SearchSlot } from "./search_slot.ts";
import { PaneStage } from "./stage.ts";
import { Summary } from "./summary.ts";
import type { Teaching } from "./teaching.ts";
import { Waiting } from "./waiting.ts";

const TICK_MS = 1000;
const SLEEP_MS = 5000;
const SAVE_MS = 400;
/** After the first picture the second part of the bundle is fetched, so that it is there when it is wanted. */
const FETCH_MS = 2000;
const MOST_KEPT = 50;
const NOTHING: Changes = { structure: false, statuses: false, names: false, edges: false, run: false };
const EVERYTHING: Changes = { structure: true, statuses: true, names: true, edges: true, run: true };

/** What comes with the second part of the bundle and is not a pane. */
interface Extras {
  readonly keyMap: KeyMap;
  readonly replay: ReplayBar;
  readonly exporter: ExportBox;
  readonly teaching: Teaching;
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
  private readonly stage: PaneStage;
  private state: Kept = fresh(COLUMN.usual);
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
  private readonly frame: Frame;
  private readonly words: ConnectionWords;
  private readonly empty: EmptyNote;
  private readonly held: Held;
  private extras: Extras | null = null;
  private pictureAt = 0;
  /** As read in the page; null as long as the root stands in none. */
  private theme: Theme | null = null;

  private readonly body = element("div.td-body");
  private readonly forReplay = element("div.td-slot");
  private readonly waiting = element("div.td-keys.td-waitbox", { hidden: true });
  private readonly tools = element("div.td-tools", { role: "toolbar" });
  private readonly actions = element("div.td-actions", { role: "toolbar" });

  constructor(host: HTMLElement, source: Source, details: Details, id: string, signal: AbortSignal, later: Later) {
    this.source = source;
    this.later = later;
    this.store = source.store;
    this.details = details.within(source.store);
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
    this.held = new Held(later, this.root, signal);
    this.words = new ConnectionWords(source, signal);
    this.stage = this.makeStage();
    this.empty = new EmptyNote(source, this.stage.room, signal);
    this.frame = this.makeFrame();
    this.actionContext = {
      source,
      highlight: (action, nodes) => this.pane?.highlight?.(action, nodes),
    };
    this.inspector = new InspectorSlot(
      later,
      source,
      this.focus,
      this.details,
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
      this.held,
      this.store,
      this.focus,
      this.details,
      { reveal: (node) => this.reveal(node), left: () => this.pane?.focus(), said },
      signal,
    );
    this.menu = new Menu(() => this.menuItems(), this.root.ownerDocument, signal);
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
    set(this.tools, { "aria-label": say("aria.tools") });
    set(this.actions, { "aria-label": say("aria.actions") });
    fill(
      this.tools,
      this.stage.tabs,
      this.search.root,
      element("span.td-space"),
      this.stage.own,
      this.frame.full.root,
      this.menu.button.root,
    );
    fill(this.actions, ...this.confirmed.map((each) => each.root), element("span.td-space"), this.words.line);
    fill(
      this.body,
      element("div.td-left-side", {}, this.tools, this.search.chips, this.stage.room, this.forReplay),
      this.frame.splitter,
      this.inspector.root,
      this.menu.root,
      this.waiting,
    );
    this.waiting.append(new Waiting(this.later, signal).root);
    const { summary, words, body, actions, frame } = this;
    fill(this.root, summary.root, words.stripe, body, actions, frame.handle, summary.announcer.root);
    // With the pane's body these are the five stops of the Tab key.
    rove([this.summary.root], signal);
    rove([this.tools, this.search.chips, this.stage.room, this.forReplay], signal);
    rove([this.inspector.root], signal);
    rove([this.actions, this.frame.handle], signal);
  }

  private makeStage(): PaneStage {
    const staging = {
      store: this.store,
      later: this.later,
      prefix: `td-${this.id}`,
      context: () => this.paneContext(),
      kept: (name: PaneName) => this.state.panes[name],
      wished: (name: PaneName) => this.go(name),
      changed: (pane: Pane) => {
        set(this.root, { "data-pane": pane.name });
        this.empty.place(pane);
        this.tellVisible();
        this.extras?.teaching.paneChanged();
      },
    };
    return new PaneStage(staging, this.signal);
  }

  private get pane(): Pane | null {
    return this.stage.now;
  }

  private makeFrame(): Frame {
    const shell = this;
    const framed = {
      store: this.store,
      get state() {
        return shell.state;
      },
      get isInspecting() {
        return shell.inspector.isOpen;
      },
      get paneName() {
        return shell.pane?.name ?? "graph";
      },
      get below() {
        return shell.extras?.teaching.below ?? 0;
      },
      cardHeight: (width: number) => this.stage.panes.get("graph")?.heightFor?.(width) ?? 0,
      widthKnown: () => this.choose(),
      keep: () => this.save(),
    };
    return new Frame(this.root, framed, this.signal);
  }

  private listen(): void {
    const { signal, root } = this;
    on(root, "keydown", signal, (event) => this.key(event));
    for (const name of ["keyup", "keypress", "contextmenu"]) on(root, name, signal, (event) => event.stopPropagation());
    const sized = new ResizeObserver(() => {
      if (!this.theme) this.themeChanged();
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
      this.stage.tell(NOTHING);
      this.inspector.update();
    }, signal);
    watchTheme(this.root, () => this.themeChanged(), signal);
    on(this.root.ownerDocument, "visibilitychange", signal, () => this.tellVisible());
    const timer = setInterval(() => this.tick(), TICK_MS);
    signal.addEventListener("abort", () => clearInterval(timer), { once: true });
    this.themeChanged();
    this.resized();
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
    this.stage.setShown(isDrawn);
    if (isSeen && this.isStale) this.restate();
  }

  private themeChanged(): void {
    const theme = readTheme(this.root);
    this.theme = this.root.isConnected ? theme : null;
    for (const pane of this.stage.panes.values()) pane.setTheme?.(theme);
  }

  // --- panes ---------------------------------------------------------------------------------------------------

  /** Show a pane by wish; it is remembered. */
  private go(name: PaneName): void {
    if (this.state.isCollapsed) this.collapse(false);
    this.state.pane = name;
    this.choose();
    this.resized();
    this.save();
  }

  /** The pane that is to be seen: the wished one; without a wish the graph, or the list where there is no room for it. */
  private choose(): void {
    const has = (name: PaneName): boolean => PANES.some((each) => each.name === name);
    const usual = (this.root.dataset.tiny === "true" || this.store.picture?.trouble) && has("list") ? "list" : "graph";
    const wished = this.state.pane;
    this.stage.put(wished && has(wished) ? wished : usual);
  }

  private paneContext(): PaneContext {
    return {
      source: this.source,
      details: this.details,
      focus: this.focus,
      theme: this.theme ?? readTheme(this.root),
      actions: this.actionContext,
      host: this.root,
      prefix: `td-${this.id}`,
      signal: this.signal,
      reveal: (node) => this.reveal(node),
      inspect: () => this.inspector.focus(),
      go: (name) => this.go(name),
      later: (run) => this.withExtras(() => this.later.now && run(this.later.now)),
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
    const reveal = (node: number): void => this.reveal(node);
    const teaching = new now.Teaching(
      source,
      focus,
      this.details,
      { reveal, graph: () => this.stage.panes.get("graph") ?? null, changed: () => this.taught(), left: back },
      signal,
    );
    const does = { reveal, changed: () => this.resized(), left: back, goes: () => teaching.predict.goes() };
    const keyMap = new now.KeyMap(back, signal);
    const replay = new now.ReplayBar(source, focus, does, signal);
    const toSvg = (isWhole: boolean): string => this.toSvg(isWhole);
    const exporter = new now.ExportBox(source, { toSvg, closed: back }, signal);
    this.extras = { keyMap, replay, exporter, teaching };
    this.forReplay.append(teaching.root, replay.root);
    teaching.restore(this.state.teaching);
    this.body.append(keyMap.root, exporter.root);
    this.search.arrived();
    this.inspector.arrived();
    this.stage.arrived(this.focus.node);
    this.waiting.hidden = true;
    this.held.release();
  }

  /** A switch for teaching was turned, or what stands below has another height. */
  private taught(): void {
    if (!this.extras) return;
    this.state.teaching = this.extras.teaching.keep();
    this.resized();
    this.save();
  }

  /** Do it now, or when the second part is there; until then it is said what is waited for. */
  private withExtras(run: (extras: Extras) => void): void {
    this.held.do(() => this.extras && run(this.extras), true);
    this.waiting.hidden = this.extras !== null;
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
    try {
      this.search.changed(changes);
      this.stage.tell(changes);
      if (changes.structure) this.resized();
    } finally {
      this.restate();
    }
  }

  /** What the view says, said anew. Out of sight only what is cheap: the rest follows when somebody can see it. */
  private restate(): void {
    this.summary.update(this.state.isCollapsed);
    for (const each of this.confirmed) each.update();
    const wasStale = this.isStale;
    this.isStale = !this.isSeen();
    if (this.isStale) return;
    this.empty.show(this.pane);
    this.inspector.update();
    this.words.show();
    if (wasStale) this.stage.tell(NOTHING);
  }

  private isSeen(): boolean {
    return this.isOnScreen && !this.root.ownerDocument.hidden && this.root.isConnected;
  }

  private connectionChanged(): void {
    const { connection } = this.source;
    if (connection.state === "live") {
      this.details.forgetTrouble();
      if (this.later.trouble) this.later.want();
    }
    set(this.root, { "data-state": connection.state });
    this.words.changed();
    this.stage.tell(NOTHING);
    this.restate();
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
    this.extras?.teaching.tick();
    this.words.show();
    if (this.stage.isShown) this.pane?.tick?.();
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

  private resized(): void {
    this.frame.update();
  }

  private collapse(isCollapsed: boolean): void {
    this.state.isCollapsed = isCollapsed;
    this.resized();
    this.tellVisible();
    this.summary.update(isCollapsed);
    this.save();
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
    const teaching = this.extras?.teaching.menu() ?? [];
    const shown = this.store.run?.started == null ? own.slice(1) : own;
    return [...(this.pane?.menu?.() ?? []), ...shown, ...teaching, keys];
  }

  private openKeys(): void {
    this.withExtras(({ keyMap }) => keyMap.open(true));
  }

  /** Of the shown pane; of the graph where that has no picture. */
  private toSvg(isWhole: boolean): string {
    const shown = this.pane?.toSvg ? this.pane : this.stage.panes.get("graph");
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
    if ((!isBody && target !== this.root) || isOthers(event)) return;
    // A pane by its key comes at once, also while keys wait.
    const isPane = PANES.some((each) => each.key === event.key);
    if (isBody && this.extras?.teaching.key(event)) {
      event.preventDefault();
      return;
    }
    const isHeld = !isPane && this.held.takes(event, isBody && this.stage.isWaiting);
    if (isHeld || (isBody && this.pane?.key(event))) event.preventDefault();
    else if (this.shellKey(event)) event.preventDefault();
  }

  private shellKey(event: KeyboardEvent): boolean {
    const doing: Doing = {
      go: (name) => {
        this.go(name);
        this.pane?.focus();
      },
      nextFailure: (step) => this.nextFailure(step),
      reveal: (node) => this.reveal(node),
      pressChosen: (kinds, isAsking) => this.pressChosen(kinds, isAsking),
      pressWhole: (kind) => this.confirmed.find((each) => each.kind === kind)?.press(),
      toggleFilter: (text) => this.search.set(this.search.value.trim() === text ? "" : text),
      search: () => this.search.focus(),
      openKeys: () => this.openKeys(),
    };
    return shellKey(event, this.focus, this.store, doing);
  }

  /** For what is selected now; if that is something else when the buttons are there, for nothing. */
  private pressChosen(kinds: readonly ActionKind[], isAsking: boolean): void {
    const { marks, nodes } = this.focus.state;
    this.held.do(() => {
      if (this.focus.state.marks !== marks || this.focus.state.nodes !== nodes) return;
      kinds.some((kind) => this.inspector.press(kind, isAsking));
    });
  }

  private copyReference(): void {
    if ((this.root.ownerDocument.defaultView?.getSelection()?.toString() ?? "") !== "") return;
    const { node } = this.focus;
    const copy = (reference: string | undefined): void => {
      if (reference) void copyText(reference, this.words.line, this.signal);
    };
    if (node < 0) copy(this.store.picture?.reference);
    else void this.details.get(node).then((detail) => copy(detail?.reference));
  }

  /** Closes what is open, then clears the selection, then leaves to the cell. */
  private escape(): void {
    if (this.held.drop() || !this.waiting.hidden) {
      this.waiting.hidden = true;
      this.pane?.focus();
    } else if (this.extras?.keyMap.isOpen) this.extras.keyMap.open(false);
    else if (this.extras?.exporter.isOpen) this.extras.exporter.open(false);
    else if (this.focus.state.marks.length > 0) {
      this.focus.selectMarks([]);
      this.pane?.focus();
    } else if (!this.pane?.escape?.() && !this.search.clear()) this.leave();
  }

  private leave(): void {
    const active = document.activeElement;
    if (active instanceof HTMLElement) active.blur();
    this.root.closest<HTMLElement>(".jp-Notebook, .jp-CodeConsole")?.focus();
  }

  // --- what is remembered --------------------------------------------------------------------------------------

  private restore(): void {
    if (this.isRestored) return;
    this.isRestored = true;
    this.state = { ...this.state, ...recall(this.root, this.store.picture?.graph_id ?? "") };
    this.extras?.teaching.restore(this.state.teaching);
    const { marks, nodes, tab, filter, isHiding, panes } = this.state;
    this.focus.set({ isHiding });
    for (const [name, pane] of this.stage.panes) if (panes[name] !== undefined) pane.restore?.(panes[name]);
    if (filter) this.search.set(filter);
    const isKnown = marks.every((mark) => mark < this.store.markCount);
    if (marks.length === 0 || !isKnown || nodes.some((node) => node >= this.store.total)) return;
    this.focus.set({ marks, nodes });
    if (tab) this.inspector.chooseTab(tab);
  }

  private save(): void {
    if (!this.isRestored || this.saveTimer !== undefined) return;
    this.saveTimer = setTimeout(() => {
      this.saveTimer = undefined;
      if (!this.root.isConnected || !this.store.picture) return;
      this.state.tab = this.inspector.isOpen ? this.inspector.tab : null;
      for (const [name, pane] of this.stage.panes) if (pane.keep) this.state.panes[name] = pane.keep();
      remember(this.root, this.store.picture.graph_id, this.state);
    }, SAVE_MS);
  }
}
