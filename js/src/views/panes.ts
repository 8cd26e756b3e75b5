// The tabs in their order. A pane that is not here has no tab and no key.
import type { WordKey } from "../model/words.ts";
import type { PaneName } from "./pane.ts";

export interface PaneEntry {
  readonly name: PaneName;
  readonly label: WordKey;
  readonly key: string;
}

export const PANES: readonly PaneEntry[] = [
  { name: "graph", label: "tools.graph", key: "g" },
  { name: "timeline", label: "tools.timeline", key: "t" },
  { name: "list", label: "tools.list", key: "l" },
  { name: "logs", label: "tools.logs", key: "o" },
];
