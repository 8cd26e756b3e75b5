// A scene as SVG text: the same drawing as on the canvas, its calls written down. No script, nothing fetched.
import { drawMarks } from "./canvas.ts";
import { drawEdges } from "./edges.ts";
import { type Brush, makeBrush, type Pen, type Shape } from "./pen.ts";
import type { Direction } from "./place.ts";
import type { Scene } from "./scene.ts";
import type { Theme } from "./theme.ts";

interface State {
  fillStyle: Pen["fillStyle"];
  strokeStyle: Pen["strokeStyle"];
  lineWidth: number;
  lineCap: CanvasLineCap;
  lineJoin: CanvasLineJoin;
  globalAlpha: number;
  transform: string;
  dash: string;
  /** Groups that were opened since the state was saved. */
  open: number;
}

/** Of the canvas: `middle` is this much above the baseline, in parts of the font's size. */
const MIDDLE = 0.35;
const ANCHORS: Record<string, string> = { right: "end", end: "end", center: "middle" };

/** Takes the calls of a canvas context and keeps them as elements. */
class SvgPen implements Pen {
  fillStyle: Pen["fillStyle"] = "#000";
  strokeStyle: Pen["strokeStyle"] = "#000";
  lineWidth = 1;
  lineCap: CanvasLineCap = "butt";
  lineJoin: CanvasLineJoin = "miter";
  globalAlpha = 1;
  font = "";
  textAlign: CanvasTextAlign = "start";
  textBaseline: CanvasTextBaseline = "alphabetic";
  readonly parts: string[] = [];
  private readonly saved: State[] = [];
  private transform = "";
  private dash = "";
  private open = 0;
  private clips = 0;
  private path: string[] = [];
  private readonly measure: (text: string, font: string) => TextMetrics;
  private readonly prefix: string;

  constructor(measure: (text: string, font: string) => TextMetrics, prefix: string) {
    this.measure = measure;
    this.prefix = prefix;
  }

  beginPath(): void {
    this.path = [];
  }

  moveTo(x: number, y: number): void {
    this.path.push(`M${n(x)} ${n(y)}`);
  }

  lineTo(x: number, y: number): void {
    this.path.push(`L${n(x)} ${n(y)}`);
  }

  bezierCurveTo(a: number, b: number, c: number, d: number, x: number, y: number): void {
    this.path.push(`C${n(a)} ${n(b)} ${n(c)} ${n(d)} ${n(x)} ${n(y)}`);
  }

  closePath(): void {
    this.path.push("Z");
  }

  rect(x: number, y: number, width: number, height: number): void {
    this.path.push(`M${n(x)} ${n(y)}h${n(width)}v${n(height)}h${n(-width)}Z`);
  }

  roundRect(x: number, y: number, width: number, height: number, radii: Parameters<Pen["roundRect"]>[4] = 0): void {
    const most = Math.min(Math.abs(width), Math.abs(height)) / 2;
    const all = Array.isArray(radii) ? radii : [radii, radii, radii, radii];
    const [a = 0, b = 0, c = 0, d = 0] = all.map((each) => Math.min(most, Number(each)));
    const corner = (radius: number, dx: number, dy: number): string =>
      radius > 0 ? `a${n(radius)} ${n(radius)} 0 0 1 ${n(dx * radius)} ${n(dy * radius)}` : "";
    this.path.push(
      `M${n(x + a)} ${n(y)}h${n(width - a - b)}${corner(b, 1, 1)}v${n(height - b - c)}${corner(c, -1, 1)}` +
        `h${n(c + d - width)}${corner(d, -1, -1)}v${n(d + a - height)}${corner(a, 1, -1)}Z`,
    );
  }

  fill(shape?: Shape): void {
    this.draw(shape, `fill="${this.fillStyle}"`);
  }

  stroke(shape?: Shape): void {
    const cap = this.lineCap === "butt" ? "" : ` stroke-linecap="${this.lineCap}"`;
    const join = this.lineJoin === "miter" ? "" : ` stroke-linejoin="${this.lineJoin}"`;
    const dash = this.dash && ` stroke-dasharray="${this.dash}"`;
    this.draw(
      shape,
      `fill="none" stroke="${this.strokeStyle}" stroke-width="${n(this.lineWidth)}"${cap}${join}${dash}`,
    );
  }

  fillRect(x: number, y: number, width: number, height: number): void {
    const box = `x="${n(x)}" y="${n(y)}" width="${n(width)}" height="${n(height)}"`;
    this.parts.push(`<rect ${box} fill="${this.fillStyle}"${this.alpha()}/>`);
  }

