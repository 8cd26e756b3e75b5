// Stacks that stand open on the graph: which, how far scrolled, the tile under the keyboard, and the buttons over each.
import { STATUS_COUNT, type Store } from "../model/store.ts";
import { URGENCY } from "../model/derive.ts";
import { count, middle, plain, say } from "../model/words.ts";
import { STATUS_WORDS, Status } from "../protocol.ts";
import { Board, HEAD, LEAST_HEAD, MOST_CARDS, type Open, shapeOf } from "../render/board.ts";
import type { Size } from "../render/place.ts";
import type { SceneMark } from "../render/scene.ts";
import { button, element, fill, glyph, on, set } from "./dom.ts";

export interface BoardEvents {
  /** A board opened, closed or took another form: marks need other places. */
  resized(mark: number, isOpen: boolean): void;
  /** Something else about a board is drawn differently now. */
  changed(): void;
  /** Show these nodes in the list; absent where there is none. */
  listed?: ((mark: number) => void) | undefined;
}

const NAME_LENGTH = 60;
/** Below this scale there is room for one row of buttons only. */
const TWO_ROWS = 0.9;

export class Boards {
  readonly root = element("div.td-boards");
  readonly opens = new Map<number, Open>();
  /** The tile under the keyboard, in the mark that has the focus; -1 for none. */
  cursor = -1;
  private readonly heads = new Map<number, HTMLElement>();
  private readonly store: () => Store;
  private readonly events: BoardEvents;
  private readonly signal: AbortSignal;

  constructor(store: () => Store, events: BoardEvents, signal: AbortSignal) {
    this.store = store;
    this.events = events;
    this.signal = signal;
  }

  has(mark: number): boolean {
    return this.opens.has(mark);
  }

  /** Room that an open mark takes; null for a closed one. */
  size(mark: number): Size | null {
    const open = this.opens.get(mark);
    const members = this.store().picture?.marks.size[mark] ?? 0;
    return open ? { ...shapeOf(members, open.form), slips: 0 } : null;
  }

  toggle(mark: number): void {
    if (!this.opens.delete(mark)) {
      this.opens.set(mark, { form: "tiles", status: 0, top: 0 });
      this.cursor = -1;
    }
    this.events.resized(mark, this.has(mark));
  }

  /** Marks that are no more, or are no stacks any more, are not open. */
  prune(): void {
    const marks = this.store().picture?.marks;
    for (const mark of this.opens.keys()) {
      if (!marks || (marks.kind[mark] ?? "card") === "card") this.opens.delete(mark);
    }
  }

  private board(mark: number): Board | null {
    const open = this.opens.get(mark);
    return open ? new Board(this.store(), mark, open, this.cursor, () => "") : null;
  }

  /** The node of a tile that lies at a point of the board, in world pixels from its top left; -1 for none. */
  nodeAt(mark: number, x: number, y: number): number {
    const board = this.board(mark);
    return board?.members[board.tileAt(x, y)] ?? -1;
  }

  /** The node under the keyboard, -1 for none. */
  node(mark: number): number {
    return this.cursor < 0 ? -1 : (this.board(mark)?.members[this.cursor] ?? -1);
  }

  /** Put the cursor on a node, scroll to it, and give its place on the board; null where it is not on one. */
  point(mark: number, node: number): { x: number; y: number; width: number; height: number } | null {
    const open = this.opens.get(mark);
    let board = this.board(mark);
    if (!open || !board) return null;
    let at = board.members.indexOf(node);
    if (at < 0 && open.status !== 0) {
      open.status = 0;
      board = this.board(mark) ?? board;
      at = board.members.indexOf(node);
    }
    if (at < 0) return null;
    this.cursor = at;
    open.top = board.topFor(at);
    return (this.board(mark) ?? board).boxOf(at);
  }

  /** Arrows walk the tiles; false where a step leads out of the board. */
  walk(mark: number, across: number, down: number): boolean {
    const board = this.board(mark);
    if (!board || board.members.length === 0) return false;
    if (this.cursor < 0) {
      this.point(mark, board.members[0] ?? 0);
      return true;
    }
    const { columns } = board.shape;
    const column = (this.cursor % columns) + across;
    const next = this.cursor + across + down * columns;
    if (column < 0 || column >= columns || next < 0 || next >= board.members.length) {
      this.cursor = -1;
      return false;
    }
    this.point(mark, board.members[next] ?? 0);
    return true;
  }

  /** Enter: the first failure, else the first tile. */
  enter(mark: number): void {
    const members = this.board(mark)?.members ?? [];
    const { status } = this.store();
    const first = members.find((node) => status[node] === Status.FAILED) ?? members[0];
    if (first !== undefined) this.point(mark, first);
  }

