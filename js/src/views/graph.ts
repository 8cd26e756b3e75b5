// The graph on a canvas: which marks are where, which are shown and chosen, what is drawn when. Where it is looked at from
// stands in `sight`, what hands do to it in `pointer` and `graph_keys`; cards and edges come from `render`.
import { effect } from "../model/derive.ts";
import type { Store } from "../model/store.ts";
import { middle, plain, say } from "../model/words.ts";
import { type Action, Status } from "../protocol.ts";
import { Painter } from "../render/painter.ts";
import { chooseDirection, type Direction, type Places, place, sizeOf, stripSize } from "../render/place.ts";
import {
  buildScene,
  type Camera,
  hasStrips,
  hitTest,
  leastZoom,
  reachMarks,
  type Scene,
  type SceneInput,
} from "../render/scene.ts";
import { prefersStill, type Theme } from "../render/theme.ts";
import type { Source } from "../sources/source.ts";
import { Boards } from "./boards.ts";
import { Chip } from "./chip.ts";
import type { Details } from "./details.ts";
import { element, on, set } from "./dom.ts";
import { FRAME_MARGIN } from "./fit.ts";
import { GraphKeys } from "./graph_keys.ts";
import { Minimap } from "./minimap.ts";
import { describeMark, describeNode, firstOf, isCard, LONGEST_NAME, Mirror, nameOf } from "./mirror.ts";
import type { MarkLayer, WriteSvg } from "./pane.ts";
import { Pointer } from "./pointer.ts";
import { Scope } from "./scope.ts";
import { Sight } from "./sight.ts";

/** Above so many marks nothing fades. */
const MOST_FADING = 500;
const MOST_ASKED = 24;

export interface GraphState {
  camera: Camera | null;
  direction: Direction | "auto";
  hasEdges: boolean;
  /** Stacks that stand open, as tiles or cards. */
  opens?: readonly (readonly [number, "tiles" | "cards"])[];
}

export interface GraphEvents {
  selected(marks: readonly number[], node: number): void;
  opened(mark: number): void;
  moved(): void;
  leave(): void;
  /** What is to be shown was hidden by the filter. */
  unhidden?: (() => void) | undefined;
  /** Show the members of a stack in the list. */
  listed?: ((mark: number) => void) | undefined;
  /** The node under the pointer, -1 for none. */
  hovered?: ((node: number) => void) | undefined;
}

export class GraphView {
  readonly root: HTMLElement;
  readonly selection = new Set<number>();
  /** The node that the inspector shows: a card's own, or one of a stack. -1 for none. */
  node = -1;
  focused = -1;
  state: GraphState;

  store: Store;
  places: Places | null = null;
  readonly sight: Sight;
  readonly boards: Boards;
  readonly viewport: HTMLElement;
  /** Bottom left, over the graph. */
  readonly controls: HTMLElement;
  readonly pointer: Pointer;
  readonly keys: GraphKeys;

  private readonly source: Source;
  private readonly details: Details;
  private readonly events: GraphEvents;
  private readonly signal: AbortSignal;
  private readonly edgeCanvas = element("canvas.td-layer", { "aria-hidden": "true" });
  private readonly markCanvas = element("canvas.td-layer", { "aria-hidden": "true" });
  private readonly minimap: Minimap;
  private readonly mirror: Mirror;
  private readonly chip: Chip;
  private readonly painter: Painter;
  private theme: Theme;
  private isTidying = false;
  private lit: SceneInput["lit"] = null;
  private touched: ReadonlySet<number> | null = null;
  private readonly scope = new Scope();
  private cased: NonNullable<SceneInput["cased"]> | null = null;
  private layer: MarkLayer | null = null;
  private frame = 0;
  /** Edges and every mark are drawn again; else only marks that look different now. */
  private isStale = true;
  private isMiniStale = true;
  private ticker: ReturnType<typeof setTimeout> | undefined;
  private isShown = true;

