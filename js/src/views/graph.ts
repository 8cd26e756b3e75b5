// The graph on a canvas: camera, pointer, keys, what is drawn when. Cards and edges come from `render`.
import { effect, reach } from "../model/derive.ts";
import type { Store } from "../model/store.ts";
import { middle, plain, say } from "../model/words.ts";
import { type Action, Status } from "../protocol.ts";
import { Painter } from "../render/painter.ts";
import { type Box, chooseDirection, type Direction, type Places, place, sizeOf, stripSize } from "../render/place.ts";
import {
  buildScene,
  type Camera,
  fitCamera,
  hasStrips,
  hitTest,
  leastZoom,
  reachMarks,
  type Scene,
  type SceneInput,
  zoomAt,
} from "../render/scene.ts";
import { prefersStill, type Theme } from "../render/theme.ts";
import type { Source } from "../sources/source.ts";
import { Boards } from "./boards.ts";
import type { Details } from "./details.ts";
import { element, fill, on, set } from "./dom.ts";
import { between, cameraFor, FRAME_MARGIN, firstCamera, wholeCamera } from "./fit.ts";
import { Minimap } from "./minimap.ts";
import { describeMark, describeNode, firstOf, isCard, LONGEST_NAME, Mirror, nameOf } from "./mirror.ts";
import type { MarkLayer, WriteSvg } from "./pane.ts";
import { edgeMark, neighbour } from "./walk.ts";

