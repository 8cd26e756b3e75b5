// Two canvases, edges below marks. After a change of status only those marks are drawn again that look different.
import { coverOf, drawMark, drawMarks, lookOf } from "./canvas.ts";
import { drawEdges } from "./edges.ts";
import { type Brush, makeBrush } from "./pen.ts";
import type { Direction } from "./place.ts";
import type { Scene, SceneMark } from "./scene.ts";
import type { Theme } from "./theme.ts";

const FADE_MS = 120;
/** With more marks changing at once nobody sees one fade, and each is drawn twice. */
const MOST_AT_ONCE = 40;

interface Drawn {
  look: string;
  mark: SceneMark;
  /** When its status last changed. */
  turned: number;
}

interface Fading {
  was: SceneMark;
  began: number;
}

export class Painter {
  private readonly edges: CanvasRenderingContext2D;
  private readonly marks: CanvasRenderingContext2D;
  private readonly edgeBrush: Brush;
  private readonly markBrush: Brush;
  private ratio = 1;
  /** By mark, what is on the canvas now; null when that is nothing to build on. */
  private drawn: Map<number, Drawn> | null = null;
  private readonly fading = new Map<number, Fading>();

  constructor(edges: HTMLCanvasElement, marks: HTMLCanvasElement, theme: Theme) {
    this.edges = contextOf(edges);
    this.marks = contextOf(marks);
    this.edgeBrush = makeBrush(this.edges, theme);
    this.markBrush = makeBrush(this.marks, theme);
  }

  set theme(theme: Theme) {
    this.edgeBrush.theme = theme;
    this.markBrush.theme = theme;
    this.forget();
  }

  /** The next frame draws every mark: camera, selection or places are not as they were. */
  forget(): void {
    this.drawn = null;
    this.fading.clear();
  }

  /** Bitmaps of this size; true if they had to change, and are empty now. */
  fit(width: number, height: number, ratio: number): boolean {
    const isOther = [this.edges, this.marks]
      .map(({ canvas }) => fitBitmap(canvas, width, height, ratio))
      .includes(true);
    this.ratio = ratio;
    if (isOther) this.forget();
    return isOther;
  }

  drawEdges(scene: Scene, direction: Direction): void {
    begin(this.edges, this.ratio);
    drawEdges(this.edgeBrush, scene, direction);
  }

  /** True while something fades: another frame is wanted. */
  drawMarks(scene: Scene, counts: ArrayLike<number>, canFade: boolean): boolean {
    const before = this.drawn;
    if (before === null || scene.level === "cell") {
      begin(this.marks, this.ratio);
      drawMarks(this.markBrush, scene, counts);
      this.drawn = scene.level === "cell" ? null : new Map();
      for (const mark of scene.marks) this.drawn?.set(mark.mark, { look: lookOf(mark, counts), mark, turned: 0 });
      return false;
    }
    const changed: SceneMark[] = [];
    const now = performance.now();
    for (const mark of scene.marks) {
      const look = lookOf(mark, counts);
      const known = before.get(mark.mark);
      if (known?.look === look && !this.fading.has(mark.mark)) continue;
      changed.push(mark);
      const isTurned = known !== undefined && known.mark.status !== mark.status;
      if (isTurned && canFade && !mark.isStack) {
        // What changes faster than it fades would be drawn twice in every frame, and be seen as neither.
        if (known.turned > now - FADE_MS) this.fading.delete(mark.mark);
        else this.fading.set(mark.mark, { was: known.mark, began: now });
      }
      before.set(mark.mark, { look, mark, turned: isTurned ? now : (known?.turned ?? 0) });
    }
    if (changed.length > MOST_AT_ONCE) this.fading.clear();
    for (const mark of changed) this.repaint(scene, mark, counts);
    return this.fading.size > 0;
  }

  /** Marks do not touch, so one is taken away and drawn without the others. */
  private repaint(scene: Scene, mark: SceneMark, counts: ArrayLike<number>): void {
    const { x, y, width, height } = coverOf(scene, mark);
    this.marks.clearRect(x, y, width, height);
    drawMark(this.markBrush, scene, mark, counts);
    const fading = this.fading.get(mark.mark);
    if (!fading) return;
    const left = 1 - (performance.now() - fading.began) / FADE_MS;
    if (left <= 0) {
      this.fading.delete(mark.mark);
      return;
    }
    drawMark(
      this.markBrush,
      scene,
      { ...fading.was, opacity: left * left, isSelected: false, isFocused: false },
      counts,
    );
  }
}

function contextOf(canvas: HTMLCanvasElement): CanvasRenderingContext2D {
  const context = canvas.getContext("2d");
  if (!context) throw new Error("this browser has no canvas");
  return context;
}

/** Makes the bitmap fit its box on screen; true if it had to change, and is empty now. */
export function fitBitmap(canvas: HTMLCanvasElement, width: number, height: number, ratio: number): boolean {
  const [wide, high] = [Math.max(1, Math.round(width * ratio)), Math.max(1, Math.round(height * ratio))];
  if (canvas.width === wide && canvas.height === high) return false;
  canvas.width = wide;
  canvas.height = high;
  return true;
}

/** Empties a canvas and sets it to screen pixels. */
export function begin(context: CanvasRenderingContext2D, ratio: number): void {
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, context.canvas.width, context.canvas.height);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.globalAlpha = 1;
}
