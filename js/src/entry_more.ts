// The second part of the bundle: what a view needs when somebody looks closer.
import { toSvg } from "./render/svg.ts";
import { Browser } from "./views/browser.ts";
import { CriticalLayer } from "./views/critical.ts";
import { ExportBox } from "./views/export.ts";
import { Inspector } from "./views/inspector.ts";
import { KeyMap } from "./views/keymap.ts";
import { makeListPane } from "./views/list.ts";
import { makeLogsPane } from "./views/logs.ts";
import type { More } from "./views/more.ts";
import { ReplayBar } from "./views/replay.ts";
import { SearchBox } from "./views/search.ts";
import { Teaching } from "./views/teaching.ts";
import { makeTimelinePane } from "./views/timeline.ts";

export const more: More = {
  panes: { timeline: makeTimelinePane, list: makeListPane, logs: makeLogsPane },
  CriticalLayer,
  Inspector,
  ReplayBar,
  ExportBox,
  KeyMap,
  Browser,
  SearchBox,
  Teaching,
  toSvg,
};
