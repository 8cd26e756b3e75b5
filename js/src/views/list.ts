// All nodes as rows, groups as rows that open: the accessible equal of the graph. Only rows that can be seen are
// elements; one of them is the active one, which the grid names to screen readers.
import { ranFor, segments, touchedBy, worst } from "../model/derive.ts";
import { waitedFor } from "../model/filter.ts";
import { COLUMNS, type Column, groupRow, isGroup, markOfRow, type Row, rowsOf, type Sorting } from "../model/rows.ts";
import { type Changes, STATUS_COUNT, type Store } from "../model/store.ts";
import { count, duration, middle, plain, say } from "../model/words.ts";
import { type Action, STATUS_WORDS } from "../protocol.ts";
import { STATUS_NAMES } from "../render/theme.ts";
import { element, fill, glyph, icon, on, set } from "./dom.ts";
import type { Pane, PaneContext } from "./pane.ts";

const ROW_PX = 28;
/** Rows beyond the edges, so that a slow frame shows no gap. */
const BEYOND = 8;
const BAR_PX = 90;
const MOST_PARENTS = 2;
const LONGEST = 200;

class ListPane implements Pane {
  readonly name = "list";
  readonly root: HTMLElement;
  private readonly context: PaneContext;
  private readonly store: Store;
  private readonly grid: HTMLElement;
  private readonly header = element("div.td-listhead", { role: "row", "aria-rowindex": 1 });
  private readonly body = element("div.td-listbody", { role: "rowgroup" });
  private readonly none = element("p.td-listnone", { hidden: true });
  private rows: Row[] = [];
  private sorting: Sorting = { column: "status", isDown: false };
  private readonly opened = new Set<number>();
  /** Groups that were closed while a filter opens all of them. */
  private readonly closed = new Set<number>();
  private active: Row | null = null;
  private isShown = false;
  private areRowsStale = true;
  private frame = 0;
  private drawn = "";
  /** Nodes that an action would touch, while one is pointed at. */
  private touched: Uint8Array | null = null;

  constructor(context: PaneContext) {
    const { signal, focus, prefix } = context;
    this.context = context;
    this.store = context.source.store;
    this.grid = element(
      "div.td-grid",
      {
        role: "treegrid",
        tabindex: 0,
        id: `${prefix}-list`,
        "aria-label": say("list.label"),
        "aria-colcount": COLUMNS.length,
        "aria-multiselectable": "true",
      },
      element("div.td-listtop", { role: "rowgroup" }, this.header),
      this.body,
    );
    this.root = element("div.td-listpane", {}, this.grid, this.none);
    on(this.grid, "scroll", signal, () => this.later(), { passive: true });
    on(this.grid, "focus", signal, () => this.later());
    on(this.body, "click", signal, (event) => this.clicked(event));
    on(this.body, "dblclick", signal, () => context.inspect());
    on(this.body, "pointerover", signal, ({ target }) => {
      const row = this.rowAt(target);
      focus.set({ hovered: row !== null && !isGroup(row) ? row : -1 });
    });
    on(this.body, "pointerleave", signal, () => focus.set({ hovered: -1 }));
    focus.subscribe((changed) => {
      if (changed.has("mask")) {
        this.closed.clear();
        this.areRowsStale = true;
      }
      this.later();
    }, signal);
    const sized = new ResizeObserver(() => this.later());
    sized.observe(this.grid);
    signal.addEventListener("abort", () => {
      sized.disconnect();
      cancelAnimationFrame(this.frame);
    });
    this.showHeader();
  }

  show(): void {
    this.isShown = true;
    this.areRowsStale = true;
    this.later();
  }

  hide(): void {
    this.isShown = false;
  }

  changed(changes: Readonly<Changes>): void {
    if (changes.structure || changes.names || changes.edges) this.areRowsStale = true;
    this.drawn = "";
    this.later();
  }

  /** The order follows the run once a second; rows that jump at every change cannot be read. */
  tick(): void {
    this.areRowsStale = true;
    this.drawn = "";
    this.later();
  }

