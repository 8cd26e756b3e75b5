// The widget with both parts of the bundle in one: what is looked at while it is written.
import { more } from "../src/entry_more.ts";
import { widgetOf } from "../src/entry_views.ts";
import { present } from "../src/model/part.ts";

export default widgetOf(() => present(more));
