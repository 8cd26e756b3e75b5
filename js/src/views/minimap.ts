// The whole graph in a corner: where each mark is, by its worst status, and which part is seen.
import { URGENCY, worst } from "../model/derive.ts";
import { STATUS_COUNT, type Store } from "../model/store.ts";
import { Status } from "../protocol.ts";
import { begin, fitBitmap } from "../render/painter.ts";
import type { Places } from "../render/place.ts";
import { type Camera, fitCamera } from "../render/scene.ts";
import type { Theme } from "../render/theme.ts";
import { element, on, set } from "./dom.ts";

const FROM = 60;
const SIZE = { width: 160, height: 100 } as const;
const LEAST_VIEW = { width: 480, height: 220 } as const;

export class Minimap {
  readonly root = element("canvas.td-minimap", { "aria-hidden": "true", hidden: true });
  private camera: Camera = { x: 0, y: 0, k: 1 };

  /** `went` is told which point of the graph somebody wants to see. */
  constructor(went: (x: number, y: number) => void, signal: AbortSignal) {
    const go = (event: PointerEvent): void => {
      const box = this.root.getBoundingClientRect();
      const { x, y, k } = this.camera;
      went(x + (event.clientX - box.left) / k, y + (event.clientY - box.top) / k);
    };
    on(this.root, "pointerdown", signal, (event) => {
      this.root.setPointerCapture(event.pointerId);
      go(event);
    });
    on(this.root, "pointermove", signal, (event) => {
      if (event.buttons & 1) go(event);
    });
  }

  draw(store: Store, places: Places, view: { camera: Camera; width: number; height: number }, theme: Theme): void {
    const { camera, width, height } = view;
    const isOn = store.markCount >= FROM && width >= LEAST_VIEW.width && height >= LEAST_VIEW.height;
    set(this.root, { hidden: !isOn });
    const context = isOn ? this.root.getContext("2d") : null;
    if (!context) return;
    const ratio = Math.min(3, this.root.ownerDocument.defaultView?.devicePixelRatio ?? 1);
    fitBitmap(this.root, SIZE.width, SIZE.height, ratio);
    begin(context, ratio);
    const mini = fitCamera(places.bounds, SIZE.width, SIZE.height, 6, 1);
    this.camera = mini;
    const byStatus: number[][] = Array.from({ length: STATUS_COUNT }, () => []);
    for (let mark = 0; mark < store.markCount; mark++) {
      byStatus[worst(store.markCounts, mark * STATUS_COUNT)]?.push(mark);
    }
    for (const status of [...URGENCY].reverse()) {
      context.fillStyle = theme.status[status]?.mark ?? theme.edge;
      context.globalAlpha = status === Status.NOT_STARTED ? 0.45 : 1;
      const least = status === Status.FAILED ? 3 : 1.5;
      for (const mark of byStatus[status] ?? []) {
        const wide = Math.max(least, (places.width[mark] ?? 0) * mini.k);
        const high = Math.max(least, (places.height[mark] ?? 0) * mini.k);
        const x = ((places.x[mark] ?? 0) - mini.x) * mini.k;
        context.fillRect(x, ((places.y[mark] ?? 0) - mini.y) * mini.k, wide, high);
      }
    }
    context.globalAlpha = 1;
    context.strokeStyle = theme.focus;
    context.lineWidth = 1.5;
    context.strokeRect(
      Math.max(0.75, (camera.x - mini.x) * mini.k),
      Math.max(0.75, (camera.y - mini.y) * mini.k),
      Math.min(SIZE.width - 1.5, (width / camera.k) * mini.k),
      Math.min(SIZE.height - 1.5, (height / camera.k) * mini.k),
    );
  }
}