const MOST_ZOOM = 2.5;
const HOVER_MS = 150;
const TOOLTIP_MS = 350;
/** From tile to tile. */
const TILE_MS = 60;
const ZOOM_MS = 150;
const DRAG_PX = 4;
/** Above so many marks nothing fades. */
const MOST_FADING = 500;
const MOST_ASKED = 24;
/** Steps across and down the tiles of a board. */
const ARROWS: Record<string, readonly [number, number]> = {
  ArrowRight: [1, 0],
  ArrowLeft: [-1, 0],
  ArrowDown: [0, 1],
  ArrowUp: [0, -1],
};
/** The ▸ of a stack: world pixels from its top right corner. */
const OPENER = { width: 30, height: 30 } as const;
/** Two clicks within this time and distance are one double click, whatever moved under the pointer in between. */
const DOUBLE = { ms: 700, px: 6 } as const;

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

  private readonly source: Source;
  private store: Store;
  private readonly details: Details;
  private readonly events: GraphEvents;
  private readonly signal: AbortSignal;
  private readonly edgeCanvas = element("canvas.td-layer", { "aria-hidden": "true" });
  private readonly markCanvas = element("canvas.td-layer", { "aria-hidden": "true" });
  private readonly minimap: Minimap;
  private readonly boards: Boards;
  private readonly tooltip = element("div.td-tooltip", { role: "tooltip", hidden: true });
  private readonly chip = element("div.td-chip", { hidden: true });
  private readonly mirror: Mirror;
  /** Bottom left, over the graph. */
  readonly controls: HTMLElement;
  private readonly viewport: HTMLElement;
  private readonly painter: Painter;
  private theme: Theme;
  private places: Places | null = null;
  camera: Camera = { x: 0, y: 0, k: 1 };
  width = 0;
  height = 0;
  private isFitted = false;
  private isTidying = false;
  /** True while the camera stands where the first fit put it. */
  private isPristine = true;
  private hovered = -1;
  private lit: SceneInput["lit"] = null;
  private touched: ReadonlySet<number> | null = null;
  /** What the filter means, and whether the rest is left out. */
  private wanted: NonNullable<SceneInput["wanted"]> | null = null;
  private isHiding = false;
  private cased: NonNullable<SceneInput["cased"]> | null = null;
  private layer: MarkLayer | null = null;
  private frame = 0;
  /** Edges and every mark are drawn again; else only marks that look different now. */
  private isStale = true;
  private isMiniStale = true;
  private ticker: ReturnType<typeof setTimeout> | undefined;
  private hoverTimer: ReturnType<typeof setTimeout> | undefined;
  private tooltipTimer: ReturnType<typeof setTimeout> | undefined;
  private flight = 0;
  private isShown = true;
  private readonly pointers = new Map<number, { x: number; y: number }>();
  /** The node beside whose ancestors and descendants nothing is shown; -1 for none. */
  private isolated = -1;
  /** Where the view stood before. */
  private before: { camera: Camera; isPristine: boolean } | null = null;
  private hoveredNode = -1;
  private clicks: { mark: number; x: number; y: number; time: number }[] = [];

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
    this.minimap = new Minimap((x, y) => {
      const { k } = this.camera;
      this.flight += 1;
      this.setCamera({ k, x: x - this.width / 2 / k, y: y - this.height / 2 / k });
    }, signal);
    const { listed } = events;
    this.boards = new Boards(
      () => this.store,
      { resized: (mark, isOpen) => this.boardResized(mark, isOpen), changed: () => this.restate(), listed },
      signal,
    );
    this.controls = element("div.td-corner", {}, this.chip);
    this.root = element(
      "div.td-graph",
      {},
      this.viewport,
      this.boards.root,
      this.mirror.root,
      this.controls,
      this.minimap.root,
      this.tooltip,
    );
    this.painter = new Painter(this.edgeCanvas, this.markCanvas, theme);
    this.listen();
  }

  // --- what others tell it -------------------------------------------------------------------------------------

  /** The structure came or changed: marks get their places; the camera stays where it is. */
  arrange(): void {
    const picture = this.store.picture;
    if (!picture) return;
    if (this.isolated >= this.store.total) this.isolated = -1;
    for (const [mark, form] of this.state.opens ?? []) {
      if (!this.boards.has(mark)) this.boards.opens.set(mark, { form, status: 0, top: 0 });
    }
    this.boards.prune();
    this.putInPlace();
    for (const mark of [...this.selection]) if (mark >= this.store.markCount) this.selection.delete(mark);
    if (this.focused >= this.store.markCount) this.focused = -1;
    if (this.isTidying) {
      this.isTidying = false;
      this.isFitted = false;
      this.state.camera = null;
      this.select([]);
    }
    if (this.width > 0 && this.store.markCount > 0) this.firstFit();
    this.redraw(true);
    this.events.moved();
  }

  private putInPlace(): void {
    const picture = this.store.picture;
    if (!picture) return;
    const { kind, size } = picture.marks;
    const isStrips = hasStrips(this.store);
    this.places = place(picture.marks, picture.edges, this.direction(), this.shownMarks(), (mark) => {
      const own = kind[mark] ?? "card";
      return this.boards.size(mark) ?? (isStrips && own !== "card" ? stripSize(size[mark] ?? 1) : sizeOf(own));
    });
  }

  /** Room was made or taken away: what was clicked stays under the pointer, then is seen whole. */
  private boardResized(mark: number, isOpen: boolean): void {
    this.state.opens = [...this.boards.opens].map(([each, { form }]) => [each, form] as const);
    const before = this.boxOf(mark);
    this.putInPlace();
    const after = this.boxOf(mark);
    const { x, y, k } = this.camera;
    this.setCamera({ k, x: x + after.x - before.x, y: y + after.y - before.y });
    this.focus(mark);
    if (isOpen) this.bringIntoView(mark);
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
    this.isFitted = false;
    this.state.camera = null;
    this.arrange();
  }

  direction(): Direction {
    const picture = this.store.picture;
    if (this.state.direction !== "auto" || !picture) return this.state.direction === "down" ? "down" : "right";
    return chooseDirection(picture.marks, picture.edges, this.width, this.height);
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
    const before = this.isHiding ? this.wanted : null;
    this.wanted = mask ? { marks: marksOf(this.store, mask), mask } : null;
    // A filter that means nothing would leave nothing to look at.
    this.isHiding = isHiding && (this.wanted?.marks.size ?? 0) > 0;
    const now = this.isHiding ? this.wanted : null;
    if (!isSameSet(before?.marks ?? null, now?.marks ?? null) && this.places) {
      this.putInPlace();
      this.refit();
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

  get isIsolated(): boolean {
    return this.isolated >= 0;
  }

  /** Show a node, its ancestors and its descendants, and nothing else. */
  isolate(node: number): void {
    const mark = this.store.markOf[node] ?? -1;
    if (mark < 0 || node >= this.store.total) return;
    this.before ??= { camera: this.camera, isPristine: this.isPristine };
    this.isolated = node;
    this.isPristine = true;
    this.isFitted = false;
    this.arrange();
    this.select([mark], node);
    this.showMirror();
  }

  /** End of `isolate`: everything is where it was. */
  showAll(): void {
    if (this.isolated < 0) return;
    this.isolated = -1;
    if (this.before) {
      this.camera = this.before.camera;
      this.isPristine = this.before.isPristine;
      this.state.camera = this.camera;
    }
    this.before = null;
    this.arrange();
    this.refit();
    this.showMirror();
  }

  private shownMarks(): ReadonlySet<number> | null {
    const tied = this.tiedMarks();
    const meant = this.isHiding && this.wanted ? this.wanted.marks : null;
    if (!tied || !meant) return tied ?? meant;
    return new Set([...tied].filter((mark) => meant.has(mark)));
  }

  private tiedMarks(): ReadonlySet<number> | null {
    const { store, isolated } = this;
    if (isolated < 0) return null;
    const own = store.markOf[isolated] ?? 0;
    if (!store.parents) return new Set([...reachMarks(store, own, false), ...reachMarks(store, own, true)]);
    const nodes = [...reach(store, [isolated], false), ...reach(store, [isolated], true)];
    return new Set([own, ...nodes.map((node) => store.markOf[node] ?? 0)]);
  }

  private isHidden(mark: number): boolean {
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
    this.bringIntoView(mark, tile);
  }

  get zoom(): number {
    return this.camera.k;
  }

  // --- camera --------------------------------------------------------------------------------------------------

  fitAll(): void {
    if (!this.places) return;
    this.flyTo(wholeCamera({ places: this.places, width: this.width, height: this.height }));
  }

  zoomBy(factor: number): void {
    this.flyTo(zoomAt(this.camera, factor, this.width / 2, this.height / 2, this.leastZoom(), MOST_ZOOM));
  }

  zoomTo(k: number): void {
    this.zoomBy(k / this.camera.k);
  }

  private leastZoom(): number {
    if (!this.places) return 0.01;
    return Math.min(wholeCamera({ places: this.places, width: this.width, height: this.height }).k, this.camera.k);
  }

  /** Where the view stands first: the whole if its cards can be told apart, else what matters now. */
  private firstFit(): void {
    if (this.isFitted || !this.places) return;
    this.isFitted = true;
    const kept = this.isIsolated ? null : this.state.camera;
    this.isPristine = kept === null;
    if (kept) {
      this.camera = kept;
      return;
    }
    this.camera = firstCamera({ store: this.store, places: this.places, width: this.width, height: this.height });
    this.keepCamera();
  }

  private boxOf(mark: number): Box {
    const { x, y, width, height } = this.places ?? { x: [], y: [], width: [], height: [] };
    return { x: x[mark] ?? 0, y: y[mark] ?? 0, width: width[mark] ?? 0, height: height[mark] ?? 0 };
  }

  /** A mark, or one tile of an open one, by the shortest way; large enough to be read. */
  private bringIntoView(mark: number, tile: Box | null = null): void {
    if (!this.places) return;
    const own = this.boxOf(mark);
    const box = tile ? { ...tile, x: own.x + tile.x, y: own.y + tile.y } : own;
    const fitted = fitCamera(own, this.width, this.height, FRAME_MARGIN, 1).k;
    const least = this.boards.has(mark) ? Math.max(leastZoom("chip"), Math.min(0.8, fitted)) : leastZoom("chip");
    const target = cameraFor(this, this.camera, box, Math.max(this.camera.k, least));
    if (target.x !== this.camera.x || target.y !== this.camera.y || target.k !== this.camera.k) this.flyTo(target);
  }

  /** Nobody has moved it or looks at a node: fit again. Else what is seen stays where it is. */
  private refit(): void {
    if (this.isPristine && (this.selection.size === 0 || this.isIsolated)) {
      this.isFitted = false;
      if (!this.isIsolated) this.state.camera = null;
      this.firstFit();
    } else this.keepInView();
  }

  /** What is selected stays in view when the view gets smaller, by the shortest way. */
  private keepInView(): void {
    const mark = this.selection.size === 1 ? (this.firstSelected() ?? -1) : -1;
    if (mark < 0 || !this.places) return;
    this.camera = cameraFor(this, this.camera, this.boxOf(mark), this.camera.k);
    this.keepCamera();
  }

  /** What a reload brings back; it shows everything again. */
  private keepCamera(): void {
    if (!this.isIsolated) this.state.camera = this.camera;
  }

  private flyTo(target: Camera): void {
    const flight = ++this.flight;
    const from = this.camera;
    if (prefersStill() || this.store.markCount > 500) {
      this.setCamera(target);
      return;
    }
    const began = performance.now();
    const step = (now: number): void => {
      if (flight !== this.flight || this.signal.aborted) return;
      const share = Math.min(1, (now - began) / ZOOM_MS);
      const eased = 1 - (1 - share) ** 3;
      this.setCamera(between(from, target, eased));
      if (share < 1) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  private setCamera(camera: Camera): void {
    this.isPristine = false;
    this.camera = camera;
    this.keepCamera();
    this.hideTooltip();
    this.redraw(true);
    this.events.moved();
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
    if (!this.isShown || !this.places || this.width === 0 || this.height === 0 || this.signal.aborted) return;
    const ratio = Math.min(3, this.root.ownerDocument.defaultView?.devicePixelRatio ?? 1);
    if (this.painter.fit(this.width, this.height, ratio)) this.isStale = true;
    const scene = buildScene(this.input());
    if (this.isStale) this.painter.drawEdges(scene, this.places.direction);
    const canFade = this.store.markCount <= MOST_FADING && !prefersStill();
    const isMoving = this.painter.drawMarks(scene, this.store.markCounts, canFade);
    if (this.isStale || this.isMiniStale) this.minimap.draw(this.store, this.places, this, this.theme);
    this.isStale = false;
    this.isMiniStale = false;
    this.boards.place(scene.marks, this.camera.k);
    this.layer?.place(scene.marks);
    this.showChip(scene);
    this.askErrors(scene);
    this.tickNext(scene);
    set(this.root, { "data-level": scene.level, "data-drawn": scene.marks.length + scene.cells.length });
    if (isMoving) this.askFrame();
  }

  private input(): SceneInput {
    return {
      store: this.store,
      places: this.places as Places,
      camera: this.camera,
      width: this.width,
      height: this.height,
      selected: this.selection,
      focused: this.isKeyboardFocused() ? this.focused : -1,
      lit: this.lit,
      touched: this.touched,
      wanted: this.wanted,
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

  private showChip(scene: Scene): void {
    const total = this.places?.shown?.size ?? this.store.markCount;
    const isPart = scene.shown < total;
    const folded = this.store.picture?.folded ?? "";
    let nodes = 0;
    if (isPart) for (const mark of scene.marks) if (this.isIn(mark)) nodes += mark.size;
    const text = this.isIsolated
      ? this.isolatedWords()
      : isPart && scene.level !== "cell"
        ? say("graph.showing", { shown: nodes, total: this.store.total })
        : folded;
    const isUntidy = this.source.tidy !== undefined && this.hasLoopBack();
    set(this.chip, { hidden: text === "" && !isUntidy });
    const key = `${text}|${isPart}|${this.isIsolated}|${isUntidy}`;
    if (this.chip.dataset.key === key) return;
    this.chip.dataset.key = key;
    const button = (label: string, chosen: () => void, title = ""): HTMLElement => {
      const made = element("button.td-link", { type: "button", title: title || null }, label);
      on(made, "click", this.signal, chosen);
      return made;
    };
    fill(
      this.chip,
      element("span.td-chiptext", {}, text),
      this.isIsolated ? button(say("graph.show_all"), () => this.showAll()) : null,
      isPart && text ? button(say("graph.fit_all"), () => this.fitAll()) : null,
      isUntidy ? button(say("graph.tidy"), () => this.tidy(), say("graph.tidy_title")) : null,
    );
  }

  /** Have the kernel arrange the graph as a fresh display would be; then it is fitted anew. */
  tidy(): void {
    this.boards.opens.clear();
    this.state.opens = [];
    this.isTidying = true;
    this.source.tidy?.();
  }

  /** An edge against the flow: nodes were added since the graph was arranged. */
  private hasLoopBack(): boolean {
    const picture = this.store.picture;
    if (!picture) return false;
    const { source, target } = picture.edges;
    const { rank } = picture.marks;
    return source.some((from, edge) => (rank[from] ?? 0) >= (rank[target[edge] ?? 0] ?? 0));
  }

  private isolatedWords(): string {
    const { store } = this;
    let shown = 0;
    for (const mark of this.places?.shown ?? []) shown += store.picture?.marks.size[mark] ?? 0;
    const name = middle(plain(store.nameOf(this.isolated)), 40);
    return say("graph.isolated", { name, shown, total: store.total });
  }

  private isIn(box: Box): boolean {
    return box.x < this.width && box.y < this.height && box.x + box.width > 0 && box.y + box.height > 0;
  }

  // --- pointer -------------------------------------------------------------------------------------------------

  private listen(): void {
    const view = this.viewport;
    on(view, "pointerdown", this.signal, (event) => this.pointerDown(event));
    on(view, "pointermove", this.signal, (event) => this.pointerMove(event));
    on(view, "pointerup", this.signal, (event) => this.pointerUp(event));
    on(view, "pointercancel", this.signal, (event) => this.pointerUp(event));
    on(view, "pointerleave", this.signal, () => this.hover(-1, 0, 0));
    on(view, "wheel", this.signal, (event) => this.wheel(event), { passive: false });
    on(view, "focus", this.signal, () => this.focusCame());
    on(view, "blur", this.signal, () => this.redraw(false));
    const resized = new ResizeObserver(() => this.resize());
    resized.observe(this.root);
    this.signal.addEventListener(
      "abort",
      () => {
        resized.disconnect();
        cancelAnimationFrame(this.frame);
        for (const timer of [this.ticker, this.hoverTimer, this.tooltipTimer]) clearTimeout(timer);
      },
      { once: true },
    );
  }

  private resize(): void {
    const { clientWidth: width, clientHeight: height } = this.root;
    // Hosts hide and detach outputs; nothing is measured at zero.
    if (width < 2 || height < 2 || (width === this.width && height === this.height)) return;
    const isFirst = this.width === 0;
    this.width = width;
    this.height = height;
    if (isFirst || this.places?.direction !== this.direction()) {
      if (!isFirst) {
        this.isFitted = false;
        this.state.camera = null;
      }
      this.arrange();
    } else {
      this.refit();
    }
    this.redraw(true);
    this.draw();
    this.events.moved();
  }

  private at(event: MouseEvent): { x: number; y: number } {
    const box = this.viewport.getBoundingClientRect();
    const scale = box.width > 0 ? this.width / box.width : 1;
    return { x: (event.clientX - box.left) * scale, y: (event.clientY - box.top) * scale };
  }

  private down: { x: number; y: number; mark: number; camera: Camera; isDrag: boolean } | null = null;
  private pinch: { distance: number; x: number; y: number; camera: Camera } | null = null;

  private pointerDown(event: PointerEvent): void {
    if (event.pointerType === "mouse" && event.button !== 0) return;
    const point = this.at(event);
    this.pointers.set(event.pointerId, point);
    this.viewport.setPointerCapture(event.pointerId);
    this.flight += 1;
    if (this.pointers.size === 2) {
      const [a, b] = [...this.pointers.values()] as [typeof point, typeof point];
      const middle = { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
      this.pinch = { distance: Math.hypot(a.x - b.x, a.y - b.y), ...middle, camera: this.camera };
      this.down = null;
      return;
    }
    this.down = { ...point, mark: this.hit(point), camera: this.camera, isDrag: false };
    this.hover(-1, 0, 0);
  }

  private pointerMove(event: PointerEvent): void {
    const point = this.at(event);
    if (this.pointers.has(event.pointerId)) this.pointers.set(event.pointerId, point);
    if (this.pinch && this.pointers.size === 2) {
      const [a, b] = [...this.pointers.values()] as [typeof point, typeof point];
      const factor = Math.hypot(a.x - b.x, a.y - b.y) / Math.max(1, this.pinch.distance);
      const zoomed = zoomAt(this.pinch.camera, factor, this.pinch.x, this.pinch.y, this.leastZoom(), MOST_ZOOM);
      const dx = (a.x + b.x) / 2 - this.pinch.x;
      const dy = (a.y + b.y) / 2 - this.pinch.y;
      this.setCamera({ ...zoomed, x: zoomed.x - dx / zoomed.k, y: zoomed.y - dy / zoomed.k });
      return;
    }
    if (!this.down) {
      this.hover(this.hit(point), point.x, point.y);
      return;
    }
    const dx = point.x - this.down.x;
    const dy = point.y - this.down.y;
    this.down.isDrag ||= Math.hypot(dx, dy) > DRAG_PX;
    if (!this.down.isDrag) return;
    set(this.viewport, { "data-dragging": true });
    const { camera } = this.down;
    this.setCamera({ k: camera.k, x: camera.x - dx / camera.k, y: camera.y - dy / camera.k });
  }

  private pointerUp(event: PointerEvent): void {
    this.pointers.delete(event.pointerId);
    if (this.pointers.size < 2) this.pinch = null;
    const down = this.down;
    this.down = null;
    set(this.viewport, { "data-dragging": null });
    if (!down || down.isDrag || event.type === "pointercancel") return;
    this.clicks = [...this.clicks.slice(-1), { mark: down.mark, x: event.clientX, y: event.clientY, time: Date.now() }];
    if (down.mark < 0) {
      if (!event.shiftKey) this.select([]);
      return;
    }
    if (event.shiftKey || event.ctrlKey || event.metaKey) this.toggle(down.mark);
    else if (this.isOpener(down.mark, down)) this.boards.toggle(down.mark);
    else {
      const node = this.nodeAt(down.mark, down);
      this.select([down.mark], node);
      if (node >= 0) this.boards.point(down.mark, node);
    }
  }

  /** A point of the screen from the top left of a mark, in world pixels. */
  private within(mark: number, point: { x: number; y: number }): { x: number; y: number } {
    const { x, y } = this.boxOf(mark);
    const { camera } = this;
    return { x: point.x / camera.k + camera.x - x, y: point.y / camera.k + camera.y - y };
  }

  /** The node of the tile at a point, -1 where no open stack is. */
  private nodeAt(mark: number, point: { x: number; y: number }): number {
    if (!this.boards.has(mark)) return -1;
    const { x, y } = this.within(mark, point);
    return this.boards.nodeAt(mark, x, y);
  }

  private isOpener(mark: number, point: { x: number; y: number }): boolean {
    if (this.isCard(mark) || this.boards.has(mark) || this.camera.k < leastZoom("card")) return false;
    const { x, y } = this.within(mark, point);
    return y < OPENER.height && x > this.boxOf(mark).width - OPENER.width;
  }

  toggle(mark: number): void {
    const marks = new Set(this.selection);
    if (!marks.delete(mark)) marks.add(mark);
    this.select([...marks]);
  }

  /**
   * On a card: isolate; on a stack: open; beside both: fit. The first click may have opened the inspector under the
   * pointer, so what counts is what that one hit, and the event may come from anywhere in the view.
   */
  doubleClick(event: MouseEvent): void {
    const isNear = (click: { x: number; y: number; time: number }): boolean =>
      Date.now() - click.time < DOUBLE.ms && Math.hypot(click.x - event.clientX, click.y - event.clientY) < DOUBLE.px;
    const first = this.clicks.find(isNear);
    this.clicks = [];
    if (!first) return;
    if (first.mark < 0) this.fitAll();
    else if (this.isCard(first.mark)) this.isolate(this.firstOf(first.mark));
    else this.boards.toggle(first.mark);
  }

  private wheel(event: WheelEvent): void {
    const isFull = this.root.ownerDocument.fullscreenElement !== null;
    const unit = event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? this.height : 1;
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      const { x, y } = this.at(event);
      this.flight += 1;
      const factor = Math.exp(-Math.max(-120, Math.min(120, event.deltaY * unit)) * 0.006);
      this.setCamera(zoomAt(this.camera, factor, x, y, this.leastZoom(), MOST_ZOOM));
    } else if (this.scrollBoard(event, unit)) event.preventDefault();
    else if (isFull) {
      event.preventDefault();
      const { x, y, k } = this.camera;
      this.setCamera({ k, x: x + (event.deltaX * unit) / k, y: y + (event.deltaY * unit) / k });
    }
  }

  /** An open stack with more rows than it shows scrolls as any box of a page does. */
  private scrollBoard(event: WheelEvent, unit: number): boolean {
    const mark = this.hit(this.at(event));
    return mark >= 0 && this.boards.has(mark) && this.boards.scroll(mark, (event.deltaY * unit) / this.camera.k);
  }

  private hit(point: { x: number; y: number }): number {
    return this.places ? hitTest({ places: this.places, camera: this.camera }, point.x, point.y) : -1;
  }

  private hover(mark: number, x: number, y: number): void {
    set(this.viewport, { "data-over": mark >= 0 });
    const node = mark < 0 ? -1 : this.isCard(mark) ? this.firstOf(mark) : this.nodeAt(mark, { x, y });
    if (mark === this.hovered && node === this.hoveredNode) return;
    const isSame = mark === this.hovered;
    this.hovered = mark;
    this.hoveredNode = node;
    this.events.hovered?.(node);
    clearTimeout(this.tooltipTimer);
    this.hideTooltip();
    if (mark >= 0) {
      const wait = isSame ? TILE_MS : TOOLTIP_MS;
      this.tooltipTimer = setTimeout(() => this.showTooltip(mark, node, x, y), wait);
    }
    if (isSame) return;
    clearTimeout(this.hoverTimer);
    const lit = this.lit;
    this.lit = null;
    if (lit) this.redraw(true);
    // Over the tiles of an open stack the rest stays as it is: somebody reads them.
    if (mark < 0 || this.boards.has(mark)) return;
    this.hoverTimer = setTimeout(() => {
      this.lit = { up: reachMarks(this.store, mark, false), down: reachMarks(this.store, mark, true) };
      this.redraw(true);
    }, HOVER_MS);
  }

  private showTooltip(mark: number, node: number, x: number, y: number): void {
    const { store, details } = this;
    if (!store.picture) return;
    const lines =
      node >= 0
        ? [middle(plain(store.nameOf(node)), LONGEST_NAME), describeNode(store, details, node)]
        : [nameOf(store, mark), describeMark(store, details, mark)];
    fill(this.tooltip, ...lines.map((text, index) => element(index === 0 ? "div.td-strong" : "div", {}, text)));
    set(this.tooltip, { hidden: false });
    const { offsetWidth: width, offsetHeight: height } = this.tooltip;
    const left = Math.max(4, Math.min(this.width - width - 4, x + 12));
    const top = y + 18 + height > this.height ? y - height - 10 : y + 18;
    this.tooltip.style.transform = `translate(${Math.round(left)}px, ${Math.round(Math.max(4, top))}px)`;
  }

  private hideTooltip(): void {
    set(this.tooltip, { hidden: true });
  }

  // --- keys and the mirror -------------------------------------------------------------------------------------

  private focusCame(): void {
    if (this.focused < 0) this.focus(this.firstSelected() ?? this.edgeMark(false));
    this.redraw(false);
  }

  private firstSelected(): number | undefined {
    return this.selection.values().next().value;
  }

  /** Keys on the canvas; true if it was one of ours. */
  key(event: KeyboardEvent): boolean {
    const isRight = this.places?.direction !== "down";
    const moves: Record<string, [number, number]> = {
      ArrowRight: isRight ? [1, 0] : [0, 1],
      ArrowLeft: isRight ? [-1, 0] : [0, -1],
      ArrowDown: isRight ? [0, 1] : [1, 0],
      ArrowUp: isRight ? [0, -1] : [-1, 0],
    };
    const move = moves[event.key];
    if (move) this.walk(event.key, move[0], move[1]);
    else if (event.key === "Home") this.goTo(this.edgeMark(false));
    else if (event.key === "End") this.goTo(this.edgeMark(true));
    else if (event.key === "Enter" && this.focused >= 0) this.enter(this.focused);
    else if (event.key === " " && this.focused >= 0) this.toggle(this.focused);
    else if (event.key === "+" || event.key === "=") this.zoomBy(1.25);
    else if (event.key === "-") this.zoomBy(0.8);
    else if (event.key === "0") this.fitAll();
    else return false;
    return true;
  }

  /** Escape: folds the open stack under the keyboard, then shows what was hidden. False if there is neither. */
  escape(): boolean {
    if (this.boards.has(this.focused)) this.boards.toggle(this.focused);
    else if (this.isIsolated && this.selection.size === 0) this.showAll();
    else return false;
    return true;
  }

  /** A card opens the inspector; a stack opens in place, and a second time goes to its tiles, then to one's node. */
  private enter(mark: number): void {
    const { boards } = this;
    if (this.isCard(mark)) {
      this.select([mark]);
      this.events.opened(mark);
    } else if (!boards.has(mark)) {
      boards.toggle(mark);
      boards.enter(mark);
      this.showMirror();
    } else if (boards.cursor < 0) {
      boards.enter(mark);
      this.showMirror();
      this.restate();
    } else {
      this.select([mark], boards.node(mark));
      this.events.opened(mark);
    }
  }

  private goTo(mark: number): void {
    if (mark < 0) return;
    this.focus(mark);
    this.bringIntoView(mark);
    this.restate();
  }

  private walk(key: string, along: number, across: number): void {
    const { boards, focused } = this;
    if (boards.has(focused)) {
      const [right, down] = ARROWS[key] ?? [0, 0];
      if (boards.walk(focused, right, down)) {
        this.showMirror();
        this.restate();
        return;
      }
    }
    if (focused < 0) this.goTo(this.edgeMark(false));
    else this.goTo(neighbour(this.store, focused, along, across, (mark) => this.isHidden(mark)));
  }

  private edgeMark(isLast: boolean): number {
    return edgeMark(this.store, isLast, (mark) => this.isHidden(mark));
  }

  private focus(mark: number): void {
    if (mark !== this.focused) this.boards.cursor = -1;
    this.focused = mark;
    this.showMirror();
  }

  private showMirror(): void {
    const node = this.boards.has(this.focused) ? this.boards.node(this.focused) : -1;
    this.mirror.show(this.store, this.focused, node);
  }

  private isCard(mark: number): boolean {
    return isCard(this.store, mark);
  }

  private firstOf(mark: number): number {
    return firstOf(this.store, mark);
  }

  focusCanvas(): void {
    this.viewport.focus();
  }

  isCanvas(target: EventTarget | null): boolean {
    return target === this.viewport;
  }
}

/** Marks with at least one node that a mask holds. */
function marksOf(store: Store, mask: Uint8Array): ReadonlySet<number> {
  const found = new Set<number>();
  for (let node = 0; node < mask.length; node++) if (mask[node] === 1) found.add(store.markOf[node] ?? 0);
  return found;
}

function isSameSet(a: ReadonlySet<number> | null, b: ReadonlySet<number> | null): boolean {
  if (!a || !b) return a === b;
  return a.size === b.size && [...a].every((each) => b.has(each));
}