  constructor(
    source: Source,
    details: Details,
    theme: Theme,
    state: GraphState,
    events: GraphEvents,
    prefix: string,
    signal: AbortSignal,
  ) {
    this.source = source;
    this.store = source.store;
    this.details = details;
    this.theme = theme;
    this.state = state;
    this.events = events;
    this.signal = signal;
    this.viewport = element(
      "div.td-viewport",
      {
        role: "application",
        tabindex: 0,
        "aria-roledescription": say("aria.canvas_role"),
        "aria-label": say("aria.canvas"),
      },
      this.edgeCanvas,
      this.markCanvas,
    );
    this.mirror = new Mirror(this.viewport, details, prefix);
    this.sight = new Sight(this, signal);
    this.minimap = new Minimap((x, y) => this.sight.centre(x, y), signal);
    const { listed } = events;
    this.boards = new Boards(
      () => this.store,
      { resized: (mark, isOpen) => this.boardResized(mark, isOpen), changed: () => this.restate(), listed },
      signal,
    );
    this.chip = new Chip(this, signal);
    this.controls = element("div.td-corner", {}, this.chip.root);
    this.pointer = new Pointer(this, signal);
    this.keys = new GraphKeys(this);
    this.root = element(
      "div.td-graph",
      {},
      this.viewport,
      this.boards.root,
      this.mirror.root,
      this.controls,
      this.minimap.root,
      this.pointer.tooltip,
    );
    this.painter = new Painter(this.edgeCanvas, this.markCanvas, theme);
    this.listen();
  }

  // --- what others tell it -------------------------------------------------------------------------------------

  /** The structure came or changed: marks get their places; the camera stays where it is. */
  arrange(): void {
    const picture = this.store.picture;
    if (!picture) return;
    if (this.isolated >= this.store.total) this.scope.isolated = -1;
    for (const [mark, form] of this.state.opens ?? []) {
      if (!this.boards.has(mark)) this.boards.opens.set(mark, { form, status: 0, top: 0 });
    }
    this.boards.prune();
    this.putInPlace();
    for (const mark of [...this.selection]) if (mark >= this.store.markCount) this.selection.delete(mark);
    if (this.focused >= this.store.markCount) this.focused = -1;
    if (this.isTidying) {
      this.isTidying = false;
      this.sight.unfit();
      this.select([]);
    }
    if (this.sight.width > 0 && this.store.markCount > 0) this.sight.firstFit();
    this.redraw(true);
    this.events.moved();
  }

  private putInPlace(): void {
    const picture = this.store.picture;
    if (!picture) return;
    const { kind, size } = picture.marks;
    const isStrips = hasStrips(this.store);
    this.places = place(picture.marks, picture.edges, this.direction(), this.scope.marks(this.store), (mark) => {
      const own = kind[mark] ?? "card";
      return this.boards.size(mark) ?? (isStrips && own !== "card" ? stripSize(size[mark] ?? 1) : sizeOf(own));
    });
  }

  /** Room was made or taken away: what was clicked stays under the pointer, then is seen whole. */
  private boardResized(mark: number, isOpen: boolean): void {
    this.state.opens = [...this.boards.opens].map(([each, { form }]) => [each, form] as const);
    const { sight } = this;
    const before = sight.boxOf(mark);
    this.putInPlace();
    const after = sight.boxOf(mark);
    const { x, y, k } = sight.camera;
    sight.set({ k, x: x + after.x - before.x, y: y + after.y - before.y });
    this.focus(mark);
    if (isOpen) sight.bringIntoView(mark, true);
    this.focusCanvas();
  }

  /** Height of the canvas at which the whole graph is seen as cards, at a width; 0 if it is too wide. */
  cardHeight(room: number): number {
    if (!this.places) return 0;
    const k = leastZoom("card");
    const { width, height } = this.places.bounds;
    return width * k + 2 * FRAME_MARGIN > room ? 0 : height * k + 2 * FRAME_MARGIN;
  }

  setTheme(theme: Theme): void {
    this.theme = theme;
    this.painter.theme = theme;
    this.redraw(true);
  }

  /** Statuses or texts changed: marks are drawn again, edges are not. */
  restate(): void {
    this.isMiniStale = true;
    this.askFrame();
  }

