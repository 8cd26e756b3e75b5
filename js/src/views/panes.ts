// The tabs in their order, and what makes each. A pane that is not here has no tab and no key.
import type { WordKey } from "../model/words.ts";
import { makeGraphPane } from "./graph_pane.ts";
import { makeListPane } from "./list.ts";
import { makeLogsPane } from "./logs.ts";
import { makeTimelinePane } from "./timeline.ts";
import type { MakePane, PaneName } from "./pane.ts";

export interface PaneEntry {
  readonly name: PaneName;
  readonly label: WordKey;
  readonly key: string;
  readonly make: MakePane;
}

export const PANES: readonly PaneEntry[] = [
  { name: "graph", label: "tools.graph", key: "g", make: makeGraphPane },
  { name: "timeline", label: "tools.timeline", key: "t", make: makeTimelinePane },
  { name: "list", label: "tools.list", key: "l", make: makeListPane },
  { name: "logs", label: "tools.logs", key: "o", make: makeLogsPane },
];
