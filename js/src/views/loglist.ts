// The list of a log: rows drawn as far as they are seen, a find of its own over all that the kernel holds, following.
//
// Rows stand in a layer that sticks to the top of what scrolls; a spacer beside it gives the scrollbar. No element is
// ever higher than browsers allow, and End is as near as the next row. Where the spacer would be too high, or lines are
// wrapped and have no one height, the scrollbar is a share of the rows and the wheel moves by rows.
import type { Focus } from "../model/focus.ts";
import { pieces, strip } from "../model/ansi.ts";
import { type LogLine, LogRows, levelWord } from "../model/loglines.ts";
import { middle, plain, say, timeOfDay, upright, utc } from "../model/words.ts";
import type { Store } from "../model/store.ts";
import { type LogAsk, type LogScope, Status } from "../protocol.ts";
import type { Source } from "../sources/source.ts";
import type { Details } from "./details.ts";
import { type Button, button, copyText, element, fill, on, set, setText } from "./dom.ts";
import { LogFind } from "./logfind.ts";

const ROW = 18;
const HIGHEST = 6_000_000;
const SPARE = 4;
const COPIED = 2_000;
const SAY_MS = 5000;
/** Keys that mean nothing before there are lines. */
const OF_LINES = new Set(["Home", "End", "e", "E"]);
const LOCAL = "Local";
const MOST_EARLY = 50;
const EARLY_MS = 5000;

export interface LogEvents {
  /** Which lines, now. */
  scope(): LogScope;
  /** The words for no line at all. */
  nothing(): string;
  /** A node was chosen in the list. */
  chosen(node: number): void;
  /** Show all lines again. */
  cleared(): void;
  /** Wrap or follow changed. */
  changed(): void;
}

/** A page that was saved holds no lines, and nobody to ask for them. */
export function isSaved({ connection }: Source): boolean {
  return connection.state === "detached" && connection.why === "saved";
}

/** Why there is no line of a node. Those of nodes that run in this kernel come at once. */
export function silence(store: Store, details: Details, node: number): string {
  const name = plain(store.nameOf(node));
  if (store.status[node] !== Status.RUNNING) return say("logs.empty_node", { name });
  const mode = details.lastOf(node)?.mode ?? LOCAL;
  return say(mode === LOCAL ? "logs.empty_running" : "logs.empty_remote", { name });
}

export class LogList {
  readonly root = element("div.td-log");
  readonly body: HTMLElement;
  isWrapped = false;
  isFollowing = true;
  private readonly source: Source;
  private readonly focus: Focus;
  private readonly events: LogEvents;
  private readonly name: string;
  private readonly signal: AbortSignal;
  private readonly rows: LogRows;
  private readonly layer = element("div.td-loglayer");
  private readonly spacer = element("div.td-logspace");
  private readonly find: LogFind;
  private readonly empty = element("div.td-logempty", { hidden: true });
  private readonly news: Button;
  private readonly teller = element("span.td-announcer", { role: "status" });
  private drawn = new Map<number, HTMLElement>();
  private opened = new Map<number, string>();
  /** First row in view; a fraction for a row that is partly above. */
  private top = 0;
  /** Rows that were there when following ended. */
  private left = 0;
  /** Of a replay: the moment that is shown, and the last row that was there then. */
  private moment: number | null = Number.NaN;
  private momentRow = -1;
  private isSettling = false;
  private frame = 0;
  private life: AbortController | null = null;
  private scopeKey = "";
  private said = 0;
  private scrolledTo = -1;
  /** False until the kernel has said once what there is; keys that are pressed before that wait. */
  private isKnown = false;
  private early: KeyboardEvent[] = [];

