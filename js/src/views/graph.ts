// The graph on a canvas: camera, pointer, keys, what is drawn when. Cards and edges come from `render`.
import { blockerOf, effect, ranFor, reach, URGENCY, worst } from "../model/derive.ts";
import { STATUS_COUNT, type Store } from "../model/store.ts";
import { count, duration, middle, plain, say } from "../model/words.ts";
import { type Action, STATUS_WORDS, Status } from "../protocol.ts";
import { begin, type Brush, drawEdges, drawMarks, fitBitmap, makeBrush } from "../render/canvas.ts";
import { type Box, boundsOf, chooseDirection, type Direction, fitScale, type Places, place } from "../render/place.ts";
import {
  buildScene,
  type Camera,
  fitCamera,
  hitTest,
  leastZoom,
  reachMarks,
  type Scene,
  type SceneInput,
  waitingWords,
  zoomAt,
} from "../render/scene.ts";
import { toSvg } from "../render/svg.ts";
import { prefersStill, type Theme } from "../render/theme.ts";
import type { Source } from "../sources/source.ts";
import type { Details } from "./details.ts";
import { element, fill, on, set } from "./dom.ts";

const MOST_ZOOM = 2.5;
const HOVER_MS = 150;
const TOOLTIP_MS = 350;
const ZOOM_MS = 150;
const DRAG_PX = 4;
const MINIMAP_FROM = 60;
const MINIMAP = { width: 160, height: 100 } as const;
const FRAME_MARGIN = 24;
const MOST_ASKED = 24;
const MOST_FRONT = 300;
const LONGEST_NAME = 300;
/** Two clicks within this time and distance are one double click, whatever moved under the pointer in between. */
const DOUBLE = { ms: 700, px: 6 } as const;

export interface GraphState {
  camera: Camera | null;
  direction: Direction | "auto";
  hasEdges: boolean;
}

