// What a view remembers over a reload: in `sessionStorage`, under the graph's id and the view's place among its views.
import type { Tab } from "./inspector.ts";
import type { PaneName } from "./pane.ts";

export interface Kept {
  pane: PaneName | null;
  panes: Partial<Record<PaneName, unknown>>;
  marks: readonly number[];
  nodes: readonly number[];
  filter: string;
  isHiding: boolean;
  tab: Tab | null;
  /** 0 for the height that fits. */
  height: number;
  column: number;
  isCollapsed: boolean;
  /** What `Teaching` keeps. */
  teaching?: unknown;
}

export function fresh(column: number): Kept {
  return {
    pane: null,
    panes: {},
    marks: [],
    nodes: [],
    filter: "",
    isHiding: false,
    tab: null,
    height: 0,
    column,
    isCollapsed: false,
  };
}

function nameOf(root: HTMLElement, graph: string): string {
  const views = [...root.ownerDocument.querySelectorAll<HTMLElement>(".tiledag")];
  const same = views.filter((view) => view.dataset.graph === graph || view === root);
  return `tiledag:${graph}:${same.indexOf(root)}`;
}

export function recall(root: HTMLElement, graph: string): Partial<Kept> {
  try {
    const text = sessionStorage.getItem(nameOf(root, graph));
    const kept: unknown = text ? JSON.parse(text) : null;
    return typeof kept === "object" && kept !== null ? (kept as Partial<Kept>) : {};
  } catch {
    return {};
  }
}

export function remember(root: HTMLElement, graph: string, kept: Readonly<Kept>): void {
  try {
    sessionStorage.setItem(nameOf(root, graph), JSON.stringify(kept));
  } catch {
    // A host may close the storage; then a reload starts afresh.
  }
}
