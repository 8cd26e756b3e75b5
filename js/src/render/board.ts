// An open stack: its members as tiles or cards in index order, in a frame on the graph. Geometry, hit test, drawing.
import { URGENCY } from "../model/derive.ts";
import { STATUS_COUNT, type Store } from "../model/store.ts";
import { plain } from "../model/words.ts";
import { Status } from "../protocol.ts";
import { DIMMED } from "./edges.ts";
import { type Brush, drawGlyph, fitText, setFont, styleOf } from "./pen.ts";
import { type Box, CARD } from "./place.ts";
import type { Scene, SceneMark } from "./scene.ts";
import { fade } from "./theme.ts";

/** How one mark stands open; kept by the view. */
export interface Open {
  form: "tiles" | "cards";
  /** Only members of this status; 0 for all. */
  status: number;
  /** World pixels that are scrolled out at the top. */
  top: number;
}

/** More members than this are not shown as cards. */
export const MOST_CARDS = 60;
const SMALL_FROM = 2000;
const MOST = { width: 480, height: 240 } as const;
const LEAST_WIDTH = 268;
const GAP = 2;
const CARD_GAP = 10;
const PAD = 10;
/** Room for name and buttons. */
export const HEAD = 64;
const MOST_ROWS = 12;
const SCROLLBAR = 5;

/** World pixels. A cell is a tile and the gap after it. */
export interface Shape {
  width: number;
  height: number;
  columns: number;
  rows: number;
  cell: { width: number; height: number };
  gap: number;
  /** Height of the part that is seen of all rows. */
  view: number;
}

/** The room that a board takes: by how many members there are, not by how many the filter leaves. */
export function shapeOf(size: number, form: Open["form"]): Shape {
  const isCards = form === "cards";
  const tile = size > SMALL_FROM ? 6 : 12;
  const gap = isCards ? CARD_GAP : GAP;
  const cell = isCards
    ? { width: CARD.width + gap, height: CARD.height + gap }
    : { width: tile + gap, height: tile + gap };
  const least = Math.ceil((LEAST_WIDTH + gap) / cell.width);
  const most = isCards ? size : Math.floor((MOST.width + gap) / cell.width);
  const wish = isCards ? Math.ceil(size / MOST_ROWS) : Math.ceil(Math.sqrt(2 * size));
  const columns = Math.max(1, Math.min(Math.max(least, wish), most));
  const rows = Math.ceil(size / columns);
  const high = rows * cell.height - gap;
  const view = isCards ? high : Math.min(MOST.height, high);
  const inner = Math.max(LEAST_WIDTH, columns * cell.width - gap);
  return { width: inner + 2 * PAD, height: HEAD + view + PAD, columns, rows, cell, gap, view };
}

/** A board of a scene: what it shows, and where. */
export class Board {
  readonly open: Open;
  readonly shape: Shape;
  readonly members: Uint32Array;
  readonly cursor: number;
  private readonly store: Store;
  private readonly details: (node: number) => string;
  /** Per node 1 for what a filter means; null without one. */
  private readonly mask: Uint8Array | null;

  constructor(
    store: Store,
    mark: number,
    open: Open,
    cursor: number,
    details: (node: number) => string,
    mask: Uint8Array | null = null,
  ) {
    const all = store.membersOf(mark);
    this.store = store;
    this.open = open;
    this.shape = shapeOf(all.length, open.form);
    this.members = open.status === 0 ? all : all.filter((node) => store.status[node] === open.status);
    this.cursor = cursor;
    this.details = details;
    this.mask = mask;
  }

  /** Left out by a filter: drawn paler. */
  isPale(at: number): boolean {
    return this.mask !== null && this.mask[this.members[at] ?? 0] !== 1;
  }

  /** Scrolled no further than to the end. */
  get top(): number {
    return Math.max(0, Math.min(this.open.top, this.mostTop));
  }

  get mostTop(): number {
    return Math.max(
      0,
      Math.ceil(this.members.length / this.shape.columns) * this.shape.cell.height - this.shape.gap - this.shape.view,
    );
  }

