// What comes in the second part of the bundle, when it is first needed. Only its types are known here.
import type { Part } from "../model/part.ts";
import type { toSvg } from "../render/svg.ts";
import type { Browser } from "./browser.ts";
import type { CriticalLayer } from "./critical.ts";
import type { ExportBox } from "./export.ts";
import type { Inspector } from "./inspector.ts";
import type { KeyMap } from "./keymap.ts";
import type { MakePane, PaneName } from "./pane.ts";
import type { ReplayBar } from "./replay.ts";
import type { SearchBox } from "./search.ts";
import type { Teaching } from "./teaching.ts";

export interface More {
  readonly panes: Readonly<Record<Exclude<PaneName, "graph">, MakePane>>;
  readonly CriticalLayer: typeof CriticalLayer;
  readonly Inspector: typeof Inspector;
  readonly ReplayBar: typeof ReplayBar;
  readonly ExportBox: typeof ExportBox;
  readonly KeyMap: typeof KeyMap;
  readonly Browser: typeof Browser;
  readonly SearchBox: typeof SearchBox;
  readonly Teaching: typeof Teaching;
  readonly toSvg: typeof toSvg;
}

export type Later = Part<More>;
