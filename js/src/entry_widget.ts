// What anywidget loads: the first part of the bundle. The second one comes from the kernel when it is first needed.
import { base, name } from "./model/base.ts";
import { widgetOf } from "./entry_views.ts";
import { FetchedPart } from "./sources/code.ts";
import type { More } from "./views/more.ts";

export default widgetOf((carrier, signal) => new FetchedPart<More>(name, base, carrier, signal));