export interface GraphEvents {
  selected(marks: readonly number[], node: number): void;
  opened(mark: number): void;
  moved(): void;
  leave(): void;
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
  private readonly miniCanvas = element("canvas.td-minimap", { "aria-hidden": "true", hidden: true });
  private readonly tooltip = element("div.td-tooltip", { role: "tooltip", hidden: true });
  private readonly chip = element("div.td-chip", { hidden: true });
  private readonly mirror = element("ul.td-mirror", { role: "presentation" });
  /** Bottom left, over the graph. */
  readonly controls: HTMLElement;
  private readonly viewport: HTMLElement;
  private readonly edgeContext: CanvasRenderingContext2D;
  private readonly markContext: CanvasRenderingContext2D;
  private readonly edgeBrush: Brush;
  private readonly markBrush: Brush;
  private theme: Theme;
  private places: Places | null = null;
  private camera: Camera = { x: 0, y: 0, k: 1 };
  private width = 0;
  private height = 0;
  private isFitted = false;
  /** True while the camera stands where the first fit put it. */
  private isPristine = true;
  private hovered = -1;
  private lit: SceneInput["lit"] = null;
  private touched: ReadonlySet<number> | null = null;
  private cased: SceneInput["cased"] = null;
  private frame = 0;
  private areEdgesStale = true;
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
    this.mirror.dataset.prefix = prefix;
    this.controls = element("div.td-corner", {}, this.chip);
    this.root = element("div.td-graph", {}, this.viewport, this.mirror, this.controls, this.miniCanvas, this.tooltip);
    const contextOf = (canvas: HTMLCanvasElement): CanvasRenderingContext2D => {
      const context = canvas.getContext("2d");
      if (!context) throw new Error("this browser has no canvas");
      return context;
    };
    this.edgeContext = contextOf(this.edgeCanvas);
    this.markContext = contextOf(this.markCanvas);
    this.edgeBrush = makeBrush(this.edgeContext, theme);
    this.markBrush = makeBrush(this.markContext, theme);
    this.listen();
  }

  // --- what others tell it -------------------------------------------------------------------------------------

  /** The structure came or changed: marks get their places; the camera stays where it is. */
  arrange(): void {
    const picture = this.store.picture;
    if (!picture) return;
    if (this.isolated >= this.store.total) this.isolated = -1;
    this.places = place(picture.marks, picture.edges, this.direction(), this.shownMarks());
    for (const mark of [...this.selection]) if (mark >= this.store.markCount) this.selection.delete(mark);
    if (this.focused >= this.store.markCount) this.focused = -1;
    if (this.width > 0 && this.store.markCount > 0) this.firstFit();
    this.redraw(true);
    this.events.moved();
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
    this.edgeBrush.theme = theme;
    this.markBrush.theme = theme;
    this.redraw(true);
  }

  /** Statuses or texts changed: marks are drawn again, edges are not. */
  restate(): void {
    this.isMiniStale = true;
    this.redraw(false);
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
  setCased(cased: SceneInput["cased"]): void {
    this.cased = cased;
    this.redraw(true);
  }

  /** Draw the states of another store of the same picture, a moment of the past; null for how it is. */
  setStore(store: Store | null): void {
    this.store = store ?? this.source.store;
    this.restate();
  }

  /** The graph as SVG text: as it is seen now, or whole at 100 %. */
  toSvg(isWhole: boolean): string {
    if (!this.places) return "";
    const input = { ...this.input(), hasEdges: this.state.hasEdges, focused: -1, lit: null, touched: null };
    const { x, y, width, height } = this.places.bounds;
    const whole = { camera: { x: x - FRAME_MARGIN, y: y - FRAME_MARGIN, k: 1 }, selected: new Set<number>() };
    const size = { width: width + 2 * FRAME_MARGIN, height: height + 2 * FRAME_MARGIN };
    const scene = buildScene(isWhole ? { ...input, ...whole, ...size } : input);
    const title = plain(this.store.picture?.title ?? "");
    return toSvg(scene, this.store.markCounts, this.theme, this.places.direction, title);
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
    if (marks.some((mark) => this.isHidden(mark))) this.showAll();
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
    this.bringIntoView(mark);
  }

  get zoom(): number {
    return this.camera.k;
  }

  // --- camera --------------------------------------------------------------------------------------------------

  fitAll(): void {
    if (!this.places) return;
    this.flyTo(fitCamera(this.places.bounds, this.width, this.height, FRAME_MARGIN, 1));
  }

  zoomBy(factor: number): void {
    this.flyTo(zoomAt(this.camera, factor, this.width / 2, this.height / 2, this.leastZoom(), MOST_ZOOM));
  }

  zoomTo(k: number): void {
    this.zoomBy(k / this.camera.k);
  }

  private leastZoom(): number {
    if (!this.places) return 0.01;
    const whole = fitCamera(this.places.bounds, this.width, this.height, FRAME_MARGIN, 1).k;
    return Math.min(whole, this.camera.k);
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
    const whole = fitCamera(this.places.bounds, this.width, this.height, FRAME_MARGIN, 1);
    const least = leastZoom("chip");
    if (whole.k >= least) this.camera = whole;
    else {
      const front = this.frontier();
      const box = front.length > 0 ? boundsOf(this.places, front) : this.places.bounds;
      const near = fitCamera(box, this.width, this.height, FRAME_MARGIN, 1);
      this.camera = near.k >= least ? near : this.corner(box, Math.max(least, Math.min(1, this.bandScale(box))));
      this.camera = this.withoutEmptySides(this.camera, this.places.bounds);
    }
    this.keepCamera();
  }

  /** Zoom at which the narrow side of a long graph fits. */
  private bandScale(box: Box): number {
    const isWide = box.width / this.width > box.height / this.height;
    const narrow = isWide ? { ...box, width: 1 } : { ...box, height: 1 };
    return fitScale(narrow, this.width - 2 * FRAME_MARGIN, this.height - 2 * FRAME_MARGIN);
  }

  /** No empty side while there is something beyond the other one. */
  private withoutEmptySides({ x, y, k }: Camera, all: Box): Camera {
    const margin = FRAME_MARGIN / k;
    const settle = (at: number, room: number, from: number, size: number): number =>
      size + 2 * margin <= room
        ? from + size / 2 - room / 2
        : Math.max(from - margin, Math.min(from + size + margin - room, at));
    return { k, x: settle(x, this.width / k, all.x, all.width), y: settle(y, this.height / k, all.y, all.height) };
  }

  private corner(box: Box, k: number): Camera {
    const isHigh = box.height * k > this.height - 2 * FRAME_MARGIN;
    const isWide = box.width * k > this.width - 2 * FRAME_MARGIN;
    const x = isWide ? box.x - FRAME_MARGIN / k : box.x + box.width / 2 - this.width / 2 / k;
    const y = isHigh ? box.y - FRAME_MARGIN / k : box.y + box.height / 2 - this.height / 2 / k;
    return { x, y, k };
  }

  /** Failed marks, running ones, then the neighbours of both: as many as are seen as chips together. */
  private frontier(): number[] {
    const { places, store } = this;
    const edges = store.picture?.edges;
    if (!places || !edges) return [];
    const withStatus = (status: number): number[] =>
      Array.from({ length: store.markCount }, (_, mark) => mark).filter(
        (mark) => !this.isHidden(mark) && worst(store.markCounts, mark * STATUS_COUNT) === status,
      );
    const urgent = [...withStatus(Status.FAILED), ...withStatus(Status.RUNNING)];
    const all = new Set(urgent);
    edges.source.forEach((source, edge) => {
      const target = edges.target[edge] ?? 0;
      if (all.has(source) === all.has(target) || this.isHidden(source) || this.isHidden(target)) return;
      urgent.push(all.has(source) ? target : source);
    });
    const least = leastZoom("chip");
    const chosen: number[] = [];
    for (const mark of new Set(urgent)) {
      if (chosen.length >= MOST_FRONT) break;
      const box = boundsOf(places, [...chosen, mark]);
      const fits = fitCamera(box, this.width, this.height, FRAME_MARGIN, 1).k >= least;
      if (fits || chosen.length === 0) chosen.push(mark);
    }
    return chosen;
  }

  private bringIntoView(mark: number): void {
    if (!this.places) return;
    const k = Math.max(this.camera.k, leastZoom("chip"));
    const x = (this.places.x[mark] ?? 0) + (this.places.width[mark] ?? 0) / 2;
    const y = (this.places.y[mark] ?? 0) + (this.places.height[mark] ?? 0) / 2;
    const sx = (x - this.camera.x) * this.camera.k;
    const sy = (y - this.camera.y) * this.camera.k;
    const isIn = sx > 60 && sy > 30 && sx < this.width - 60 && sy < this.height - 30;
    if (isIn && k === this.camera.k) return;
    this.flyTo({ k, x: x - this.width / 2 / k, y: y - this.height / 2 / k });
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
    const { k } = this.camera;
    const shift = (from: number, size: number, start: number, room: number): number => {
      const low = (from - start) * k - FRAME_MARGIN;
      const high = (from + size - start) * k + FRAME_MARGIN - room;
      return low < 0 ? low / k : high > 0 ? Math.min(high, low) / k : 0;
    };
    const x = shift(this.places.x[mark] ?? 0, this.places.width[mark] ?? 0, this.camera.x, this.width);
    const y = shift(this.places.y[mark] ?? 0, this.places.height[mark] ?? 0, this.camera.y, this.height);
    this.camera = { k, x: this.camera.x + x, y: this.camera.y + y };
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
      // Centre and zoom go together, so that what is in the middle stays there.
      const k = from.k * (target.k / from.k) ** eased;
      const along = Math.abs(target.k - from.k) < 1e-9 ? eased : (1 / from.k - 1 / k) / (1 / from.k - 1 / target.k);
      this.setCamera({ k, x: from.x + (target.x - from.x) * along, y: from.y + (target.y - from.y) * along });
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

  private redraw(withEdges: boolean): void {
    this.areEdgesStale ||= withEdges;
    if (this.frame !== 0 || this.signal.aborted) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
    });
  }

  /** One frame, now. */
  draw(): void {
    if (!this.isShown || !this.places || this.width === 0 || this.height === 0 || this.signal.aborted) return;
    const ratio = Math.min(3, this.root.ownerDocument.defaultView?.devicePixelRatio ?? 1);
    if (fitBitmap(this.edgeCanvas, this.width, this.height, ratio)) this.areEdgesStale = true;
    const scene = buildScene(this.input());
    fitBitmap(this.markCanvas, this.width, this.height, ratio);
    if (this.areEdgesStale) {
      begin(this.edgeContext, ratio);
      drawEdges(this.edgeBrush, scene, this.places.direction);
      this.areEdgesStale = false;
      this.isMiniStale = true;
    }
    begin(this.markContext, ratio);
    drawMarks(this.markBrush, scene, this.store.markCounts);
    if (this.isMiniStale) this.drawMini(ratio);
    this.isMiniStale = false;
    this.showChip(scene);
    this.askErrors(scene);
    this.tickNext(scene);
    this.root.dataset.level = scene.level;
    this.root.dataset.drawn = String(scene.marks.length + scene.cells.length);
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
      // A status change leaves the layer of the edges as it is.
      hasEdges: this.state.hasEdges && this.areEdgesStale,
      errorOf: (node) => this.details.errorOf(node),
      cased: this.cased,
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
    this.ticker = setTimeout(
      () => this.redraw(false),
      scene.isAnyYoung ? 100 : 1000 - (this.store.runTime() % 1) * 500,
    );
  }

  /** Cards of failed nodes name the exception: ask for it where it is on screen. */
  private askErrors(scene: Scene): void {
    if (scene.level !== "card") return;
    let asked = 0;
    for (const mark of scene.marks) {
      if (mark.isStack || mark.status !== Status.FAILED || asked >= MOST_ASKED) continue;
      asked += this.details.want(this.firstOf(mark.mark)) ? 1 : 0;
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
    set(this.chip, { hidden: text === "" });
    const key = `${text}|${isPart}|${this.isIsolated}`;
    if (this.chip.dataset.key === key) return;
    this.chip.dataset.key = key;
    const button = (label: string, chosen: () => void): HTMLElement => {
      const made = element("button.td-link", { type: "button" }, label);
      on(made, "click", this.signal, chosen);
      return made;
    };
    fill(
      this.chip,
      element("span.td-chiptext", {}, text),
      this.isIsolated ? button(say("graph.show_all"), () => this.showAll()) : null,
      isPart && text ? button(say("graph.fit_all"), () => this.fitAll()) : null,
    );
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

  private drawMini(ratio: number): void {
    const places = this.places;
    const isOn = this.store.markCount >= MINIMAP_FROM && this.width >= 480 && this.height >= 220;
    set(this.miniCanvas, { hidden: !isOn });
    if (!isOn || !places) return;
    fitBitmap(this.miniCanvas, MINIMAP.width, MINIMAP.height, ratio);
    const context = this.miniCanvas.getContext("2d");
    if (!context) return;
    begin(context, ratio);
    const mini = this.miniCamera();
    const byStatus: number[][] = Array.from({ length: STATUS_COUNT }, () => []);
    for (let mark = 0; mark < this.store.markCount; mark++) {
      byStatus[worst(this.store.markCounts, mark * STATUS_COUNT)]?.push(mark);
    }
    for (const status of [...URGENCY].reverse()) {
      context.fillStyle = this.theme.status[status]?.mark ?? this.theme.edge;
      context.globalAlpha = status === Status.NOT_STARTED ? 0.45 : 1;
      for (const mark of byStatus[status] ?? []) {
        const wide = Math.max(1.5, (places.width[mark] ?? 0) * mini.k);
        const high = Math.max(1.5, (places.height[mark] ?? 0) * mini.k);
        context.fillRect(
          ((places.x[mark] ?? 0) - mini.x) * mini.k,
          ((places.y[mark] ?? 0) - mini.y) * mini.k,
          wide,
          high,
        );
      }
    }
    context.globalAlpha = 1;
    context.strokeStyle = this.theme.focus;
    context.lineWidth = 1.5;
    context.strokeRect(
      Math.max(0.75, (this.camera.x - mini.x) * mini.k),
      Math.max(0.75, (this.camera.y - mini.y) * mini.k),
      Math.min(MINIMAP.width - 1.5, (this.width / this.camera.k) * mini.k),
      Math.min(MINIMAP.height - 1.5, (this.height / this.camera.k) * mini.k),
    );
  }

  private miniCamera(): Camera {
    const bounds = this.places?.bounds ?? { x: 0, y: 0, width: 1, height: 1 };
    return fitCamera(bounds, MINIMAP.width, MINIMAP.height, 6, 1);
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
    on(this.miniCanvas, "pointerdown", this.signal, (event) => this.miniMove(event));
    on(this.miniCanvas, "pointermove", this.signal, (event) => {
      if (event.buttons & 1) this.miniMove(event);
    });
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
    this.areEdgesStale = true;
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
    else this.select([down.mark]);
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
    else {
      this.select([first.mark]);
      this.events.opened(first.mark);
    }
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
    } else if (isFull) {
      event.preventDefault();
      const { x, y, k } = this.camera;
      this.setCamera({ k, x: x + (event.deltaX * unit) / k, y: y + (event.deltaY * unit) / k });
    }
  }

  private hit(point: { x: number; y: number }): number {
    return this.places ? hitTest({ places: this.places, camera: this.camera }, point.x, point.y) : -1;
  }

  private hover(mark: number, x: number, y: number): void {
    set(this.viewport, { "data-over": mark >= 0 });
    if (mark === this.hovered) return;
    this.hovered = mark;
    clearTimeout(this.hoverTimer);
    clearTimeout(this.tooltipTimer);
    this.hideTooltip();
    if (mark < 0) {
      if (this.lit) {
        this.lit = null;
        this.redraw(true);
      }
      return;
    }
    this.hoverTimer = setTimeout(() => {
      this.lit = { up: reachMarks(this.store, mark, false), down: reachMarks(this.store, mark, true) };
      this.redraw(true);
    }, HOVER_MS);
    this.tooltipTimer = setTimeout(() => this.showTooltip(mark, x, y), TOOLTIP_MS);
  }

  private showTooltip(mark: number, x: number, y: number): void {
    const marks = this.store.picture?.marks;
    if (!marks) return;
    const name = plain(this.isCard(mark) ? this.store.nameOf(this.firstOf(mark)) : (marks.name[mark] ?? ""));
    const lines = [middle(name, LONGEST_NAME), this.describe(mark)];
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

  /** A mark in a sentence: for the tooltip and for screen readers. */
  describe(mark: number): string {
    const base = mark * STATUS_COUNT;
    if (!this.isCard(mark)) {
      const parts = URGENCY.filter((status) => (this.store.markCounts[base + status] ?? 0) > 0).map(
        (status) => `${count(this.store.markCounts[base + status] ?? 0)} ${STATUS_WORDS[status] ?? ""}`,
      );
      return `${say("aria.nodes", { n: this.store.picture?.marks.size[mark] ?? 0 })}: ${parts.join(", ")}`;
    }
    const node = this.firstOf(mark);
    const status = this.store.status[node] ?? 0;
    const parts = [STATUS_WORDS[status] ?? ""];
    const attempt = this.store.attempt[node] ?? 0;
    if (attempt > 1) parts.push(say("aria.attempt", { n: attempt }));
    const took = ranFor(this.store, node);
    if (!Number.isNaN(took)) parts.push(duration(took));
    const error = this.details.errorOf(node);
    if (status === Status.FAILED && error) parts.push(plain(error));
    const blocker = status === Status.PARENT_FAILED ? blockerOf(this.store, node) : -1;
    if (blocker >= 0) parts.push(say("detail.blocked_by", { name: plain(this.store.nameOf(blocker)) }));
    if (status === Status.NOT_STARTED && this.store.run?.started != null) parts.push(waitingWords(this.store, node));
    return parts
      .filter(Boolean)
      .map((part) => middle(part, LONGEST_NAME))
      .join(", ");
  }

  private miniMove(event: PointerEvent): void {
    if (event.type === "pointerdown") this.miniCanvas.setPointerCapture(event.pointerId);
    const box = this.miniCanvas.getBoundingClientRect();
    const mini = this.miniCamera();
    const x = mini.x + (event.clientX - box.left) / mini.k;
    const y = mini.y + (event.clientY - box.top) / mini.k;
    const { k } = this.camera;
    this.flight += 1;
    this.setCamera({ k, x: x - this.width / 2 / k, y: y - this.height / 2 / k });
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
    if (move) this.walk(move[0], move[1]);
    else if (event.key === "Home") this.goTo(this.edgeMark(false));
    else if (event.key === "End") this.goTo(this.edgeMark(true));
    else if (event.key === "Enter" && this.focused >= 0) {
      this.select([this.focused]);
      this.events.opened(this.focused);
    } else if (event.key === " " && this.focused >= 0) this.toggle(this.focused);
    else if (event.key === "+" || event.key === "=") this.zoomBy(1.25);
    else if (event.key === "-") this.zoomBy(0.8);
    else if (event.key === "0") this.fitAll();
    else return false;
    return true;
  }

  private goTo(mark: number): void {
    if (mark < 0) return;
    this.focus(mark);
    this.bringIntoView(mark);
    this.redraw(false);
  }

  /** Along: to a child or parent; across: to a sibling in the same rank. */
  private walk(along: number, across: number): void {
    const marks = this.store.picture?.marks;
    const edges = this.store.picture?.edges;
    if (!marks || !edges) return;
    if (this.focused < 0) {
      this.goTo(this.edgeMark(false));
      return;
    }
    const own = this.focused;
    let found: number[] = [];
    if (along !== 0) {
      edges.source.forEach((source, edge) => {
        const target = edges.target[edge] ?? 0;
        if (along > 0 && source === own) found.push(target);
        if (along < 0 && target === own) found.push(source);
      });
    } else {
      found = marks.rank.flatMap((rank, mark) => (rank === marks.rank[own] && mark !== own ? [mark] : []));
      found = found.filter((mark) => ((marks.slot[mark] ?? 0) - (marks.slot[own] ?? 0)) * across > 0);
    }
    found = found.filter((mark) => !this.isHidden(mark));
    const distance = (mark: number): number => Math.abs((marks.slot[mark] ?? 0) - (marks.slot[own] ?? 0));
    found.sort((a, b) => distance(a) - distance(b));
    this.goTo(found[0] ?? -1);
  }

  /** First root or last leaf. */
  private edgeMark(isLast: boolean): number {
    const marks = this.store.picture?.marks;
    if (!marks || marks.kind.length === 0) return -1;
    let best = -1;
    for (let mark = 0; mark < marks.kind.length; mark++) {
      if (this.isHidden(mark)) continue;
      if (best < 0) best = mark;
      const byRank = (marks.rank[mark] ?? 0) - (marks.rank[best] ?? 0);
      const bySlot = (marks.slot[mark] ?? 0) - (marks.slot[best] ?? 0);
      const isBefore = byRank < 0 || (byRank === 0 && bySlot < 0);
      if (isLast ? !isBefore : isBefore) best = mark;
    }
    return best;
  }

  private focus(mark: number): void {
    this.focused = mark;
    this.showMirror();
  }

  /** The focused mark and its neighbours, as elements that a screen reader can be pointed at. */
  private showMirror(): void {
    const marks = this.store.picture?.marks;
    const edges = this.store.picture?.edges;
    if (!marks || !edges || this.focused < 0) {
      fill(this.mirror);
      set(this.viewport, { "aria-activedescendant": null });
      return;
    }
    const near = new Set([this.focused]);
    edges.source.forEach((source, edge) => {
      const target = edges.target[edge] ?? 0;
      if (near.size < 12 && source === this.focused) near.add(target);
      if (near.size < 12 && target === this.focused) near.add(source);
    });
    const prefix = this.mirror.dataset.prefix ?? "";
    const items = [...near].map((mark) => {
      const own = plain(this.isCard(mark) ? this.store.nameOf(this.firstOf(mark)) : (marks.name[mark] ?? ""));
      const name = middle(own, LONGEST_NAME);
      const text = `${name}, ${this.describe(mark)}`;
      return element("li", { id: `${prefix}-${mark}`, role: "img", "aria-label": text }, text);
    });
    fill(this.mirror, ...items);
    set(this.viewport, { "aria-activedescendant": `${prefix}-${this.focused}` });
  }

  private isCard(mark: number): boolean {
    return this.store.picture?.marks.kind[mark] === "card";
  }

  private firstOf(mark: number): number {
    return this.store.picture?.marks.first[mark] ?? 0;
  }

  focusCanvas(): void {
    this.viewport.focus();
  }

  isCanvas(target: EventTarget | null): boolean {
    return target === this.viewport;
  }
}
