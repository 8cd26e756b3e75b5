// Logs: one list for the whole graph, narrowed by the filter, the selection, level and attempt.
import { match } from "../model/filter.ts";
import { halves, spans } from "../model/loglines.ts";
import { asideOf } from "../model/aside.ts";
import type { Changes } from "../model/store.ts";
import { say } from "../model/words.ts";
import type { LogScope } from "../protocol.ts";
import { type Button, button, element, set } from "./dom.ts";
import { COPIED_LINES, isSaved, LogList, silence } from "./loglist.ts";
import type { Pane, PaneContext } from "./pane.ts";

/** What the level button goes through: all, warnings, errors, and each stream. */
const LEVELS = [0, 30, 40, 1, 2, 3] as const;

class LogsPane implements Pane {
  readonly name = "logs";
  readonly root: HTMLElement;
  readonly controls: HTMLElement;
  private readonly context: PaneContext;
  private readonly list: LogList;
  private readonly levelButton: Button;
  private readonly selectedButton: Button;
  private readonly wrapButton: Button;
  private level = 0;
  private isSelectedOnly = false;
  private hadSecrets = false;

  constructor(context: PaneContext) {
    const { source, focus, prefix, signal } = context;
    this.context = context;
    this.list = new LogList(
      source,
      focus,
      `${prefix}-log`,
      {
        scope: () => this.scope(),
        nothing: () => this.nothing(),
        chosen: (node) => context.reveal(node),
        cleared: () => this.clear(),
        changed: () => this.showSwitches(),
      },
      signal,
    );
    this.root = this.list.root;
    this.levelButton = button("", () => this.turnLevel(), signal, { title: say("logs.level_title") });
    this.selectedButton = button(say("logs.selected"), () => this.turnSelected(), signal, {
      className: "is-switch",
      title: say("logs.selected_title"),
    });
    this.wrapButton = button(say("logs.wrap"), () => this.list.wrap(), signal, {
      className: "is-switch",
      title: say("logs.wrap_title"),
    });
    const find = button(say("logs.find_open"), () => this.list.openFind(), signal, {
      icon: "search",
      isIconOnly: true,
    });
    const copy: Button = button(
      say("logs.copy"),
      () => {
        void this.list.copy(copy.root).then(
          (n) => copy.setTitle(say("logs.copied", { n })),
          () => undefined,
        );
      },
      signal,
      { icon: "copy", isIconOnly: true, title: say("logs.copy_title", { n: COPIED_LINES }) },
    );
    const download = button(say("logs.download"), () => void this.download(), signal, {
      icon: "down",
      isIconOnly: true,
      title: say("logs.download_title"),
    });
    this.controls = element(
      "span.td-logtools",
      {},
      this.levelButton.root,
      this.selectedButton.root,
      this.wrapButton.root,
      find.root,
      copy.root,
      download.root,
    );
    for (const each of isSaved(source) ? [find, copy, download] : []) each.setBlocked(say("logs.empty_saved"));
    this.showSwitches();
    focus.subscribe((changed) => {
      if (
        changed.has("mask") ||
        changed.has("filter") ||
        changed.has("attempt") ||
        (changed.has("nodes") && this.isSelectedOnly) ||
        (changed.has("marks") && this.isSelectedOnly)
      )
        this.list.scopeChanged();
    }, signal);
  }

  /** Nodes that filter and selection leave; null for all. */
  private wanted(): readonly number[] | null {
    const { focus, source } = this.context;
    const { lines, nodes: ofNodes } = halves(focus.state.filter);
    // What the filter says about lines leaves no node out: its lines may hold what neither its name nor its error does.
    const mask = lines ? match(ofNodes, source.store) : focus.state.mask;
    const nodes = this.isSelectedOnly ? focus.chosen() : mask && [...mask.keys()];
    return mask && nodes ? nodes.filter((node) => mask[node] === 1) : nodes;
  }

  /** How many of the wanted nodes have lines that would tell what is hidden. */
  private secrets(): number {
    const { store } = this.context.source;
    if (!store.hasSecrets) return 0;
    return (this.wanted() ?? [...store.status.keys()]).filter((node) => store.isSecret(node)).length;
  }

