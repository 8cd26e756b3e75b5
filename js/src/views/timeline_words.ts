// What a row of the timeline says in words: to a pointer that rests on it, and to a screen reader.
import { URGENCY } from "../model/derive.ts";
import { attemptsOf } from "../model/replay.ts";
import { STATUS_COUNT, type Store } from "../model/store.ts";
import { type BySlot, lasted, type Order, readyAt, type Rows } from "../model/timeline.ts";
import { count, duration, middle, plain, say } from "../model/words.ts";
import { NO_SLOT, STATUS_WORDS } from "../protocol.ts";
import { element, fill, set } from "./dom.ts";

const TOOLTIP_MS = 350;

/** A name and what is said of it; `under` is a node that is pointed at within the row, or -1. */
export function describeRow(
  store: Store,
  order: Order,
  rows: Rows,
  slots: BySlot | null,
  row: number,
  under = -1,
): string[] {
  const id = rows.ids[row];
  if (id === undefined) return [];
  if (under >= 0) return describeNode(store, under);
  if (order === "slots") {
    const ran = (slots?.start[row + 1] ?? 0) - (slots?.start[row] ?? 0);
    const name = id === NO_SLOT ? say("timeline.no_slot") : say("timeline.slot", { n: id + 1 });
    return [name, say("aria.nodes", { n: ran })];
  }
  if (id >= 0) return describeNode(store, id);
  const base = ~id * STATUS_COUNT;
  const counts = URGENCY.filter((status) => (store.markCounts[base + status] ?? 0) > 0).map(
    (status) => `${count(store.markCounts[base + status] ?? 0)} ${STATUS_WORDS[status] ?? ""}`,
  );
  return [plain(store.picture?.marks.name[~id] ?? ""), counts.join(", ")];
}

function describeNode(store: Store, node: number): string[] {
  const all = attemptsOf(store, node);
  const parts = [STATUS_WORDS[store.status[node] ?? 0] ?? ""];
  const waited = (all[0]?.started ?? Number.NaN) - readyAt(store, node);
  if (waited >= 0.001) parts.push(say("timeline.waited", { time: duration(waited) }));
  for (const each of all) {
    const seconds = lasted(each, store.runTime());
    if (!(seconds >= 0)) continue;
    const ran = say("timeline.ran", { time: duration(seconds) });
    parts.push(all.length > 1 ? `${say("aria.attempt", { n: each.attempt })} ${ran}` : ran);
  }
  return [middle(plain(store.nameOf(node)), 300), parts.join(", ")];
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

/** Comes after a moment, beside the pointer, and stays within its room. */
export class RowTip {
  readonly root = element("div.td-tooltip", { role: "tooltip", hidden: true });
  private timer: ReturnType<typeof setTimeout> | undefined;
  private told = "";

  /** The same `key` again changes nothing; an empty one hides it. */
  soon(key: string, words: () => readonly string[], place: () => { at: Point; width: number; height: number }): void {
    if (key === this.told) return;
    this.hide();
    this.told = key;
    if (key === "") return;
    this.timer = setTimeout(() => {
      fill(this.root, ...words().map((text, at) => element(at === 0 ? "div.td-strong" : "div", {}, text)));
      set(this.root, { hidden: false });
      const { offsetWidth, offsetHeight } = this.root;
      const { at, width, height } = place();
      const left = Math.max(4, Math.min(width - offsetWidth - 4, at.x + 12));
      const top = at.y + 20 + offsetHeight > height ? at.y - offsetHeight - 8 : at.y + 20;
      this.root.style.transform = `translate(${Math.round(left)}px, ${Math.round(Math.max(2, top))}px)`;
    }, TOOLTIP_MS);
  }

  hide(): void {
    clearTimeout(this.timer);
    this.told = "";
    set(this.root, { hidden: true });
  }
}