  /** The same within a frame that is being made: what else it shows is seen together with it. */
  restateNow(): void {
    this.isMiniStale = true;
    this.draw();
  }

  setShown(isShown: boolean): void {
    this.isShown = isShown;
    if (isShown) this.redraw(true);
  }

  setDirection(direction: Direction | "auto"): void {
    this.state.direction = direction;
    this.sight.unfit();
    this.arrange();
  }

  direction(): Direction {
    const picture = this.store.picture;
    if (this.state.direction !== "auto" || !picture) return this.state.direction === "down" ? "down" : "right";
    return chooseDirection(picture.marks, picture.edges, this.sight.width, this.sight.height);
  }

  setEdges(hasEdges: boolean): void {
    this.state.hasEdges = hasEdges;
    this.redraw(true);
  }

  /** Draw these marks and edges (numbers of the picture) with a casing; null for none. */
  setCased(cased: NonNullable<SceneInput["cased"]> | null): void {
    this.cased = cased;
    this.redraw(true);
  }

  /** What a filter does not mean is drawn paler, or left out; null for no filter. The camera of a hand stays. */
  setFilter(mask: Uint8Array | null, isHiding: boolean): void {
    if (this.scope.setFilter(this.store, mask, isHiding) && this.places) {
      this.putInPlace();
      this.sight.refit();
      this.showMirror();
      this.events.moved();
    }
    this.redraw(true);
  }

  /** Draw the states of another store of the same picture, a moment of the past; null for how it is. */
  setStore(store: Store | null): void {
    this.store = store ?? this.source.store;
    this.restate();
  }

  /** The graph as SVG text: as it is seen now, or whole at 100 %. */
  toSvg(isWhole: boolean, write: WriteSvg): string {
    if (!this.places) return "";
    const input = { ...this.input(), hasEdges: this.state.hasEdges, focused: -1, lit: null, touched: null };
    const { x, y, width, height } = this.places.bounds;
    const whole = { camera: { x: x - FRAME_MARGIN, y: y - FRAME_MARGIN, k: 1 }, selected: new Set<number>() };
    const size = { width: width + 2 * FRAME_MARGIN, height: height + 2 * FRAME_MARGIN };
    const scene = buildScene(isWhole ? { ...input, ...whole, ...size } : input);
    const title = plain(this.store.picture?.title ?? "");
    return write(scene, this.store.markCounts, this.theme, this.places.direction, title);
  }

  /** Show on the graph what an action would touch; null for none. */
  highlight(action: Action | null, nodes: readonly number[] = []): void {
    if (action === null) this.touched = null;
    else {
      const what = effect(this.store, action, nodes);
      this.touched = new Set([...what.own, ...what.follow].map((node) => this.store.markOf[node] ?? 0));
    }
    this.redraw(true);
  }

  /** Point at one node, -1 for none: the rest is paler. */
  point(node: number): void {
    this.touched = node < 0 ? null : new Set([this.store.markOf[node] ?? 0]);
    this.redraw(true);
  }

  setLayer(layer: MarkLayer | null): void {
    this.layer?.root.remove();
    this.layer = layer;
    if (layer) this.boards.root.after(layer.root);
    this.redraw(false);
  }

  /** The node beside whose ancestors and descendants nothing is shown; -1 for none. */
  get isolated(): number {
    return this.scope.isolated;
  }

  get isIsolated(): boolean {
    return this.scope.isolated >= 0;
  }

  /** Show a node, its ancestors and its descendants, and nothing else. */
  isolate(node: number): void {
    const mark = this.store.markOf[node] ?? -1;
    if (mark < 0 || node >= this.store.total) return;
    this.sight.leave();
    this.scope.isolated = node;
    this.arrange();
    this.select([mark], node);
    this.showMirror();
  }

  /** End of `isolate`: everything is where it was. */
  showAll(): void {
    if (this.isolated < 0) return;
    this.scope.isolated = -1;
    this.sight.comeBack();
    this.arrange();
    this.sight.refit();
    this.showMirror();
  }

  isHidden(mark: number): boolean {
    return this.places?.shown?.has(mark) === false;
  }

