// Runs on record: a list with search, filters and pages. A run that is opened takes the list's place, with a way back.
import { duration, plain, say, timeOfDay, utc } from "../model/words.ts";
import { readTheme, STATUS_NAMES, watchTheme } from "../render/theme.ts";
import { type Button, button, element, fill, glyph, on, rove, set, setText } from "./dom.ts";

interface Row {
  readonly uuid: string;
  readonly namespace: string;
  readonly name: string;
  readonly created_by: string;
  readonly status: number;
  readonly word: string;
  readonly started: number | null;
  readonly ended: number | null;
  readonly counts: Readonly<Record<string, number>>;
  readonly is_here: boolean;
}

interface Found {
  readonly rows: readonly Row[];
  readonly page: number;
  readonly per_page: number;
  readonly total: number;
  /** False while runs of this kernel wait to be put on record. */
  readonly is_whole?: boolean;
  /** What was looked for; whoever made the list may have asked for something already. */
  readonly query: { search: string; created_by: string; status: string; hours: number; page: number };
}

/** What the list needs of whoever holds the model. */
export interface RunsHost {
  /** Rejects with words for people. */
  ask(kind: "runs_list" | "runs_open" | "runs_close", about: Record<string, unknown>): Promise<{ found?: unknown }>;
  /** Show the opened run in this element until `signal` fires. */
  show(el: HTMLElement, signal: AbortSignal): void;
}

const STATUSES = ["", "running", "succeeded", "failed", "cancelled"] as const;
const HOURS = [0, 1, 24, 168, 720] as const;
const TYPING_MS = 250;
const LOOK_MS = 5000;

/** One of a few, by a name that a reader hears. */
function choice(name: string, all: readonly (readonly [string, string])[]): HTMLSelectElement {
  const options = all.map(([value, text]) => element("option", { value }, text));
  return element("select.td-select", { "aria-label": name }, ...options);
}

export class Browser {
  readonly root = element("div.tiledag.td-runs", {
    "data-lm-suppress-shortcuts": "true",
    role: "region",
    tabindex: -1,
    "aria-label": say("runs.title"),
  });
  private readonly host: RunsHost;
  private readonly signal: AbortSignal;
  private readonly outer: HTMLElement;
  private readonly search = element("input.td-input.td-search", {
    type: "search",
    spellcheck: "false",
    placeholder: say("runs.search"),
    "aria-label": say("runs.search"),
  });
  private readonly user = element("input.td-input.td-user", {
    type: "search",
    spellcheck: "false",
    placeholder: say("runs.user"),
    "aria-label": say("runs.user_title"),
  });
  private readonly body = element("tbody");
  private readonly said = element("span.td-quiet", { role: "status" });
  private readonly newer: Button;
  private readonly older: Button;
  private readonly status = choice(
    say("runs.status_title"),
    STATUSES.map((each) => [each, say(`runs.status_${each}`)]),
  );
  private readonly hours = choice(
    say("runs.hours_title"),
    HOURS.map((each) => [String(each), say(`runs.hours_${each}`)]),
  );
  private page = 1;
  private round = 0;
  /** The fields hold what is looked for; before the first answer only the kernel knows that. */
  private isKnown = false;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private opened: AbortController | null = null;

  constructor(outer: HTMLElement, host: RunsHost, signal: AbortSignal) {
    this.outer = outer;
    this.host = host;
    this.signal = signal;
    const turnPage = (by: number) => (): void => {
      this.page += by;
      this.look(0);
    };
    this.newer = button(say("runs.previous"), turnPage(-1), signal, {
      icon: "right",
      isIconOnly: true,
      className: "is-newer",
    });
    this.older = button(say("runs.next"), turnPage(1), signal, { icon: "right", isIconOnly: true });
    const refresh = button(say("runs.refresh"), () => this.look(0), signal, { icon: "retry", isIconOnly: true });
    const heads = (["status", "name", "user", "started", "took", "nodes"] as const).map((name) =>
      element("th", { scope: "col" }, say(`runs.head_${name}`)),
    );
    const tools = element(
      "div.td-tools",
      { role: "toolbar", "aria-label": say("runs.title") },
      this.search,
      this.status,
      this.hours,
      this.user,
      element("span.td-space"),
      refresh.root,
    );
    const table = element(
      "div.td-runslist",
      {},
      element("table", {}, element("thead", {}, element("tr", {}, ...heads)), this.body),
    );
    const foot = element("div.td-actions", {}, this.said, element("span.td-space"), this.newer.root, this.older.root);
    fill(this.root, element("div.td-summary", {}, element("span.td-name", {}, say("runs.title"))), tools, table, foot);
    outer.append(this.root);
    readTheme(this.root);
    watchTheme(this.root, () => readTheme(this.root), signal);
    for (const name of ["keydown", "keyup", "keypress"])
      on(this.root, name, signal, (event) => event.stopPropagation());
    for (const field of [this.search, this.user])
      on(field, "input", signal, () => {
        this.isKnown = true;
        this.page = 1;
        this.look(TYPING_MS);
      });
    for (const field of [this.status, this.hours])
      on(field, "change", signal, () => {
        this.isKnown = true;
        this.page = 1;
        this.look(0);
      });
    rove([tools], signal);
    rove([this.body], signal);
    rove([foot], signal);
    signal.addEventListener("abort", () => this.end(), { once: true });
    this.look(0);
  }

