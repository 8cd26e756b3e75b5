// The graph as a pane: its zoom buttons, its entries of the menu, and the selection that it shares with the others.
import type { FocusPart } from "../model/focus.ts";
import type { Changes } from "../model/store.ts";
import { say } from "../model/words.ts";
import type { Action } from "../protocol.ts";
import type { Direction } from "../render/place.ts";
import type { Theme } from "../render/theme.ts";
import type { CriticalLayer } from "./critical.ts";
import { button, element, on } from "./dom.ts";
import { type GraphState, GraphView } from "./graph.ts";
import type { MarkLayer, MenuItem, Pane, PaneContext, WriteSvg } from "./pane.ts";

class GraphPane implements Pane {
  readonly name = "graph";
  readonly root: HTMLElement;
  readonly controls: HTMLElement;
  readonly graph: GraphView;
  private readonly context: PaneContext;
  private readonly zoomText: ReturnType<typeof button>;
  /** Made when it is first wanted. */
  private critical: CriticalLayer | null = null;
  /** True while a selection goes from one to the other, so that it does not come back. */
  private isPassing = false;

  constructor(context: PaneContext) {
    const { source, details, theme, prefix, signal, focus } = context;
    this.context = context;
    this.zoomText = button("100 %", () => this.graph.sight.zoomTo(1), signal, {
      className: "td-zoomtext",
      title: say("tools.zoom_reset"),
    });
    this.graph = new GraphView(
      source,
      details,
      theme,
      { camera: null, direction: "auto", hasEdges: true },
      {
        selected: (marks, node) =>
          this.pass(() => {
            if (node >= 0) focus.set({ marks: [...marks], nodes: [node] });
            else focus.selectMarks([...marks]);
          }),
        opened: () => context.inspect(),
        moved: () => this.moved(),
        leave: () => context.leave(),
        listed: (mark) => {
          focus.selectMarks([mark]);
          context.go("list");
        },
        hovered: (node) => focus.set({ hovered: node }),
        unhidden: () => focus.set({ isHiding: false }),
      },
      `${prefix}-mark`,
      signal,
    );
    this.root = this.graph.root;
    const fit = button(say("tools.fit"), () => this.graph.sight.fitAll(), signal, { icon: "fit", isIconOnly: true });
    const zoomIn = button(say("tools.zoom_in"), () => this.graph.sight.zoomBy(1.25), signal, {
      icon: "plus",
      isIconOnly: true,
    });
    const zoomOut = button(say("tools.zoom_out"), () => this.graph.sight.zoomBy(0.8), signal, {
      icon: "minus",
      isIconOnly: true,
    });
    this.controls = element("span", {}, fit.root);
    this.graph.controls.prepend(
      element("div.td-zoom", { role: "group" }, zoomOut.root, this.zoomText.root, zoomIn.root),
    );
    focus.subscribe((changed) => this.focusChanged(changed), signal);
    this.graph.setFilter(focus.state.mask, focus.state.isHiding);
    on(context.host, "dblclick", signal, (event) => this.graph.pointer.doubleClick(event));
  }

  show(): void {
    this.graph.setShown(true);
  }

  hide(): void {
    this.graph.setShown(false);
  }

  changed(changes: Readonly<Changes>): void {
    if (changes.structure) this.graph.arrange();
    if (this.critical?.isOn) this.critical.update();
    // The store tells of statuses in a frame of its own; a new structure is drawn when the view has its size.
    if (changes.statuses && !changes.structure) this.graph.restateNow();
    else this.graph.restate();
  }

  setTheme(theme: Theme): void {
    this.graph.setTheme(theme);
  }

  key(event: KeyboardEvent): boolean {
    if (event.key !== "p") return this.graph.keys.key(event);
    this.turnCritical();
    return true;
  }

  private turnCritical(): void {
    this.context.later((more) => {
      this.critical ??= new more.CriticalLayer(this.context.source.store, (cased) => this.graph.setCased(cased));
      this.graph.controls.append(this.critical.caption);
      this.critical.toggle();
    });
  }

  toSvg(isWhole: boolean, write: WriteSvg): string {
    return this.graph.toSvg(isWhole, write);
  }

  isBody(target: EventTarget | null): boolean {
    return this.graph.isCanvas(target);
  }

  focus(): void {
    this.graph.focusCanvas();
  }

  escape(): boolean {
    return this.graph.keys.escape();
  }

  reveal(node: number): void {
    this.graph.reveal(node);
  }

  highlight(action: Action | null, nodes: readonly number[]): void {
    this.graph.highlight(action, nodes);
  }

  point(node: number): void {
    this.graph.point(node);
  }

  setLayer(layer: MarkLayer | null): void {
    this.graph.setLayer(layer);
  }

  heightFor(width: number): number {
    return this.graph.cardHeight(width);
  }

  keep(): GraphState {
    return this.graph.state;
  }

  restore(kept: unknown): void {
    Object.assign(this.graph.state, kept);
  }

  menu(): readonly MenuItem[] {
    const { state } = this.graph;
    const turn = (label: string, direction: Direction | "auto"): MenuItem => ({
      label,
      isOn: state.direction === direction,
      chosen: () => {
        this.graph.setDirection(direction);
        this.context.keepLater();
      },
    });
    return [
      turn(say("tools.direction_auto"), "auto"),
      turn(say("tools.direction_right"), "right"),
      turn(say("tools.direction_down"), "down"),
      {
        label: say("tools.edges"),
        isOn: state.hasEdges,
        isNew: true,
        chosen: () => {
          this.graph.setEdges(!state.hasEdges);
          this.context.keepLater();
        },
      },
      { label: say("critical.show"), isOn: this.critical?.isOn ?? false, chosen: () => this.turnCritical() },
      ...(this.context.source.tidy
        ? [{ label: say("graph.tidy"), title: say("graph.tidy_title"), isOn: null, chosen: () => this.graph.tidy() }]
        : []),
    ];
  }

  private focusChanged(changed: ReadonlySet<FocusPart>): void {
    const { focus } = this.context;
    if (changed.has("mask") || changed.has("isHiding")) this.graph.setFilter(focus.state.mask, focus.state.isHiding);
    if (!changed.has("marks") && !changed.has("nodes")) return;
    this.pass(() => this.graph.select(focus.state.marks, focus.node));
  }

  private pass(run: () => void): void {
    if (this.isPassing) return;
    this.isPassing = true;
    run();
    this.isPassing = false;
  }

  private moved(): void {
    this.zoomText.setLabel(say("tools.zoom_level", { n: Math.round(this.graph.sight.camera.k * 100) }));
    this.context.keepLater();
  }
}

export const makeGraphPane = (context: PaneContext): GraphPane => new GraphPane(context);