  fillText(text: string, x: number, y: number): void {
    const [, weight = "400", size = "13", family = "sans-serif"] = /^(\S+) ([\d.]+)px (.*)$/.exec(this.font) ?? [];
    const anchor = ANCHORS[this.textAlign];
    const shift = this.textBaseline === "middle" ? Number(size) * MIDDLE : 0;
    this.parts.push(
      `<text x="${n(x)}" y="${n(y + shift)}" font-family="${escaped(family)}" font-size="${size}"` +
        `${weight === "400" ? "" : ` font-weight="${weight}"`}${anchor ? ` text-anchor="${anchor}"` : ""}` +
        ` fill="${this.fillStyle}"${this.alpha()}>${escaped(text)}</text>`,
    );
  }

  measureText(text: string): TextMetrics {
    return this.measure(text, this.font);
  }

  setLineDash(segments: Iterable<number>): void {
    this.dash = [...segments].map(n).join(" ");
  }

  clip(): void {
    const id = `${this.prefix}${++this.clips}`;
    this.parts.push(`<clipPath id="${id}"><path d="${this.path.join("")}"/></clipPath><g clip-path="url(#${id})">`);
    this.open += 1;
  }

  translate(x: number, y: number): void {
    this.transform += `translate(${n(x)} ${n(y)})`;
  }

  scale(x: number, y: number): void {
    this.transform += x === y ? `scale(${x.toFixed(4)})` : `scale(${x.toFixed(4)} ${y.toFixed(4)})`;
  }

  save(): void {
    const { fillStyle, strokeStyle, lineWidth, lineCap, lineJoin, globalAlpha, transform, dash, open } = this;
    this.saved.push({ fillStyle, strokeStyle, lineWidth, lineCap, lineJoin, globalAlpha, transform, dash, open });
    this.open = 0;
  }

  restore(): void {
    const state = this.saved.pop();
    if (!state) return;
    if (this.open > 0) this.parts.push("</g>".repeat(this.open));
    Object.assign(this, state);
  }

  private draw(shape: Shape | undefined, paint: string): void {
    const data = typeof shape === "string" ? shape : this.path.join("");
    const transform = this.transform && ` transform="${this.transform}"`;
    if (data) this.parts.push(`<path d="${data}" ${paint}${transform}${this.alpha()}/>`);
  }

  private alpha(): string {
    return this.globalAlpha === 1 ? "" : ` opacity="${n(this.globalAlpha)}"`;
  }
}

/**
 * `scene` as a picture of its own, as large as the scene is. `title` is what a screen reader says; `prefix` begins the
 * ids in it, so that two pictures in one page do not meet.
 */
export function toSvg(
  scene: Scene,
  counts: ArrayLike<number>,
  theme: Theme,
  direction: Direction,
  title: string,
  prefix = "tiledag-",
): string {
  const draw = (brush: Brush): void => {
    drawEdges(brush, scene, direction);
    brush.context.globalAlpha = 1;
    drawMarks(brush, scene, counts);
  };
  return svgOf(scene.width, scene.height, theme, title, draw, prefix);
}

/** Whatever `draw` draws, as a picture of its own. */
export function svgOf(
  wide: number,
  high: number,
  theme: Theme,
  title: string,
  draw: (brush: Brush) => void,
  prefix = "tiledag-",
): string {
  const context = document.createElement("canvas").getContext("2d");
  const pen = new SvgPen((text, font) => {
    if (!context) throw new Error("this browser has no canvas");
    context.font = font;
    return context.measureText(text);
  }, prefix);
  const brush = makeBrush(pen, theme, (data) => data);
  pen.fillStyle = theme.canvas;
  pen.fillRect(0, 0, wide, high);
  draw(brush);
  const [width, height] = [Math.ceil(wide), Math.ceil(high)];
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img">` +
    `<title>${escaped(title)}</title>${pen.parts.join("\n")}</svg>\n`
  );
}

/** Two places are enough on screen, and keep the text short. */
function n(value: number): string {
  return String(Math.round(value * 100) / 100);
}

/** As text of XML, which no control character may be in. */
function escaped(text: string): string {
  return text
    .replace(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, "�")
    .replace(/&/g, "&amp;")
    .replace(/</g, "&lt;")
    .replace(/>/g, "&gt;")
    .replace(/"/g, "&quot;");
}
