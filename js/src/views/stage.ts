// The tabs and the pane that is seen: panes are made when they are first shown, kept, and told of changes while shown.
import type { Changes, Store } from "../model/store.ts";
import { say } from "../model/words.ts";
import { element, fill, on, set } from "./dom.ts";
import { makeGraphPane } from "./graph_pane.ts";
import type { Later } from "./more.ts";
import type { Pane, PaneContext, PaneName } from "./pane.ts";
import { PANES } from "./panes.ts";
import { WaitingPane } from "./waiting.ts";

const EVERYTHING: Changes = { structure: true, statuses: true, names: true, edges: true, run: true };

/** What a view does for its panes. */
export interface Staging {
  readonly store: Store;
  readonly later: Later;
  /** Begins every id. */
  readonly prefix: string;
  context(): PaneContext;
  /** What a pane was when it was seen last, before a reload. */
  kept(name: PaneName): unknown;
  /** A tab was pressed. */
  wished(name: PaneName): void;
  /** Another pane stands there now. */
  changed(pane: Pane): void;
}

export class PaneStage {
  readonly tabs = element("div.td-panetabs", { role: "tablist", "aria-label": say("tools.panes") });
  readonly own = element("span.td-own");
  readonly room = element("div.td-room");
  /** Every pane that was ever shown. */
  readonly panes = new Map<PaneName, Pane>();
  now: Pane | null = null;
  private readonly staging: Staging;
  private readonly signal: AbortSignal;
  private isSeen = false;

  constructor(staging: Staging, signal: AbortSignal) {
    this.staging = staging;
    this.signal = signal;
    for (const { name, label, key } of PANES) {
      const tab = element(
        "button.td-button.td-panetab",
        { type: "button", role: "tab", "data-pane": name, "aria-selected": "false", "aria-keyshortcuts": key },
        say(label),
      );
      on(tab, "click", signal, () => staging.wished(name));
      this.tabs.append(tab);
    }
  }

  get isShown(): boolean {
    return this.isSeen;
  }

  get isWaiting(): boolean {
    return this.now instanceof WaitingPane;
  }

  /** Put this pane in place of the present one. The keyboard goes with it. */
  put(name: PaneName): void {
    if (this.now?.name === name) return;
    const before = this.now;
    const hadFocus = before?.root.contains(document.activeElement) ?? false;
    this.setShown(false);
    if (before) before.root.hidden = true;
    const pane = this.paneOf(name);
    this.now = pane;
    pane.root.hidden = false;
    fill(this.own, pane.controls ?? null);
    for (const tab of this.tabs.querySelectorAll<HTMLElement>("[data-pane]"))
      set(tab, { "aria-selected": String(tab.dataset.pane === name) });
    this.staging.changed(pane);
    if (hadFocus) pane.focus();
  }

  setShown(isShown: boolean): void {
    if (!this.now || isShown === this.isSeen) return;
    this.isSeen = isShown;
    if (isShown) this.now.show();
    else this.now.hide();
  }

  tell(changes: Readonly<Changes>): void {
    if (this.now && (this.isSeen || changes.structure)) this.now.changed(changes);
  }

  /** The panes have come: each in the place of what waited for it. `node` is what was selected meanwhile. */
  arrived(node: number): void {
    const waited = this.now;
    for (const [name, each] of this.panes) {
      if (!(each instanceof WaitingPane)) continue;
      if (each !== waited) each.root.remove();
      this.panes.delete(name);
    }
    if (!(waited instanceof WaitingPane)) return;
    const hadFocus = waited.root.contains(document.activeElement);
    this.now = null;
    this.isSeen = false;
    this.put(waited.name);
    waited.root.remove();
    const now = this.now as Pane | null;
    if (hadFocus) now?.focus();
    if (node >= 0) now?.reveal?.(node);
  }

  private paneOf(name: PaneName): Pane {
    const known = this.panes.get(name);
    if (known) return known;
    const entry = PANES.find((each) => each.name === name);
    if (!entry) throw new Error(`there is no pane ${name}`);
    const { staging } = this;
    const make = name === "graph" ? makeGraphPane : staging.later.now?.panes[name];
    const pane: Pane = make?.(staging.context()) ?? new WaitingPane(name, staging.later, this.signal);
    const id = `${staging.prefix}-pane-${name}`;
    set(pane.root, { id, role: "tabpanel", "aria-label": say(entry.label) });
    set(this.tabs.querySelector(`[data-pane=${name}]`) as Element, { "aria-controls": id });
    this.panes.set(name, pane);
    this.room.append(pane.root);
    const kept = staging.kept(name);
    if (kept !== undefined) pane.restore?.(kept);
    if (staging.store.picture) pane.changed(EVERYTHING);
    return pane;
  }
}
