// Where a graph is looked at from: the first fit, zoom and flight, and what a reload brings back.
import type { Store } from "../model/store.ts";
import type { Box, Places } from "../render/place.ts";
import { type Camera, fitCamera, leastZoom, zoomAt } from "../render/scene.ts";
import { prefersStill } from "../render/theme.ts";
import { between, cameraFor, FRAME_MARGIN, firstCamera, wholeCamera } from "./fit.ts";

const MOST_ZOOM = 2.5;
const ZOOM_MS = 150;
/** Above so many marks the camera jumps. */
const MOST_FLYING = 500;

/** What is looked at. */
export interface Sighted {
  readonly store: Store;
  readonly places: Places | null;
  readonly selection: ReadonlySet<number>;
  /** Only a part is shown for a while: its camera is not remembered. */
  readonly isIsolated: boolean;
  readonly state: { camera: Camera | null };
  /** The camera was moved. */
  moved(): void;
}

export class Sight {
  camera: Camera = { x: 0, y: 0, k: 1 };
  width = 0;
  height = 0;
  private readonly of: Sighted;
  private readonly signal: AbortSignal;
  private isFitted = false;
  /** True while the camera stands where the first fit put it. */
  private isPristine = true;
  /** Where it stood before a part was isolated. */
  private before: { camera: Camera; isPristine: boolean } | null = null;
  private flight = 0;

  constructor(of: Sighted, signal: AbortSignal) {
    this.of = of;
    this.signal = signal;
  }

  /** Have the next fit be a first one. */
  unfit(): void {
    this.isFitted = false;
    this.of.state.camera = null;
  }

  fitAll(): void {
    const { places } = this.of;
    if (places) this.flyTo(wholeCamera({ ...this.size(), places }));
  }

  zoomBy(factor: number): void {
    this.flyTo(zoomAt(this.camera, factor, this.width / 2, this.height / 2, this.least(), MOST_ZOOM));
  }

  zoomTo(k: number): void {
    this.zoomBy(k / this.camera.k);
  }

  /** The camera after a zoom one point of the screen where it is. */
  zoomAt(from: Camera, factor: number, x: number, y: number): Camera {
    return zoomAt(from, factor, x, y, this.least(), MOST_ZOOM);
  }

  private least(): number {
    const { places } = this.of;
    if (!places) return 0.01;
    return Math.min(wholeCamera({ ...this.size(), places }).k, this.camera.k);
  }

  /** Where the view stands first: the whole if its cards can be told apart, else what matters now. */
  firstFit(): void {
    const { places, store, state, isIsolated } = this.of;
    if (this.isFitted || !places) return;
    this.isFitted = true;
    const kept = isIsolated ? null : state.camera;
    this.isPristine = kept === null;
    this.camera = kept ?? firstCamera({ ...this.size(), store, places });
    this.keep();
  }

  /** Nobody has moved it or looks at a node: fit again. Else what is seen stays where it is. */
  refit(): void {
    const { isIsolated, selection } = this.of;
    if (this.isPristine && (selection.size === 0 || isIsolated)) {
      this.isFitted = false;
      if (!isIsolated) this.of.state.camera = null;
      this.firstFit();
    } else this.keepInView();
  }

  /** What is selected stays in view when the view gets smaller, by the shortest way. */
  private keepInView(): void {
    const { selection, places } = this.of;
    const [mark = -1] = selection.size === 1 ? selection : [];
    if (mark < 0 || !places) return;
    this.camera = cameraFor(this, this.camera, this.boxOf(mark), this.camera.k);
    this.keep();
  }

  /** A part is looked at for itself; `comeBack` is the way back. */
  leave(): void {
    this.before ??= { camera: this.camera, isPristine: this.isPristine };
    this.isPristine = true;
    this.isFitted = false;
  }

  comeBack(): void {
    if (this.before) {
      this.camera = this.before.camera;
      this.isPristine = this.before.isPristine;
      this.of.state.camera = this.camera;
    }
    this.before = null;
  }

  /** A mark in world pixels. */
  boxOf(mark: number): Box {
    const { x, y, width, height } = this.of.places ?? { x: [], y: [], width: [], height: [] };
    return { x: x[mark] ?? 0, y: y[mark] ?? 0, width: width[mark] ?? 0, height: height[mark] ?? 0 };
  }

  /** A mark, or one tile of an open one, by the shortest way; large enough to be read. */
  bringIntoView(mark: number, isOpen: boolean, tile: Box | null = null): void {
    if (!this.of.places) return;
    const own = this.boxOf(mark);
    const box = tile ? { ...tile, x: own.x + tile.x, y: own.y + tile.y } : own;
    const fitted = fitCamera(own, this.width, this.height, FRAME_MARGIN, 1).k;
    const least = isOpen ? Math.max(leastZoom("chip"), Math.min(0.8, fitted)) : leastZoom("chip");
    const target = cameraFor(this, this.camera, box, Math.max(this.camera.k, least));
    if (target.x !== this.camera.x || target.y !== this.camera.y || target.k !== this.camera.k) this.flyTo(target);
  }

  /** What a reload brings back; it shows everything again. */
  private keep(): void {
    if (!this.of.isIsolated) this.of.state.camera = this.camera;
  }

  private flyTo(target: Camera): void {
    const flight = ++this.flight;
    const from = this.camera;
    if (prefersStill() || this.of.store.markCount > MOST_FLYING) {
      this.set(target);
      return;
    }
    const began = performance.now();
    const step = (now: number): void => {
      if (flight !== this.flight || this.signal.aborted) return;
      const share = Math.min(1, (now - began) / ZOOM_MS);
      this.set(between(from, target, 1 - (1 - share) ** 3));
      if (share < 1) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }

  /** A hand takes over: whatever flies stays where it is. */
  stop(): void {
    this.flight += 1;
  }

  /** Put a point of the world in the middle. */
  centre(x: number, y: number): void {
    const { k } = this.camera;
    this.stop();
    this.set({ k, x: x - this.width / 2 / k, y: y - this.height / 2 / k });
  }

  /** Move by pixels of the screen, from where a camera stood. */
  pan(from: Camera, dx: number, dy: number): void {
    this.set({ k: from.k, x: from.x + dx / from.k, y: from.y + dy / from.k });
  }

  set(camera: Camera): void {
    this.isPristine = false;
    this.camera = camera;
    this.keep();
    this.of.moved();
  }

  private size(): { width: number; height: number } {
    return { width: this.width, height: this.height };
  }
}