  constructor(source: Source, focus: Focus, name: string, events: LogEvents, signal: AbortSignal) {
    this.source = source;
    this.focus = focus;
    this.name = name;
    this.events = events;
    this.signal = signal;
    this.rows = new LogRows(
      (kind, ask) => this.ask(kind, ask),
      () => this.came(),
    );
    this.body = element(
      "div.td-logbody",
      { role: "log", tabindex: 0, "aria-live": "off", "aria-label": say("tools.logs") },
      this.layer,
      this.spacer,
    );
    this.news = button("", () => this.toEnd(), signal, { icon: "down", className: "td-lognew" });
    this.news.root.hidden = true;
    this.find = this.makeFind();
    fill(
      this.root,
      this.find.bar,
      element("div.td-logroom", {}, this.body, this.find.gutter, this.empty, this.news.root),
      this.teller,
    );
    this.listen();
  }

  private listen(): void {
    const { signal, body } = this;
    on(body, "scroll", signal, () => this.scrolled());
    on(body, "wheel", signal, (event) => this.wheeled(event), { passive: false });
    on(this.root, "keydown", signal, (event) => {
      if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "f" || isSaved(this.source)) return;
      event.preventDefault();
      event.stopPropagation();
      this.find.open();
    });
    on(this.layer, "click", signal, (event) => this.clicked(event));
    on(this.layer, "pointerover", signal, (event) => {
      const line = this.lineOf(event.target);
      const started = this.source.store.run?.started ?? Number.NaN;
      if (line) this.focus.set({ hovered: line.node, hoveredTime: Math.max(0, line.time - started) });
    });
    on(this.layer, "pointerleave", signal, () => this.focus.set({ hovered: -1, hoveredTime: Number.NaN }));
    on(this.find.gutter, "click", signal, (event) => {
      const { top, height } = this.find.gutter.getBoundingClientRect();
      this.goTo(this.rows.first + ((event.clientY - top) / height) * this.total - this.fits / 2);
    });
    this.focus.subscribe((changed) => {
      if (changed.has("hovered") || changed.has("hoveredTime")) this.mark();
      if (changed.has("time")) this.draw();
    }, signal);
  }

  // --- life ----------------------------------------------------------------------------------------------------

  show(): void {
    this.life ??= new AbortController();
    this.scopeChanged();
    this.draw();
  }

  hide(): void {
    this.life?.abort();
    this.life = null;
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    this.find.hide();
  }

  /** Other lines may be wanted now. */
  scopeChanged(): void {
    if (!this.life) return;
    const scope = this.events.scope();
    const key = JSON.stringify(scope);
    if (key !== this.scopeKey) {
      this.scopeKey = key;
      this.rows.reset(scope);
      this.isKnown = false;
      if (!this.focus.isLive) this.moment = null;
      this.early = [];
      this.forgetRows();
      this.opened.clear();
      this.isFollowing = true;
      this.left = 0;
      this.find.reset();
    }
    this.follow();
  }

  private follow(): void {
    if (!this.life) return;
    const ask = { scope: this.rows.scope, start: this.rows.end, follow: this.isFollowing };
    const signal = AbortSignal.any([this.life.signal, this.signal]);
    this.source.follow?.(this.name, ask, (lines) => this.rows.take(lines), signal);
  }

  private ask(kind: "log_lines" | "log_line" | "log_find" | "log_file", log: LogAsk): Promise<unknown> {
    return this.source.ask(kind, 0, this.life?.signal ?? this.signal, log);
  }

  private came(): void {
    if (this.isFollowing) this.left = this.rows.end;
    if (!this.isKnown) {
      this.isKnown = true;
      const now = performance.now();
      for (const event of this.early.splice(0)) if (now - event.timeStamp < EARLY_MS) this.key(event);
    }
    this.find.came();
    this.draw();
  }

  // --- scrolling -----------------------------------------------------------------------------------------------

  private get total(): number {
    return this.rows.end - this.rows.first;
  }

  private get fits(): number {
    return this.body.clientHeight / ROW;
  }

  /** Is the scrollbar a share of the rows, rather than their height? */
  private get isByShare(): boolean {
    return this.isWrapped || this.total * ROW > HIGHEST;
  }

  private get last(): number {
    // Of wrapped lines nobody knows how many fit: in a replay each may stand on top.
    const fits = this.isWrapped && !this.focus.isLive ? 1 : this.fits;
    return Math.max(this.rows.first, this.rows.end - fits);
  }

  private scrolled(): void {
    const { body } = this;
    if (body.scrollTop === this.scrolledTo) return;
    this.scrolledTo = body.scrollTop;
    const room = body.scrollHeight - body.clientHeight;
    const isEnd = body.scrollTop >= room - 2;
    this.top = isEnd
      ? this.last
      : this.rows.first +
        (this.isByShare ? (body.scrollTop / Math.max(room, 1)) * (this.last - this.rows.first) : body.scrollTop / ROW);
    this.setFollowing(isEnd);
    this.draw();
  }

  private wheeled(event: WheelEvent): void {
    if (!this.isByShare || event.ctrlKey || event.deltaY === 0) return;
    const by = event.deltaMode === 1 ? event.deltaY : event.deltaY / ROW;
    const to = Math.min(this.last, Math.max(this.rows.first, this.top + by));
    if (to === this.top) return;
    event.preventDefault();
    this.goTo(to);
  }

  /** Bring a row to the top, as far as there is enough below it. */
  goTo(row: number): void {
    this.top = Math.min(this.last, Math.max(this.rows.first, row));
    this.setFollowing(this.top >= this.last);
    this.draw();
  }

  toEnd(): void {
    this.goTo(Number.POSITIVE_INFINITY);
  }

  /** Unix time that a replay shows; at its end all lines are there, NaN without one. */
  private get until(): number {
    const { store } = this.source;
    const { time } = this.focus.state;
    return time >= store.horizon() ? Number.POSITIVE_INFINITY : time + (store.run?.started ?? Number.NaN);
  }

  /**
   * When it was there, while its attempt ran: lines of servers have the time at which they were fetched, and all times
   * are rounded, so that a node's first line could come before the node began.
   */
  private timeOf({ node, attempt, time }: LogLine): number {
    const { present } = this.source.store;
    const isNow = present.attempt[node] === attempt;
    const own = isNow
      ? { started: present.started[node], ended: present.ended[node] }
      : present.past.get(node)?.find((each) => each.attempt === attempt);
    const zero = present.run?.started ?? Number.NaN;
    const begin = zero + (own?.started ?? Number.NaN);
    const end = zero + (own?.ended ?? Number.NaN);
    const late = end < time ? end : time;
    return begin > late ? begin : late;
  }

  /** The last line of the moment that is replayed comes into sight; after a replay the end of the log does. */
  private toMoment(): void {
    const { time } = this.focus.state;
    const isLive = this.focus.isLive;
    const row = isLive ? -1 : this.isKnown ? this.rows.rowAt(this.until, (line) => this.timeOf(line)) : null;
    if (row === null || (Object.is(time, this.moment) && row === this.momentRow)) return;
    this.moment = time;
    this.momentRow = row;
    this.setFollowing(isLive);
    if (isLive) return;
    if (!this.isSeen(row)) this.top = row - Math.floor(this.fits / 3);
    this.isSettling = this.isWrapped;
  }

  private isSeen(row: number): boolean {
    if (!this.isWrapped) return row >= this.top && row <= this.top + this.fits - 2;
    const shown = this.drawn.get(row);
    return row > this.top && shown !== undefined && shown.offsetTop + shown.offsetHeight <= this.body.clientHeight;
  }

  /** How high wrapped lines are is known when they are drawn. */
  private settle(): void {
    if (!this.isSettling) return;
    this.isSettling = this.top + 1 < this.momentRow && !this.isSeen(this.momentRow);
    if (!this.isSettling) return;
    this.top += 1;
    this.draw();
  }

  private setFollowing(isFollowing: boolean): void {
    if (this.isFollowing === isFollowing) return;
    this.isFollowing = isFollowing;
    this.left = this.rows.end;
    this.follow();
    this.events.changed();
  }

  private syncScrollbar(): void {
    const { body } = this;
    const height = this.isByShare
      ? Math.min(HIGHEST, Math.max(this.total * ROW, body.clientHeight + 1))
      : this.total * ROW;
    this.spacer.style.height = `${Math.max(0, height - body.clientHeight)}px`;
    const room = Math.max(0, height - body.clientHeight);
    const share = (this.top - this.rows.first) / Math.max(this.last - this.rows.first, 1e-9);
    const to = this.isByShare ? Math.min(1, share) * room : (this.top - this.rows.first) * ROW;
    if (Math.abs(body.scrollTop - to) >= 1) body.scrollTop = to;
    this.scrolledTo = body.scrollTop;
  }

  // --- drawing -------------------------------------------------------------------------------------------------

  draw(): void {
    if (!this.life || this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.drawNow();
    });
  }

  private drawNow(): void {
    if (!this.life || this.body.clientHeight === 0) return;
    this.toMoment();
    if (this.isFollowing) this.top = this.last;
    this.top = Math.min(this.last, Math.max(this.rows.first, this.top));
    this.syncScrollbar();
    const isEnd = this.isWrapped && this.isFollowing;
    const start = Math.floor(this.top);
    const stop = Math.min(this.rows.end, start + Math.ceil(this.fits) + 1);
    this.rows.want(start - SPARE, stop + SPARE);
    const wanted = new Map<number, HTMLElement>();
    let before: ChildNode | null = this.layer.firstChild;
    for (let row = start; row < stop; row++) {
      const line = this.rows.at(row);
      let shown = this.drawn.get(row);
      if (!shown || (line && shown.dataset.waits)) {
        shown?.remove();
        if (shown === before) before = this.layer.firstChild;
        shown = this.rowOf(row, line);
      }
      wanted.set(row, shown);
    }
    for (const [row, shown] of this.drawn) if (wanted.get(row) !== shown) shown.remove();
    before = this.layer.firstChild;
    for (const shown of wanted.values()) {
      if (shown === before) before = before.nextSibling;
      else this.layer.insertBefore(shown, before);
    }
    this.drawn = wanted;
    set(this.layer, { "data-end": isEnd, "data-wrap": this.isWrapped });
    this.layer.style.setProperty("--td-shift", isEnd ? "0px" : `${-(this.top - start) * ROW}px`);
    this.mark();
    this.showNews();
    this.settle();
    const isEmpty = this.total === 0;
    if (isEmpty) this.showEmpty();
    this.empty.hidden = !isEmpty;
  }

  private showEmpty(): void {
    const { state } = this.source.connection;
    const cannot = isSaved(this.source) ? "logs.empty_saved" : "connection.cannot";
    const own = state === "detached" ? say(cannot) : this.events.nothing();
    const isScoped = own === "" && Object.values(this.rows.scope).some(Boolean);
    const words = own || say(isScoped ? "logs.empty_scope" : "logs.empty");
    if (this.empty.firstChild?.textContent === words) return;
    const clear = isScoped ? button(say("logs.clear"), () => this.events.cleared(), this.signal) : null;
    fill(this.empty, element("p", {}, words), clear?.root);
  }

  private showNews(): void {
    const isNew = !this.isFollowing && this.total > 0 && this.focus.isLive;
    const many = Math.max(0, this.rows.end - this.left);
    this.news.root.hidden = !isNew;
    if (isNew) this.news.setLabel(many > 0 ? say("logs.new", { n: many }) : say("logs.follow"));
    if (this.rows.first > 0) set(this.body, { "aria-description": say("logs.dropped", { n: this.rows.first }) });
    if (Date.now() - this.said < SAY_MS) return;
    this.said = Date.now();
    setText(this.teller, many > 0 ? say("logs.new", { n: many }) : "");
  }

  private forgetRows(): void {
    for (const shown of this.drawn.values()) shown.remove();
    this.drawn.clear();
  }

  private redraw(): void {
    this.forgetRows();
    this.draw();
  }

  private rowOf(row: number, line: LogLine | undefined): HTMLElement {
    if (!line) {
      const waiting = element("div.td-logline.is-waiting", {}, element("span.td-logtext", {}, say("logs.loading")));
      waiting.dataset.waits = "1";
      return waiting;
    }
    const { store } = this.source;
    const name = plain(store.nameOf(line.node) ?? "");
    const attempt = line.attempt > 1 ? ` #${line.attempt}` : "";
    const text = element("span.td-logtext", {}, ...this.textOf(line));
    const whole = this.opened.get(row);
    if (line.length > line.text.length && whole === undefined)
      text.append(
        "… ",
        element(
          "button.td-linkbutton",
          { type: "button", tabindex: -1, "data-all": row },
          say("logs.show_all", { n: line.length }),
        ),
      );
    const made = element(
      `div.td-logline.is-${levelWord(line.level)}` as "div",
      { "data-row": row },
      element("time.td-logtime", { title: utc(line.time) }, timeOfDay(line.time, line.time)),
      element(
        "span.td-lognode",
        { title: name + attempt, "data-node": line.node },
        element("span.td-logname", {}, middle(name, 22)),
        attempt,
      ),
      element("span.td-loglevel", {}, levelWord(line.level)),
      text,
    );
    if (whole !== undefined) made.classList.add("is-open");
    return made;
  }

  private textOf(line: LogLine): (Node | string)[] {
    const made: (Node | string)[] = [];
    for (const piece of pieces(this.opened.get(line.row) ?? line.text)) {
      const inner = this.marked(upright(piece.text));
      const kind = piece.color ? `.is-${piece.color}` : "";
      if (piece.url)
        made.push(
          element(
            `span.td-logurl${kind}` as "span",
            { role: "link", "data-url": piece.url, title: say("logs.link", { url: piece.url }) },
            ...inner,
          ),
        );
      else if (kind || piece.isBold)
        made.push(element(`span${kind}${piece.isBold ? ".is-bold" : ""}` as "span", {}, ...inner));
      else made.push(...inner);
    }
    return made;
  }

  /** The text with what is looked for marked. */
  private marked(text: string): (Node | string)[] {
    const wanted = this.find.text;
    if (!wanted) return [text];
    const made: (Node | string)[] = [];
    const inside = this.find.isCase ? text : text.toLowerCase();
    const own = this.find.isCase ? wanted : wanted.toLowerCase();
    let at = 0;
    for (let next = inside.indexOf(own); next >= 0 && inside.length === text.length; next = inside.indexOf(own, at)) {
      if (next > at) made.push(text.slice(at, next));
      made.push(element("mark", {}, text.slice(next, next + own.length)));
      at = next + own.length;
    }
    made.push(text.slice(at));
    return made;
  }

  /** What is hovered in another pane, the match that the find is at, and where a replay is. */
  private mark(): void {
    const { hovered, hoveredTime } = this.focus.state;
    const { until } = this;
    const at = hoveredTime + (this.source.store.run?.started ?? Number.NaN);
    let near: HTMLElement | null = null;
    for (const [row, shown] of this.drawn) {
      const line = this.rows.at(row);
      if (!line) continue;
      set(shown, {
        "data-hot": line.node === hovered,
        "data-found": row === this.find.row,
        "data-now": false,
        "data-later": this.timeOf(line) > until,
        "aria-current": row === this.momentRow ? "time" : null,
      });
      if (line.time <= at) near = shown;
    }
    if (near && this.focus.isLive) set(near, { "data-now": true });
  }

  private lineOf(target: EventTarget | null): LogLine | undefined {
    const shown = target instanceof Element ? target.closest<HTMLElement>("[data-row]") : null;
    return shown ? this.rows.at(Number(shown.dataset.row)) : undefined;
  }

  private clicked(event: MouseEvent): void {
    const target = event.target instanceof Element ? event.target : null;
    const url = target?.closest<HTMLElement>("[data-url]")?.dataset.url;
    const node = target?.closest<HTMLElement>("[data-node]")?.dataset.node;
    const all = target?.closest<HTMLElement>("[data-all]")?.dataset.all;
    if (url) window.open(url, "_blank", "noopener,noreferrer");
    else if (node) this.events.chosen(Number(node));
    else if (all) void this.openWhole(Number(all));
  }

  private async openWhole(row: number): Promise<void> {
    try {
      const body = (await this.ask("log_line", { scope: this.rows.scope, start: row })) as { text: string };
      this.opened.set(row, body.text);
      this.redraw();
    } catch {
      // The connection's own words say why.
    }
  }

  private makeFind(): LogFind {
    const list = this;
    const searched = {
      get scope() {
        return list.rows.scope;
      },
      get row() {
        return Math.floor(list.top);
      },
      get from() {
        return list.isFollowing ? list.rows.first - 1 : Math.floor(list.top);
      },
      ask: (ask: LogAsk) => this.ask("log_find", ask),
      reveal: (row: number) => this.reveal(row),
      redraw: () => this.redraw(),
      mark: () => this.mark(),
      tell: (text: string) => setText(this.teller, text),
      focus: () => this.body.focus(),
    };
    return new LogFind(searched, this.signal);
  }

  openFind(): void {
    this.find.open();
  }

  /** True if there was something to close. */
  closeFind(): boolean {
    return this.find.close();
  }

  private reveal(row: number): void {
    this.rows.end = Math.max(this.rows.end, row + 1);
    if (row < this.top || row > this.top + this.fits - 2) {
      this.top = Math.max(this.rows.first, row - Math.floor(this.fits / 3));
      this.setFollowing(false);
    }
    this.draw();
    this.mark();
  }

  // --- keys and buttons ----------------------------------------------------------------------------------------

  key(event: KeyboardEvent): boolean {
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    const page = Math.max(1, Math.floor(this.fits) - 1);
    const moves: Record<string, number> = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, " ": page };
    if (!this.isKnown && (event.key in moves || OF_LINES.has(event.key))) {
      if (this.early.push(event) > MOST_EARLY) this.early.shift();
      return true;
    }
    const by = moves[event.key];
    if (by !== undefined) this.goTo(this.top + by);
    else if (event.key === "Home") this.goTo(this.rows.first);
    else if (event.key === "End") this.toEnd();
    else if (event.key === "e" || event.key === "E") this.find.toError(event.key === "e" ? 1 : -1);
    else if (event.key === "w") this.wrap();
    else return false;
    return true;
  }

  wrap(): void {
    this.isWrapped = !this.isWrapped;
    this.redraw();
    this.events.changed();
  }

  /** The selected text, else the last lines. Resolves with how many lines that were. */
  async copy(near: HTMLElement): Promise<number> {
    const selection = this.root.ownerDocument.defaultView?.getSelection();
    const chosen = selection && this.body.contains(selection.anchorNode) ? selection.toString() : "";
    if (chosen) {
      await copyText(chosen, near, this.signal);
      return chosen.split("\n").length;
    }
    const lines: string[] = [];
    let row = Math.max(this.rows.first, this.rows.end - COPIED);
    while (row < this.rows.end) {
      const body = (await this.ask("log_lines", {
        scope: this.rows.scope,
        start: row,
        stop: this.rows.end,
      })) as unknown as { lines: [number, number, number, number, number, string][] };
      if (body.lines.length === 0) break;
      for (const line of body.lines) lines.push(strip(line[5]));
      row = (body.lines.at(-1)?.[0] ?? row) + 1;
    }
    await copyText(lines.join("\n"), near, this.signal);
    return lines.length;
  }
}

export const COPIED_LINES = COPIED;