  isBody(target: EventTarget | null): boolean {
    return target === this.grid;
  }

  focus(): void {
    this.grid.focus({ preventScroll: true });
  }

  /** Their rows are outlined. */
  highlight(action: Action | null, nodes: readonly number[]): void {
    this.touched = touchedBy(this.store, action, nodes);
    set(this.grid, { "data-touching": this.touched !== null });
    this.drawn = "";
    this.later();
  }

  reveal(node: number): void {
    const mark = this.store.markOf[node] ?? 0;
    if ((this.store.picture?.marks.size[mark] ?? 1) > 1) this.setOpen(mark, true);
    this.makeRows();
    this.goTo(this.rows.indexOf(node));
  }

  key(event: KeyboardEvent): boolean {
    // A key may be quicker than the frame that would have made them.
    if (this.areRowsStale) this.makeRows();
    const at = this.active === null ? -1 : this.rows.indexOf(this.active);
    const page = Math.max(1, Math.floor(this.grid.clientHeight / ROW_PX) - 2);
    const moves: Record<string, number> = {
      ArrowDown: at + 1,
      ArrowUp: at - 1,
      PageDown: at + page,
      PageUp: at - page,
      Home: 0,
      End: this.rows.length - 1,
    };
    const to = moves[event.key];
    if (to !== undefined) this.goTo(Math.max(0, Math.min(this.rows.length - 1, to)));
    else if (this.active === null) return false;
    else if (event.key === "ArrowRight") this.intoGroup(at);
    else if (event.key === "ArrowLeft") this.outOfGroup(at);
    else if (event.key === "Enter") {
      this.choose(this.active, false);
      this.context.inspect();
    } else if (event.key === " ") this.choose(this.active, true);
    else return false;
    return true;
  }

  keep(): Sorting {
    return this.sorting;
  }

  restore(kept: unknown): void {
    const { column, isDown } = (kept ?? {}) as Partial<Sorting>;
    if (column && COLUMNS.includes(column)) this.sort({ column, isDown: isDown === true });
  }

  // --- rows ----------------------------------------------------------------------------------------------------

  private makeRows(): void {
    this.areRowsStale = false;
    const { mask } = this.context.focus.state;
    this.rows = rowsOf(this.store, { sorting: this.sorting, mask, isOpen: (mark) => this.isOpen(mark) });
    if (this.active !== null && !this.rows.includes(this.active)) this.active = null;
    set(this.grid, { "aria-rowcount": this.rows.length + 1 });
    this.body.style.height = `${this.rows.length * ROW_PX}px`;
    const isNone = this.rows.length === 0 && this.store.total > 0;
    set(this.none, { hidden: !isNone });
    fill(this.none, isNone ? say("list.none", { n: this.store.total }) : null);
    this.drawn = "";
  }

  private isOpen(mark: number): boolean {
    return this.context.focus.state.mask ? !this.closed.has(mark) : this.opened.has(mark);
  }

  private setOpen(mark: number, isOpen: boolean): void {
    if (isOpen === this.isOpen(mark)) return;
    if (isOpen) {
      this.opened.add(mark);
      this.closed.delete(mark);
    } else {
      this.opened.delete(mark);
      this.closed.add(mark);
    }
    this.areRowsStale = true;
    this.later();
  }

  private intoGroup(at: number): void {
    const row = this.rows[at] ?? 0;
    if (!isGroup(row)) return;
    if (this.isOpen(markOfRow(row))) this.goTo(at + 1);
    else this.setOpen(markOfRow(row), true);
  }

  private outOfGroup(at: number): void {
    const row = this.rows[at] ?? 0;
    if (isGroup(row)) this.setOpen(markOfRow(row), false);
    else {
      const group = this.rows.indexOf(groupRow(this.store.markOf[row] ?? 0));
      if (group >= 0) this.goTo(group);
    }
  }

