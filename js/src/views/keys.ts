// The keys of a view that are no pane's own: which button of which part a key stands for.
import { blockerOf } from "../model/derive.ts";
import type { Focus } from "../model/focus.ts";
import type { Store } from "../model/store.ts";
import { Status } from "../protocol.ts";
import type { ActionKind } from "./actions.ts";
import { PANES } from "./panes.ts";
import type { PaneName } from "./pane.ts";

const CRITICAL = "path:critical";

/** What the view does for a key. */
export interface Doing {
  /** Show a pane and give it the keyboard. */
  go(name: PaneName): void;
  nextFailure(step: number): void;
  reveal(node: number): void;
  /** A button of the inspector, which may be still to come: the first of these that is there. */
  pressChosen(kinds: readonly ActionKind[], isAsking: boolean): void;
  /** A button of the bar below. */
  pressWhole(kind: ActionKind): void;
  /** What stands in the search field, or nothing if it stands there already. */
  toggleFilter(text: string): void;
  search(): void;
  openKeys(): void;
}

/** The browser's own, like Ctrl+P or Alt+←; not what some keyboards need AltGr or Option for, like brackets. */
export function isOthers(event: KeyboardEvent): boolean {
  const { key, ctrlKey, altKey, metaKey } = event;
  const isTyped = event.getModifierState("AltGraph") || (altKey && (ctrlKey || "[]/?".includes(key)));
  return (ctrlKey || metaKey || altKey) && !(isTyped && key.length === 1);
}

/** True if it was one of them. */
export function shellKey(event: KeyboardEvent, focus: Focus, store: Store, doing: Doing): boolean {
  const pane = PANES.find((each) => each.key === event.key);
  if (pane) {
    doing.go(pane.name);
    return true;
  }
  const isAnyChosen = focus.state.marks.length > 0;
  switch (event.key) {
    case "f":
    case "F":
      doing.nextFailure(event.shiftKey ? -1 : 1);
      break;
    case "r":
      if (isAnyChosen) doing.pressChosen(["retry", "blocker"], false);
      break;
    case "R":
      doing.pressWhole("retry_failed");
      break;
    case "c":
      if (isAnyChosen) doing.pressChosen(["cancel"], true);
      else doing.pressWhole("cancel_graph");
      break;
    case "b":
      doing.reveal(blocker(focus, store));
      break;
    case "[":
    case ",":
      turnAttempt(-1, focus, store);
      break;
    case "]":
    case ".":
      turnAttempt(1, focus, store);
      break;
    case "p":
      doing.toggleFilter(CRITICAL);
      break;
    case "/":
      doing.search();
      break;
    case "?":
      doing.openKeys();
      break;
    default:
      return false;
  }
  return true;
}

/** The attempt that Timeline and Logs show: of the selected node, or as many as any node had; 0 stands for all. */
function turnAttempt(step: number, focus: Focus, store: Store): void {
  const { node } = focus;
  const { attempt } = store;
  const most = node >= 0 ? (attempt[node] ?? 0) : attempt.reduce((high, each) => Math.max(high, each), 0);
  focus.set({ attempt: (focus.state.attempt + step + most + 1) % (most + 1) });
}

function blocker({ node }: Focus, store: Store): number {
  return node >= 0 && store.status[node] === Status.PARENT_FAILED ? blockerOf(store, node) : -1;
}
