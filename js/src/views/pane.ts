// What a tab of the view is: Graph, Timeline, List or Logs. The shell makes a pane when it is first shown, keeps it, and
// talks to the shown one only. What panes share is `model/focus`.
import type { Focus } from "../model/focus.ts";
import type { Changes } from "../model/store.ts";
import type { Action } from "../protocol.ts";
import type { SceneMark } from "../render/scene.ts";
import type { toSvg } from "../render/svg.ts";
import type { Theme } from "../render/theme.ts";
import type { Source } from "../sources/source.ts";
import type { ActionContext } from "./actions.ts";
import type { Details } from "./details.ts";
import type { More } from "./more.ts";

export type PaneName = "graph" | "timeline" | "list" | "logs";

/** Writes a scene down; it comes with the second part of the bundle. */
export type WriteSvg = typeof toSvg;

export interface MenuItem {
  readonly label: string;
  /** On or off; null for something that is done. */
  readonly isOn: boolean | null;
  /** A line stands above it, */
  readonly isNew?: boolean;
  /** and this, as the head of what follows. */
  readonly head?: string;
  readonly title?: string;
  /** Why it cannot be chosen, if it cannot. */
  readonly blocked?: string;
  chosen(): void;
}

/** Something of another's on the marks of a graph. */
export interface MarkLayer {
  readonly root: HTMLElement;
  /** The marks were drawn, here. */
  place(marks: readonly SceneMark[]): void;
}

export interface Pane {
  readonly name: PaneName;
  /** Fills the room under the tools. The shell sets its role and label, hides and shows it. */
  readonly root: HTMLElement;
  /** It can be seen now: measure, draw everything, follow. Called again when the view comes back on screen. */
  show(): void;
  /** Nobody sees it: no drawing, no timers, no questions. */
  hide(): void;
  /** The store changed (once a frame at most), or `details` learned something (all false). Only while shown. */
  changed(changes: Readonly<Changes>): void;
  /** A second has passed. Only while shown and on screen. */
  tick?(): void;
  /** Colours or fonts changed. */
  setTheme?(theme: Theme): void;
  /** A key while the focus is on the pane's body (`isBody`); true if it was one of the pane's. Shell keys come after. */
  key(event: KeyboardEvent): boolean;
  /** Single keys act on this element, never on buttons and fields. */
  isBody(target: EventTarget | null): boolean;
  /** Put the keyboard focus on the body. */
  focus(): void;
  /** Escape: close or clear one thing of the pane's own; false if there is none. */
  escape?(): boolean;
  /** Own controls for the tools bar; shown with the pane. */
  readonly controls?: HTMLElement;
  /** Search what the selected nodes have here. */
  search?(): void;
  /** Own entries of the menu behind "More". */
  menu?(): readonly MenuItem[];
  /** Bring a node into view; the selection is made already. */
  reveal?(node: number): void;
  /** Point at one node, -1 for none: the rest is paler. */
  point?(node: number): void;
  /** Have this over the marks; null for nothing. */
  setLayer?(layer: MarkLayer | null): void;
  /** Show what an action would touch; null for nothing. */
  highlight?(action: Action | null, nodes: readonly number[]): void;
  /** Height that it would like at a width, 0 for no wish. */
  heightFor?(width: number): number;
  /** What is seen as SVG text, or all of it; for what has a picture. */
  toSvg?(isWhole: boolean, write: WriteSvg): string;
  /** What a reload brings back: plain JSON, small. */
  keep?(): unknown;
  restore?(kept: unknown): void;
}

export interface PaneContext {
  readonly source: Source;
  readonly details: Details;
  readonly focus: Focus;
  readonly theme: Theme;
  /** For buttons of section 9; `highlight` shows on the graph what one would touch. */
  readonly actions: ActionContext;
  /** The root of the view. */
  readonly host: HTMLElement;
  /** Start of every id that the pane makes. */
  readonly prefix: string;
  readonly signal: AbortSignal;
  /** Select a node and bring it into view in the shown pane; open the inspector. */
  reveal(node: number): void;
  /** Put the keyboard focus into the inspector, which shows the selection. */
  inspect(): void;
  /** Show another pane. */
  go(name: PaneName): void;
  /** Do something with what the second part brings, when it is there. */
  later(run: (more: More) => void): void;
  /** Put this in place of the filter. */
  setFilter(text: string): void;
  /** Something that `keep()` gives has changed. */
  keepLater(): void;
  /** The keyboard goes back to the cell. */
  leave(): void;
}

export type MakePane = (context: PaneContext) => Pane;