  private end(): void {
    clearTimeout(this.timer);
    this.opened?.abort();
    this.root.remove();
  }

  private look(wait: number): void {
    const status = this.status.value;
    const hours = Number(this.hours.value);
    clearTimeout(this.timer);
    this.timer = setTimeout(async () => {
      const round = ++this.round;
      const all = { search: this.search.value, created_by: this.user.value, status, hours, page: this.page };
      const about = this.isKnown ? all : {};
      if (!this.body.firstChild) setText(this.said, say("runs.loading"));
      try {
        const { found } = await this.host.ask("runs_list", about);
        if (round === this.round) this.show(found as Found);
      } catch (error) {
        if (round === this.round) setText(this.said, error instanceof Error ? error.message : "");
      }
    }, wait);
  }

  /** What somebody asked for in Python stands in the fields. */
  private fillIn({ search, created_by, status, hours, page }: Found["query"]): void {
    this.isKnown = true;
    this.search.value = search;
    this.user.value = created_by;
    this.status.value = (STATUSES as readonly string[]).includes(status) ? status : "";
    this.hours.value = (HOURS as readonly number[]).includes(hours) ? String(hours) : "0";
    this.page = page;
  }

  private show(found: Found): void {
    if (!this.isKnown) this.fillIn(found.query);
    const { rows, page, per_page, total } = found;
    if (rows.length === 0 && total > 0 && page > 1) {
      this.page = Math.ceil(total / per_page);
      this.look(0);
      return;
    }
    const first = (page - 1) * per_page + 1;
    const isAll = !this.search.value && !this.user.value && !this.status.value && this.hours.value === "0";
    setText(
      this.said,
      total > 0
        ? say("runs.page", { first, last: first + rows.length - 1, n: total })
        : say(isAll ? "runs.empty" : "runs.none"),
    );
    this.newer.setBlocked(page > 1 ? "" : " ");
    this.older.setBlocked(page * per_page < total ? "" : " ");
    fill(this.body, ...rows.map((row) => this.rowOf(row)));
    set(this.root, { "data-uncounted": rows.every((row) => Object.values(row.counts).every((each) => each === 0)) });
    // Looked at again: a run that goes on, and one that is still on its way to the record.
    const isMore = found.is_whole === false || rows.some((row) => row.ended === null && row.status < 3);
    if (isMore && this.root.checkVisibility()) this.look(LOOK_MS);
  }

  private rowOf(row: Row): HTMLElement {
    const name = plain(row.name);
    const open = button(name, () => void this.open(row), this.signal, {
      title: say("runs.open", { name }),
      className: "td-runname",
    });
    const nodes = Object.values(row.counts).reduce((sum, each) => sum + each, 0);
    const made = element(
      "tr",
      {},
      element(
        "td",
        {},
        element(`span.td-runstatus.is-${STATUS_NAMES[row.status] ?? ""}` as "span", {}, glyph(row.status), row.word),
      ),
      element("td", {}, open.root, row.is_here ? element("span.td-quiet", {}, say("runs.here")) : null),
      element("td", {}, plain(row.created_by)),
      element(
        "td",
        {},
        row.started === null ? "" : element("time", { title: utc(row.started) }, timeOfDay(row.started)),
      ),
      element("td", {}, row.started === null || row.ended === null ? "" : duration(row.ended - row.started)),
      element("td", {}, nodes > 0 ? String(nodes) : ""),
    );
    on(made, "click", this.signal, (event) => {
      if (event.target instanceof Element && !event.target.closest("button")) void this.open(row);
    });
    return made;
  }

  private async open(row: Row): Promise<void> {
    setText(this.said, say("runs.opening", { name: plain(row.name) }));
    try {
      await this.host.ask("runs_open", { uuid: row.uuid, namespace: row.namespace });
    } catch (error) {
      setText(this.said, error instanceof Error ? error.message : "");
      return;
    }
    if (this.signal.aborted) return;
    this.opened?.abort();
    const life = new AbortController();
    this.opened = life;
    const signal = AbortSignal.any([life.signal, this.signal]);
    const back = button(say("runs.back"), () => this.back(), signal, { icon: "right", className: "is-newer" });
    const bar = element("div.tiledag.td-runsback", {}, back.root);
    const place = element("div");
    this.outer.append(bar, place);
    readTheme(bar);
    this.root.hidden = true;
    this.host.show(place, signal);
    back.root.focus();
    signal.addEventListener("abort", () => {
      bar.remove();
      place.remove();
    });
  }

  private back(): void {
    this.opened?.abort();
    this.opened = null;
    void this.host.ask("runs_close", {}).catch(() => undefined);
    this.root.hidden = false;
    this.look(0);
    set(this.root, { "data-back": true });
    this.search.focus();
  }
}