  /** World box of a tile, from the top left of the board. */
  boxOf(at: number): Box {
    const { cell, gap, columns } = this.shape;
    return {
      x: PAD + (at % columns) * cell.width,
      y: HEAD + Math.floor(at / columns) * cell.height - this.top,
      width: cell.width - gap,
      height: cell.height - gap,
    };
  }

  /** Which tile lies under a point of the board, in world pixels from its top left; -1 for none. */
  tileAt(x: number, y: number): number {
    const { cell, columns, view } = this.shape;
    const column = Math.floor((x - PAD + this.shape.gap / 2) / cell.width);
    if (y < HEAD || y > HEAD + view || column < 0 || column >= columns) return -1;
    const at = Math.floor((y - HEAD + this.top + this.shape.gap / 2) / cell.height) * columns + column;
    return at < this.members.length ? at : -1;
  }

  /** Where a board must be scrolled to so that a tile is seen. */
  topFor(at: number): number {
    const { cell, gap, columns, view } = this.shape;
    const y = Math.floor(at / columns) * cell.height;
    return Math.max(y + cell.height - gap - view, Math.min(this.top, y));
  }

  /** First and last tile that are seen. */
  range(): [number, number] {
    const { cell, columns, view } = this.shape;
    const first = Math.floor(this.top / cell.height) * columns;
    const last = Math.ceil((this.top + view) / cell.height) * columns;
    return [first, Math.min(last, this.members.length)];
  }

  /** What is seen, as a text that changes with it. */
  look(): string {
    const [first, last] = this.range();
    let look = `${this.open.form}${this.open.status},${this.top},${this.cursor}:`;
    for (let at = first; at < last; at++)
      look += (this.store.status[this.members[at] ?? 0] ?? 0) + (this.isPale(at) ? STATUS_COUNT : 0);
    if (this.open.form === "cards") for (let at = first; at < last; at++) look += this.details(this.members[at] ?? 0);
    return look;
  }

  statusAt(at: number): number {
    return this.store.status[this.members[at] ?? 0] ?? 0;
  }

  nameAt(at: number): string {
    return plain(this.store.nameOf(this.members[at] ?? 0));
  }

  detailAt(at: number): string {
    return this.details(this.members[at] ?? 0);
  }
}

export function drawBoard(brush: Brush, scene: Scene, mark: SceneMark, board: Board, paint: PaintCard): void {
  const { context, theme } = brush;
  const { k } = scene.camera;
  const style = styleOf(theme, mark.status);
  context.fillStyle = theme.card;
  context.strokeStyle = style.mark;
  context.lineWidth = mark.status === Status.FAILED ? 1.5 : 1;
  context.beginPath();
  context.roundRect(
    Math.round(mark.x) + 0.5,
    Math.round(mark.y) + 0.5,
    Math.round(mark.width),
    Math.round(mark.height),
    6 * k,
  );
  context.fill();
  context.stroke();
  context.save();
  context.beginPath();
  context.rect(mark.x + 1, mark.y + HEAD * k - 1, mark.width - 2, board.shape.view * k + 2);
  context.clip();
  if (board.open.form === "cards") drawCards(brush, scene, mark, board, paint);
  else drawTiles(brush, scene, mark, board);
  context.restore();
  drawScrollbar(brush, scene, mark, board);
  // Below this size the buttons over the canvas are hidden: the name is drawn instead.
  if (k < LEAST_HEAD) writeName(brush, scene, mark);
}

/** Zoom from which on a board has its buttons. */
export const LEAST_HEAD = 0.55;
export type PaintCard = (at: number, box: Box) => void;

function drawCards(_brush: Brush, scene: Scene, mark: SceneMark, board: Board, paint: PaintCard): void {
  const { k } = scene.camera;
  const [first, last] = board.range();
  for (let at = first; at < last; at++) {
    const { x, y, width, height } = board.boxOf(at);
    paint(at, { x: mark.x + x * k, y: mark.y + y * k, width: width * k, height: height * k });
  }
}