  private goTo(at: number): void {
    const row = this.rows[at];
    if (row === undefined) return;
    this.active = row;
    const top = at * ROW_PX;
    const room = this.grid.clientHeight - ROW_PX;
    if (top < this.grid.scrollTop) this.grid.scrollTop = top;
    else if (top + ROW_PX > this.grid.scrollTop + room) this.grid.scrollTop = top + ROW_PX - room;
    this.later();
  }

  private choose(row: Row, isMore: boolean): void {
    const { focus } = this.context;
    this.active = row;
    const { nodes, marks } = focus.state;
    const mark = isGroup(row) ? markOfRow(row) : -1;
    if (!isMore) {
      if (mark < 0) focus.selectNodes([row]);
      else focus.selectMarks([mark]);
    } else if (mark >= 0 && nodes.length === 0) focus.selectMarks(toggled(marks, [mark]));
    else focus.selectNodes(toggled(focus.chosen(), mark < 0 ? [row] : [...this.store.membersOf(mark)]));
    this.later();
  }

  private rowAt(target: EventTarget | null): Row | null {
    const found = target instanceof Element ? target.closest<HTMLElement>("[data-row]") : null;
    return found ? Number(found.dataset.row) : null;
  }

  private clicked(event: MouseEvent): void {
    const row = this.rowAt(event.target);
    if (row === null) return;
    const isTwisty = event.target instanceof Element && event.target.closest(".td-twisty") !== null;
    if (isTwisty && isGroup(row)) this.setOpen(markOfRow(row), !this.isOpen(markOfRow(row)));
    else this.choose(row, event.shiftKey || event.ctrlKey || event.metaKey);
    this.focus();
  }

  private sort(sorting: Sorting): void {
    this.sorting = sorting;
    this.areRowsStale = true;
    this.showHeader();
    this.context.keepLater();
    this.later();
  }

  // --- drawing -------------------------------------------------------------------------------------------------