  /** True if a wheel over the board moved it. */
  scroll(mark: number, by: number): boolean {
    const open = this.opens.get(mark);
    const board = this.board(mark);
    if (!open || !board) return false;
    const top = Math.max(0, Math.min(board.mostTop, board.top + by));
    if (top === board.top) return false;
    open.top = top;
    this.events.changed();
    return true;
  }

  /** The buttons stand over their boards, in the same scale but never smaller than they can be read and hit. */
  place(marks: readonly SceneMark[], k: number): void {
    const seen = new Set<number>();
    for (const mark of marks) {
      if (!mark.board || k < LEAST_HEAD) continue;
      seen.add(mark.mark);
      const head = this.headOf(mark.mark);
      this.fillHead(head, mark);
      const scale = Math.max(1, k);
      set(head, { "data-low": k < TWO_ROWS });
      head.style.width = `${(mark.board.shape.width * k) / scale}px`;
      head.style.height = `${(HEAD * k) / scale}px`;
      head.style.transform = `translate(${Math.round(mark.x)}px, ${Math.round(mark.y)}px) scale(${scale})`;
    }
    for (const [mark, head] of this.heads) {
      if (seen.has(mark)) continue;
      head.remove();
      this.heads.delete(mark);
    }
  }

  private headOf(mark: number): HTMLElement {
    const known = this.heads.get(mark);
    if (known) return known;
    const made = element("div.td-board", { role: "toolbar" });
    for (const name of ["pointerdown", "dblclick"]) {
      on(made, name, this.signal, (event) => {
        if (event.target !== made) event.stopPropagation();
      });
    }
    this.heads.set(mark, made);
    this.root.append(made);
    return made;
  }

  private fillHead(head: HTMLElement, { mark, board, name, size, base }: SceneMark): void {
    const { markCounts } = this.store();
    const open = board?.open;
    if (!open) return;
    const counts = Array.from(markCounts.subarray(base, base + STATUS_COUNT));
    const key = `${name}|${size}|${open.form}|${open.status}|${counts}`;
    if (head.dataset.key === key) return;
    head.dataset.key = key;
    set(head, { "aria-label": say("board.label", { name: middle(plain(name), NAME_LENGTH), n: size }) });
    const focused = (head.ownerDocument.activeElement as HTMLElement | null)?.dataset.do;
    const had = head.contains(head.ownerDocument.activeElement);
    const link = (what: string, label: string, chosen: () => void): HTMLButtonElement => {
      const made = element("button.td-link", { type: "button", "data-do": what }, label);
      on(made, "click", this.signal, chosen);
      return made;
    };
    const asCards = link("form", say(open.form === "cards" ? "board.as_tiles" : "board.as_cards"), () => {
      if (size > MOST_CARDS) return;
      this.opens.set(mark, { form: open.form === "cards" ? "tiles" : "cards", status: open.status, top: 0 });
      this.events.resized(mark, true);
    });
    if (size > MOST_CARDS) {
      set(asCards, { "aria-disabled": "true", title: say("board.too_many", { most: MOST_CARDS, n: size }) });
    }
    const close = button(say("board.close"), () => this.toggle(mark), this.signal, { icon: "close", isIconOnly: true });
    close.root.dataset.do = "close";
    const { listed } = this.events;
    fill(
      head,
      element(
        "div.td-boardrow",
        {},
        element("span.td-strong.td-boardname", { title: name }, plain(name)),
        element("span.td-times", {}, `×${count(size)}`),
        element("span.td-space"),
        listed ? link("list", say("board.as_list"), () => listed(mark)) : null,
        asCards,
        close.root,
      ),
      element(
        "div.td-boardrow",
        {},
        this.only(mark, open, 0, say("board.all"), size),
        ...URGENCY.filter((status) => (counts[status] ?? 0) > 0).map((status) =>
          this.only(mark, open, status, null, counts[status] ?? 0),
        ),
      ),
    );
    if (had) head.querySelector<HTMLElement>(`[data-do="${focused}"]`)?.focus();
  }

  private only(mark: number, open: Open, status: number, label: string | null, n: number): HTMLElement {
    const word = STATUS_WORDS[status] ?? "";
    const made = element(
      "button.td-only",
      {
        type: "button",
        "data-do": `only${status}`,
        "aria-pressed": String(open.status === status),
        "aria-label": label ? null : say("board.only", { n, status: word }),
        title: label ? null : word,
      },
      label ? null : glyph(status),
      label ?? count(n),
    );
    on(made, "click", this.signal, () => {
      this.opens.set(mark, { ...open, status: open.status === status ? 0 : status, top: 0 });
      this.cursor = -1;
      this.events.changed();
    });
    return made;
  }
}
