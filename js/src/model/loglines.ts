// Rows of a log: a window over lines that the kernel keeps. At most `MOST` are here; what is looked at is asked for.
import type { LogAsk, LogLines, LogScope } from "../protocol.ts";
import { type Filter, parse } from "./filter.ts";

const PAGE = 500;
const MOST = 10_000;
const MOST_OPEN = 2;

export interface LogLine {
  readonly row: number;
  /** Unix time. */
  readonly time: number;
  readonly node: number;
  readonly attempt: number;
  /** 1 stdout, 2 stderr, else a level of Python's logging. */
  readonly level: number;
  readonly text: string;
  /** Of the whole line, where `text` is only its beginning. */
  readonly length: number;
}

export type AskLog = (kind: "log_lines" | "log_line" | "log_find" | "log_file", ask: LogAsk) => Promise<unknown>;

export class LogRows {
  /** The oldest row that the kernel keeps. */
  first = 0;
  /** The row that the next line will have. */
  end = 0;
  scope: LogScope = {};
  private readonly ask: AskLog;
  private readonly changed: () => void;
  private pages = new Map<number, (LogLine | undefined)[]>();
  private open = new Set<number>();
  private round = 0;

  constructor(ask: AskLog, changed: () => void) {
    this.ask = ask;
    this.changed = changed;
  }

  get held(): number {
    return this.pages.size * PAGE;
  }

  at(row: number): LogLine | undefined {
    return this.pages.get(Math.floor(row / PAGE))?.[row % PAGE];
  }

  /** Other lines are wanted: nothing that is here counts any more. */
  reset(scope: LogScope): void {
    this.scope = scope;
    this.first = 0;
    this.end = 0;
    this.pages.clear();
    this.open.clear();
    this.round++;
  }

  /** See to it that these rows come. What is farthest from them goes when there is too much. */
  want(start: number, stop: number): void {
    const from = Math.max(start, this.first);
    const until = Math.min(stop, this.end);
    for (let page = Math.floor(from / PAGE); page * PAGE < until; page++) {
      const missing = this.missing(page, Math.max(from, page * PAGE), Math.min(until, (page + 1) * PAGE));
      if (missing < 0 || this.open.has(page) || this.open.size >= MOST_OPEN) continue;
      const { round } = this;
      this.open.add(page);
      this.ask("log_lines", { scope: this.scope, start: missing, stop: (page + 1) * PAGE }).then(
        (body) => {
          if (round !== this.round) return;
          this.open.delete(page);
          this.take(body as LogLines);
        },
        () => {
          // The connection's own words say what is wrong; whoever looks again asks again.
          if (round === this.round) setTimeout(() => this.open.delete(page), 1000);
        },
      );
    }
  }

  /**
   * The row of the latest line until a time, `first - 1` if there was none. Null while too little is here to tell: then
   * it is asked for, in halves. Rows are in the order in which lines came to the kernel; from servers they come node by
   * node, so of the lines that are here the latest counts.
   */
  rowAt(time: number, timeOf = (line: LogLine): number => line.time): number | null {
    if (time === Number.POSITIVE_INFINITY) return this.end - 1;
    let low = this.first - 1;
    let latest = low;
    let since = Number.NEGATIVE_INFINITY;
    for (const own of this.pages.values())
      for (const line of own) {
        if (!line || line.row < this.first) continue;
        const at = timeOf(line);
        if (!(at <= time)) continue;
        low = Math.max(low, line.row);
        if (at > since || (at === since && line.row > latest)) [since, latest] = [at, line.row];
      }
    let high = this.end;
    for (const own of this.pages.values())
      for (const line of own) if (line && line.row > low && line.row < high) high = line.row;
    if (high - low <= 1) return latest;
    const middle = (low + high) >> 1;
    this.want(middle, middle + 1);
    return null;
  }

  private missing(page: number, from: number, until: number): number {
    const own = this.pages.get(page);
    for (let row = from; row < until; row++) if (own?.[row % PAGE] === undefined) return row;
    return -1;
  }

  /** Lines from the kernel, asked for or not. */
  take(told: LogLines): void {
    this.first = Math.max(this.first, told.first);
    this.end = Math.max(this.end, told.end);
    for (const [row, time, node, attempt, level, text, length] of told.lines as [
      number,
      number,
      number,
      number,
      number,
      string,
      number?,
    ][]) {
      const page = Math.floor(row / PAGE);
      let own = this.pages.get(page);
      if (!own) {
        own = new Array<LogLine | undefined>(PAGE);
        this.pages.set(page, own);
        this.forget(page);
      }
      own[row % PAGE] = { row, time, node, attempt, level, text, length: length ?? text.length };
    }
    this.changed();
  }

  private forget(near: number): void {
    while (this.pages.size > MOST / PAGE) {
      let farthest = near;
      for (const page of this.pages.keys()) if (Math.abs(page - near) > Math.abs(farthest - near)) farthest = page;
      this.pages.delete(farthest);
    }
  }
}

/** Nodes as pairs of first and last-but-one. */
export function spans(nodes: Iterable<number>): number[] {
  const sorted = [...nodes].sort((a, b) => a - b);
  const made: number[] = [];
  for (const node of sorted) {
    if (made.at(-1) === node) made[made.length - 1] = node + 1;
    else made.push(node, node + 1);
  }
  return made;
}

/** "warning", "stderr": what a level is called. */
export function levelWord(level: number): string {
  if (level <= 2) return level === 1 ? "stdout" : "stderr";
  return level >= 50 ? "critical" : level >= 40 ? "error" : level >= 30 ? "warning" : level >= 20 ? "info" : "debug";
}

/** Terms that say something about lines; what is said about nodes as well is left to the lines here. */
const OF_LINES = new Set(["level", "stream", "attempt", "text"]);

/** A filter's two halves: what it says about lines, as text for the kernel, and what it says about nodes. */
export function halves(text: string): { lines: string; nodes: Filter } {
  const { terms, problem } = parse(text);
  if (problem) return { lines: "", nodes: { text: "", terms: [], problem: null } };
  const ofNodes = terms.filter((term) => !OF_LINES.has(term.key));
  return {
    lines: terms
      .filter((term) => OF_LINES.has(term.key))
      .map((term) => text.slice(term.from, term.to).trim())
      .join(" "),
    nodes: { text, terms: ofNodes, problem: null },
  };
}