  private scope(): LogScope {
    const { focus, source } = this.context;
    const { store } = source;
    const { lines } = halves(focus.state.filter);
    let nodes = this.wanted();
    if (store.hasSecrets) nodes = (nodes ?? [...store.status.keys()]).filter((node) => !store.isSecret(node));
    return {
      ...(nodes && { nodes: spans(nodes) }),
      attempt: focus.state.attempt,
      least: this.level >= 10 ? this.level : 0,
      stream: this.level < 10 ? this.level : 0,
      filter: lines,
    };
  }

  private nothing(): string {
    const { source, details } = this.context;
    const { store } = source;
    const chosen = this.isSelectedOnly ? this.context.focus.chosen() : [];
    const n = this.secrets();
    if (n > 0) return say("logs.empty_secret", { n });
    const only = chosen.length === 1 ? chosen[0] : undefined;
    if (only !== undefined && this.level === 0) return silence(store, details, only);
    const scope = this.scope();
    if (scope.nodes || scope.attempt || scope.least || scope.stream || scope.filter) return "";
    return say(store.run?.is_ended ? "logs.empty_done" : "logs.empty");
  }

  search(): void {
    if (!this.isSelectedOnly) this.turnSelected();
    this.list.openFind();
  }

  private clear(): void {
    this.level = 0;
    this.isSelectedOnly = false;
    this.showSwitches();
    this.context.setFilter("");
    this.context.focus.set({ attempt: 0 });
    this.list.scopeChanged();
  }

  private turnLevel(): void {
    this.level = LEVELS[(LEVELS.indexOf(this.level as (typeof LEVELS)[number]) + 1) % LEVELS.length] ?? 0;
    this.showSwitches();
    this.list.scopeChanged();
    this.context.keepLater();
  }

  private turnSelected(): void {
    this.isSelectedOnly = !this.isSelectedOnly;
    this.showSwitches();
    this.list.scopeChanged();
  }

  private showSwitches(): void {
    this.levelButton.setLabel(say(`logs.level_${this.level}` as "logs.level_0"));
    set(this.levelButton.root, { "data-on": this.level > 0 });
    set(this.selectedButton.root, { "aria-pressed": String(this.isSelectedOnly) });
    set(this.wrapButton.root, { "aria-pressed": String(this.list.isWrapped) });
  }

  private async download(): Promise<void> {
    const { source, signal } = this.context;
    try {
      const { number, name } = (await source.ask("log_file", 0, signal, { scope: this.scope() })) as {
        number: number;
        name: string;
      };
      const bytes = await asideOf(source.store, number, signal);
      const url = URL.createObjectURL(new Blob([bytes.slice()], { type: "text/plain" }));
      const link = element("a", { href: url, download: name });
      link.click();
      setTimeout(() => URL.revokeObjectURL(url), 10_000);
    } catch {
      // The connection's own words say why.
    }
  }

  show(): void {
    this.list.show();
  }

  hide(): void {
    this.list.hide();
  }

  changed(changes: Readonly<Changes>): void {
    const { hasSecrets } = this.context.source.store;
    if (changes.structure || hasSecrets || this.hadSecrets) this.list.scopeChanged();
    this.hadSecrets = hasSecrets;
    this.list.draw();
  }

  isBody(target: EventTarget | null): boolean {
    return target === this.list.body;
  }

  key(event: KeyboardEvent): boolean {
    return this.list.key(event);
  }

  focus(): void {
    this.list.body.focus({ preventScroll: true });
  }

  escape(): boolean {
    return this.list.closeFind();
  }

  keep(): unknown {
    return { level: this.level, wrap: this.list.isWrapped };
  }

  restore(kept: unknown): void {
    if (typeof kept !== "object" || kept === null) return;
    const { level, wrap } = kept as { level?: unknown; wrap?: unknown };
    if (LEVELS.includes(level as 0)) this.level = level as number;
    if (wrap === true && !this.list.isWrapped) this.list.wrap();
    this.showSwitches();
  }
}

export const makeLogsPane = (context: PaneContext): Pane => new LogsPane(context);
