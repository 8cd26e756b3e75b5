// The keyboard on the graph: walking from mark to mark and over the tiles of an open stack, opening, zoom.
import type { Store } from "../model/store.ts";
import type { Boards } from "./boards.ts";
import type { Sight } from "./sight.ts";
import { edgeMark, neighbour } from "./walk.ts";

/** Steps across and down the tiles of a board. */
const ARROWS: Record<string, readonly [number, number]> = {
  ArrowRight: [1, 0],
  ArrowLeft: [-1, 0],
  ArrowDown: [0, 1],
  ArrowUp: [0, -1],
};

/** What is walked. */
export interface Walked {
  readonly store: Store;
  readonly sight: Sight;
  readonly boards: Boards;
  readonly selection: ReadonlySet<number>;
  readonly isIsolated: boolean;
  /** The flow goes to the right, not down. */
  readonly isRight: boolean;
  /** The mark under the keyboard, -1 for none. */
  readonly focused: number;
  isHidden(mark: number): boolean;
  isCard(mark: number): boolean;
  focus(mark: number): void;
  select(marks: readonly number[], node?: number): void;
  toggle(mark: number): void;
  opened(mark: number): void;
  showAll(): void;
  /** What is focused is another one, or is to be told anew. */
  restate(): void;
  showMirror(): void;
}

export class GraphKeys {
  private readonly of: Walked;

  constructor(of: Walked) {
    this.of = of;
  }

  /** True if it was one of ours. */
  key({ key }: KeyboardEvent): boolean {
    const { of } = this;
    const [right, down] = ARROWS[key] ?? [0, 0];
    if (right || down) this.walk(key, of.isRight ? right : down, of.isRight ? down : right);
    else if (key === "Home") this.goTo(this.edge(false));
    else if (key === "End") this.goTo(this.edge(true));
    else if (key === "Enter" && of.focused >= 0) this.enter(of.focused);
    else if (key === " " && of.focused >= 0) of.toggle(of.focused);
    else if (key === "+" || key === "=") of.sight.zoomBy(1.25);
    else if (key === "-") of.sight.zoomBy(0.8);
    else if (key === "0") of.sight.fitAll();
    else return false;
    return true;
  }

  /** Escape: folds the open stack under the keyboard, then shows what was hidden. False if there is neither. */
  escape(): boolean {
    const { of } = this;
    if (of.boards.has(of.focused)) of.boards.toggle(of.focused);
    else if (of.isIsolated && of.selection.size === 0) of.showAll();
    else return false;
    return true;
  }

  /** The keyboard came: it stands on what is selected, else on the first mark. */
  came(): void {
    const { of } = this;
    const [selected] = of.selection;
    if (of.focused < 0) of.focus(selected ?? this.edge(false));
  }

  /** A card opens the inspector; a stack opens in place, and a second time goes to its tiles, then to one's node. */
  private enter(mark: number): void {
    const { of } = this;
    const { boards } = of;
    if (of.isCard(mark)) {
      of.select([mark]);
      of.opened(mark);
    } else if (!boards.has(mark)) {
      boards.toggle(mark);
      boards.enter(mark);
      of.showMirror();
    } else if (boards.cursor < 0) {
      boards.enter(mark);
      of.showMirror();
      of.restate();
    } else {
      of.select([mark], boards.node(mark));
      of.opened(mark);
    }
  }

  private goTo(mark: number): void {
    const { of } = this;
    if (mark < 0) return;
    of.focus(mark);
    of.sight.bringIntoView(mark, of.boards.has(mark));
    of.restate();
  }

  private walk(key: string, along: number, across: number): void {
    const { of } = this;
    const { boards, focused } = of;
    if (boards.has(focused)) {
      const [right, down] = ARROWS[key] ?? [0, 0];
      if (boards.walk(focused, right, down)) {
        of.showMirror();
        of.restate();
        return;
      }
    }
    if (focused < 0) this.goTo(this.edge(false));
    else this.goTo(neighbour(of.store, focused, along, across, (mark) => of.isHidden(mark)));
  }

  private edge(isLast: boolean): number {
    return edgeMark(this.of.store, isLast, (mark) => this.of.isHidden(mark));
  }
}