/** Status by status, each in one path; glyphs where a tile has room for one. */
function drawTiles(brush: Brush, scene: Scene, mark: SceneMark, board: Board): void {
  const { context, theme } = brush;
  const { k } = scene.camera;
  const [first, last] = board.range();
  const size = (board.shape.cell.width - board.shape.gap) * k;
  const byStatus = new Map<number, number[]>();
  for (let at = first; at < last; at++) {
    const key = board.statusAt(at) + (board.isPale(at) ? STATUS_COUNT : 0);
    const list = byStatus.get(key);
    if (list) list.push(at);
    else byStatus.set(key, [at]);
  }
  const side = Math.max(1, Math.round(size));
  const usual = context.globalAlpha;
  const worstLast = [...URGENCY].reverse();
  for (const key of [...worstLast.map((status) => status + STATUS_COUNT), ...worstLast]) {
    const own = byStatus.get(key);
    if (!own) continue;
    const status = key % STATUS_COUNT;
    context.globalAlpha = key < STATUS_COUNT || mark.emphasis === "dim" ? usual : usual * DIMMED;
    const style = styleOf(theme, status);
    const isOpen = status === Status.NOT_STARTED;
    context.fillStyle = isOpen ? fade(style.mark, 0.16) : style.mark;
    context.strokeStyle = fade(style.mark, 0.8);
    context.lineWidth = 1;
    context.beginPath();
    const inset = isOpen && side >= 5 ? 0.5 : 0;
    for (const at of own) {
      const box = board.boxOf(at);
      const x = Math.round(mark.x + box.x * k) + inset;
      const y = Math.round(mark.y + box.y * k) + inset;
      context.rect(x, y, side - 2 * inset, side - 2 * inset);
    }
    context.fill();
    if (inset > 0) context.stroke();
    if (side < 8 || !GLYPHED.has(status)) continue;
    const glyph = Math.min(side - 2, 10 * k);
    for (const at of own) {
      const box = board.boxOf(at);
      const inner = (side - glyph) / 2;
      drawGlyph(
        brush,
        status,
        Math.round(mark.x + box.x * k) + inner,
        Math.round(mark.y + box.y * k) + inner,
        glyph,
        style.ink,
      );
    }
  }
  context.globalAlpha = usual;
  if (board.cursor < first || board.cursor >= last) return;
  const box = board.boxOf(board.cursor);
  context.strokeStyle = theme.focus;
  context.lineWidth = 2;
  context.beginPath();
  context.rect(Math.round(mark.x + box.x * k) - 1.5, Math.round(mark.y + box.y * k) - 1.5, side + 3, side + 3);
  context.stroke();
}

/** Completed and Not Started are what the others stand out from. */
const GLYPHED: ReadonlySet<number> = new Set([Status.FAILED, Status.RUNNING, Status.PARENT_FAILED, Status.CANCELLED]);

function drawScrollbar({ context, theme }: Brush, scene: Scene, mark: SceneMark, board: Board): void {
  const { view } = board.shape;
  const { k } = scene.camera;
  if (board.mostTop === 0) return;
  const long = Math.max(16, (view * view) / (view + board.mostTop));
  const y = HEAD + (board.top / board.mostTop) * (view - long);
  context.fillStyle = fade(theme.secondary, 0.6);
  context.beginPath();
  context.roundRect(mark.x + mark.width - 8 * k, mark.y + y * k, SCROLLBAR * k, long * k, 2.5 * k);
  context.fill();
}

function writeName(brush: Brush, scene: Scene, mark: SceneMark): void {
  const { context, theme } = brush;
  const size = Math.min(16, Math.max(9.5, 26 * scene.camera.k));
  const font = setFont(context, 600, size, theme.uiFont);
  context.fillStyle = theme.text;
  context.textAlign = "left";
  context.textBaseline = "middle";
  const x = mark.x + 6;
  context.fillText(fitText(brush, font, mark.name, mark.width - 12), x, mark.y + (HEAD * scene.camera.k) / 2);
}
