// What all panes of a view look at together: selection, filter, hover, attempt, replay time. One per view, never shared
// by two. Who changes something calls one method; everybody is told once, with the names of what changed.
import type { Store } from "./store.ts";

interface State {
  /** Marks that are outlined on the graph. */
  marks: readonly number[];
  /** Selected nodes; empty while whole stacks are selected, then `marks` says which. */
  nodes: readonly number[];
  /** The filter as it was typed; empty for none. */
  filter: string;
  /** Per node 1 if the filter means it; null while there is no filter, or one that does not parse. */
  mask: Uint8Array | null;
  /** How many nodes the mask holds. */
  matched: number;
  /** The graph leaves out what the filter does not mean, as List and Timeline do; else it draws that paler. */
  isHiding: boolean;
  /** Node under the pointer in any pane, -1 for none. */
  hovered: number;
  /** Seconds since the run's zero under the pointer, NaN for none. */
  hoveredTime: number;
  /** The attempt that Timeline and Logs show, 0 for all. */
  attempt: number;
  /** Seconds since the run's zero that a replay shows, NaN for live. */
  time: number;
}

export type FocusPart = keyof State;
export type FocusListener = (changed: ReadonlySet<FocusPart>) => void;

export class Focus {
  private readonly store: Store;
  private readonly listeners = new Set<FocusListener>();
  private now: Readonly<State> = {
    marks: [],
    nodes: [],
    filter: "",
    mask: null,
    matched: 0,
    isHiding: false,
    hovered: -1,
    hoveredTime: Number.NaN,
    attempt: 0,
    time: Number.NaN,
  };

  constructor(store: Store) {
    this.store = store;
  }

  get state(): Readonly<State> {
    return this.now;
  }

  /** The one node that is selected, else -1. */
  get node(): number {
    const { nodes } = this.now;
    return nodes.length === 1 ? (nodes[0] ?? -1) : -1;
  }

  get isLive(): boolean {
    return Number.isNaN(this.now.time);
  }

  /** Does the filter mean this node? True for all without one. */
  has(node: number): boolean {
    return this.now.mask === null || this.now.mask[node] === 1;
  }

  /** Selected nodes, those of selected stacks too: what an action would be for. */
  chosen(): readonly number[] {
    const { marks, nodes } = this.now;
    return nodes.length > 0 ? nodes : marks.flatMap((mark) => [...this.store.membersOf(mark)]);
  }

  selectNodes(nodes: readonly number[]): void {
    this.set({ nodes, marks: [...new Set(nodes.map((node) => this.store.markOf[node] ?? 0))] });
  }

  /** Whole marks; those of one node are that node. */
  selectMarks(marks: readonly number[]): void {
    const { store } = this;
    const isOne = marks.every((mark) => store.picture?.marks.size[mark] === 1);
    this.set({ marks, nodes: isOne ? marks.map((mark) => store.membersOf(mark)[0] ?? 0) : [] });
  }

  /** Change some parts; listeners hear of those that are different now, and of nothing otherwise. */
  set(part: Partial<State>): void {
    const changed = new Set<FocusPart>();
    for (const key of Object.keys(part) as FocusPart[]) if (!isSame(this.now[key], part[key])) changed.add(key);
    if (changed.size === 0) return;
    this.now = { ...this.now, ...part };
    for (const listener of [...this.listeners]) listener(changed);
  }

  subscribe(listener: FocusListener, signal: AbortSignal): void {
    if (signal.aborted) return;
    this.listeners.add(listener);
    signal.addEventListener("abort", () => this.listeners.delete(listener), { once: true });
  }
}

function isSame(a: unknown, b: unknown): boolean {
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((each, at) => each === b[at]);
  return Object.is(a, b);
}