  select(marks: readonly number[], node = -1): void {
    if (marks.some((mark) => this.isHidden(mark))) {
      this.showAll();
      if (marks.some((mark) => this.isHidden(mark))) this.events.unhidden?.();
    }
    this.selection.clear();
    for (const mark of marks) this.selection.add(mark);
    const only = marks.length === 1 ? (marks[0] ?? -1) : -1;
    this.node = node >= 0 ? node : only >= 0 && this.isCard(only) ? this.firstOf(only) : -1;
    if (marks.length > 0) this.focus(marks.at(-1) ?? -1);
    this.redraw(false);
    this.events.selected(marks, this.node);
  }

  /** Select a node wherever it is drawn, and bring it into view. */
  reveal(node: number): void {
    const mark = this.store.markOf[node] ?? -1;
    if (mark < 0 || node >= this.store.total) return;
    this.select([mark], node);
    const tile = this.boards.point(mark, node);
    this.showMirror();
    this.sight.bringIntoView(mark, this.boards.has(mark), tile);
  }

  toggle(mark: number): void {
    const marks = new Set(this.selection);
    if (!marks.delete(mark)) marks.add(mark);
    this.select([...marks]);
  }

  // --- what its parts tell it ----------------------------------------------------------------------------------

  get isRight(): boolean {
    return this.places?.direction !== "down";
  }

  get shown(): ReadonlySet<number> | null {
    return this.places?.shown ?? null;
  }

  get canTidy(): boolean {
    return this.source.tidy !== undefined;
  }

  /** The camera was moved. */
  moved(): void {
    this.pointer.hideTooltip();
    this.redraw(true);
    this.events.moved();
  }

  opened(mark: number): void {
    this.events.opened(mark);
  }

  hovered(node: number): void {
    this.events.hovered?.(node);
  }

  /** Show what a mark depends on and what depends on it; -1 for nothing. */
  lightUp(mark: number): void {
    if (mark < 0 && !this.lit) return;
    this.lit = mark < 0 ? null : { up: reachMarks(this.store, mark, false), down: reachMarks(this.store, mark, true) };
    this.redraw(true);
  }

  describe(mark: number, node: number): readonly string[] {
    const { store, details } = this;
    if (!store.picture) return [];
    return node >= 0
      ? [middle(plain(store.nameOf(node)), LONGEST_NAME), describeNode(store, details, node)]
      : [nameOf(store, mark), describeMark(store, details, mark)];
  }

  hit(point: { x: number; y: number }): number {
    return this.places ? hitTest({ places: this.places, camera: this.sight.camera }, point.x, point.y) : -1;
  }

  fitAll(): void {
    this.sight.fitAll();
  }

  // --- drawing -------------------------------------------------------------------------------------------------

  private redraw(isWhole: boolean): void {
    this.isStale ||= isWhole;
    this.painter.forget();
    this.askFrame();
  }

  private askFrame(): void {
    if (this.frame !== 0 || this.signal.aborted) return;
    this.frame = requestAnimationFrame(() => this.draw());
  }

  /** One frame, now. */
  draw(): void {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    const { sight } = this;
    if (!this.isShown || !this.places || sight.width === 0 || sight.height === 0 || this.signal.aborted) return;
    const ratio = Math.min(3, this.root.ownerDocument.defaultView?.devicePixelRatio ?? 1);
    if (this.painter.fit(sight.width, sight.height, ratio)) this.isStale = true;
    const scene = buildScene(this.input());
    if (this.isStale) this.painter.drawEdges(scene, this.places.direction);
    const canFade = this.store.markCount <= MOST_FADING && !prefersStill();
    const isMoving = this.painter.drawMarks(scene, this.store.markCounts, canFade);
    if (this.isStale || this.isMiniStale) this.minimap.draw(this.store, this.places, sight, this.theme);
    this.isStale = false;
    this.isMiniStale = false;
    this.boards.place(scene.marks, sight.camera.k);
    this.layer?.place(scene.marks);
    this.chip.show(scene);
    this.askErrors(scene);
    this.tickNext(scene);
    set(this.root, { "data-level": scene.level, "data-drawn": scene.marks.length + scene.cells.length });
    if (isMoving) this.askFrame();
  }