  private later(): void {
    if (this.frame !== 0 || !this.isShown || this.context.signal.aborted) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      if (this.isShown) this.draw();
    });
  }

  private showHeader(): void {
    const { column, isDown } = this.sorting;
    fill(
      this.header,
      ...COLUMNS.map((each) => {
        const isOn = each === column;
        const press = element("button", { type: "button", title: say("list.sort") }, say(`list.${each}`));
        if (isOn) press.append(icon(isDown ? "down" : "up"));
        on(press, "click", this.context.signal, () => this.sort({ column: each, isDown: isOn && !isDown }));
        const sort = isOn ? (isDown ? "descending" : "ascending") : null;
        return element(`span.td-cell.is-${each}` as "span", { role: "columnheader", "aria-sort": sort }, press);
      }),
    );
  }

  private draw(): void {
    if (this.areRowsStale) this.makeRows();
    const { scrollTop, clientHeight } = this.grid;
    if (clientHeight === 0) return;
    const from = Math.max(0, Math.floor(scrollTop / ROW_PX) - BEYOND);
    const to = Math.min(this.rows.length, Math.ceil((scrollTop + clientHeight) / ROW_PX) + BEYOND);
    const { nodes, marks } = this.context.focus.state;
    const key = `${from}|${to}|${this.active}|${nodes.join()}|${marks.join()}|${document.activeElement === this.grid}`;
    if (key === this.drawn) return;
    this.drawn = key;
    const made: HTMLElement[] = [];
    for (let at = from; at < to; at++) made.push(this.rowElement(at));
    fill(this.body, ...made);
    const isActiveSeen = made.some((each) => each.dataset.row === String(this.active));
    set(this.grid, { "aria-activedescendant": isActiveSeen ? this.idOf(this.active ?? 0) : null });
  }

  private idOf(row: Row): string {
    return `${this.context.prefix}-row-${isGroup(row) ? `g${markOfRow(row)}` : row}`;
  }

  private rowElement(at: number): HTMLElement {
    const { store } = this;
    const row = this.rows[at] ?? 0;
    const { nodes, marks } = this.context.focus.state;
    const mark = isGroup(row) ? markOfRow(row) : (store.markOf[row] ?? 0);
    const isMember = !isGroup(row) && (store.picture?.marks.size[mark] ?? 1) > 1;
    const isChosen = isGroup(row) ? nodes.length === 0 && marks.includes(mark) : nodes.includes(row);
    const cells = isGroup(row) ? this.groupCells(mark) : this.nodeCells(row);
    const made = element(
      "div.td-listrow",
      {
        role: "row",
        id: this.idOf(row),
        "aria-rowindex": at + 2,
        "aria-level": isMember ? 2 : 1,
        "aria-expanded": isGroup(row) ? String(this.isOpen(mark)) : null,
        "aria-selected": String(isChosen),
        "data-row": row,
        "data-active": row === this.active,
        "data-odd": at % 2 === 1,
        "data-touched": this.isTouched(row),
      },
      ...COLUMNS.map((column, index) =>
        element(
          `span.td-cell.is-${column}` as "span",
          { role: "gridcell", "aria-colindex": index + 1 },
          ...(cells[column] ?? []),
        ),
      ),
    );
    made.style.top = `${at * ROW_PX}px`;
    return made;
  }

  private isTouched(row: Row): boolean {
    const { touched } = this;
    if (!touched) return false;
    return isGroup(row) ? this.store.membersOf(markOfRow(row)).some((node) => touched[node] === 1) : touched[row] === 1;
  }

  private nodeCells(node: number): Partial<Record<Column, (Node | string)[]>> {
    const { store } = this;
    const status = store.status[node] ?? 0;
    const name = plain(store.nameOf(node));
    const time = (value: number): string[] => (value >= 0 ? [duration(value)] : []);
    const parents = store.parentsOf(node);
    const shown = [...parents.subarray(0, MOST_PARENTS)].map((each) => middle(plain(store.nameOf(each)), 40));
    if (parents.length > MOST_PARENTS) shown.push(`+${count(parents.length - MOST_PARENTS)}`);
    const attempt = store.attempt[node] ?? 0;
    return {
      status: [
        glyph(status),
        element(`span.is-${STATUS_NAMES[status] ?? ""}` as "span", {}, STATUS_WORDS[status] ?? ""),
      ],
      name: [element("span.td-listname", { title: middle(name, LONGEST) }, middle(name, LONGEST))],
      duration: time(ranFor(store, node)),
      waited: time(waitedFor(store, node)),
      attempts: attempt > 0 ? [count(attempt)] : [],
      parents: [element("span.td-listtext", {}, shown.join(", "))],
    };
  }

  private groupCells(mark: number): Partial<Record<Column, (Node | string)[]>> {
    const { store } = this;
    const base = mark * STATUS_COUNT;
    const status = worst(store.markCounts, base);
    const { marks } = store.picture ?? {};
    const name = plain(marks?.name[mark] ?? "");
    const bar = element("span.td-listbar");
    for (const each of segments(store.markCounts, BAR_PX, 2, base, 4)) {
      const part = element(`span.td-part.is-${STATUS_NAMES[each.status] ?? ""}` as "span");
      part.style.width = `${(100 * each.width) / BAR_PX}%`;
      bar.append(part);
    }
    const n = store.markCounts[base + status] ?? 0;
    const isOpen = this.isOpen(mark);
    return {
      status: [glyph(status), element("span.td-listtext", {}, `${count(n)} ${STATUS_WORDS[status] ?? ""}`)],
      name: [
        element("span.td-twisty", { "data-open": isOpen }, icon(isOpen ? "down" : "right")),
        element("span.td-listname", { title: middle(name, LONGEST) }, middle(name, LONGEST)),
        element("span.td-badge", {}, `×${count(marks?.size[mark] ?? 0)}`),
        bar,
      ],
    };
  }
}

/** With all of `some`; without them where it has them all already. */
function toggled(list: readonly number[], some: readonly number[]): number[] {
  const all = new Set(list);
  const hasAll = some.every((each) => all.has(each));
  for (const each of some)
    if (hasAll) all.delete(each);
    else all.add(each);
  return [...all];
}

export const makeListPane = (context: PaneContext): Pane => new ListPane(context);