  private input(): SceneInput {
    return {
      store: this.store,
      places: this.places as Places,
      camera: this.sight.camera,
      width: this.sight.width,
      height: this.sight.height,
      selected: this.selection,
      focused: this.isKeyboardFocused() ? this.focused : -1,
      lit: this.lit,
      touched: this.touched,
      wanted: this.scope.wanted,
      // A status change leaves the layer of the edges as it is.
      hasEdges: this.state.hasEdges && this.isStale,
      errorOf: (node) => this.details.errorOf(node),
      cased: this.cased,
      opens: this.boards.opens,
      cursor: this.boards.cursor >= 0 ? { mark: this.focused, tile: this.boards.cursor } : null,
    };
  }

  private isKeyboardFocused(): boolean {
    return this.viewport.matches(":focus-visible");
  }

  /** Times go on by themselves: once a second, ten times within a node's first. */
  private tickNext(scene: Scene): void {
    clearTimeout(this.ticker);
    const isOn = this.source.connection.state === "live" || this.source.connection.state === "quiet";
    if (!scene.isAnyRunning || !isOn || scene.level !== "card") return;
    this.ticker = setTimeout(() => this.askFrame(), scene.isAnyYoung ? 100 : 1000 - (this.store.runTime() % 1) * 500);
  }

  /** Cards of failed nodes name the exception: ask for it where it is on screen. */
  private askErrors(scene: Scene): void {
    if (scene.level !== "card") return;
    let asked = 0;
    const ask = (node: number): void => {
      if (asked < MOST_ASKED && this.store.status[node] === Status.FAILED) asked += this.details.want(node) ? 1 : 0;
    };
    for (const mark of scene.marks) {
      if (mark.status !== Status.FAILED) continue;
      if (mark.board?.open.form === "cards") mark.board.members.forEach(ask);
      else if (!mark.isStack) ask(this.firstOf(mark.mark));
    }
  }

  /** Have the kernel arrange the graph as a fresh display would be; then it is fitted anew. */
  tidy(): void {
    this.boards.opens.clear();
    this.state.opens = [];
    this.isTidying = true;
    this.source.tidy?.();
  }

  // --- size and focus ------------------------------------------------------------------------------------------

  private listen(): void {
    const view = this.viewport;
    on(view, "focus", this.signal, () => this.keyboardCame());
    on(view, "blur", this.signal, () => this.redraw(false));
    const resized = new ResizeObserver(() => this.resize());
    resized.observe(this.root);
    this.signal.addEventListener(
      "abort",
      () => {
        resized.disconnect();
        cancelAnimationFrame(this.frame);
        clearTimeout(this.ticker);
      },
      { once: true },
    );
  }

  private resize(): void {
    const { clientWidth: width, clientHeight: height } = this.root;
    // Hosts hide and detach outputs; nothing is measured at zero.
    const { sight } = this;
    if (width < 2 || height < 2 || (width === sight.width && height === sight.height)) return;
    const isFirst = sight.width === 0;
    sight.width = width;
    sight.height = height;
    if (isFirst || this.places?.direction !== this.direction()) {
      if (!isFirst) sight.unfit();
      this.arrange();
    } else {
      sight.refit();
    }
    this.redraw(true);
    this.draw();
    this.events.moved();
  }

  private keyboardCame(): void {
    this.keys.came();
    this.redraw(false);
  }

  focus(mark: number): void {
    if (mark !== this.focused) this.boards.cursor = -1;
    this.focused = mark;
    this.showMirror();
  }

  showMirror(): void {
    const node = this.boards.has(this.focused) ? this.boards.node(this.focused) : -1;
    this.mirror.show(this.store, this.focused, node);
  }

  isCard(mark: number): boolean {
    return isCard(this.store, mark);
  }

  firstOf(mark: number): number {
    return firstOf(this.store, mark);
  }

  focusCanvas(): void {
    this.viewport.focus();
  }

  isCanvas(target: EventTarget | null): boolean {
    return target === this.viewport;
  }
}
