// A page with the view on a fake kernel, for pictures: `?n=60&state=mixed&theme=dark`.
import makeWidget from "./widget_here.ts";
import { NO_SLOT, Status } from "../src/protocol.ts";
import { FakeKernel, type FakeNode } from "./fake.ts";

const query = new URLSearchParams(location.search);

function graph(size: number): FakeNode[] {
  const nodes: FakeNode[] = [];
  const add = (name: string, group: string, parents: number[]): number => nodes.push({ name, group, parents }) - 1;
  if (size === 0) return nodes;
  if (size === 1) add("train", "train", []);
  else if (size === 4) {
    const list = add("list", "list", []);
    const left = add("resize-left", "resize", [list]);
    const right = add("resize-right", "resize", [list]);
    add("merge", "merge", [left, right]);
  } else if (size === 12) {
    const load = add("load_flights", "load", []);
    const weather = add("load_weather", "load_weather", []);
    const months = ["jan", "feb", "mar", "apr", "may"].map((month) => add(`clean_${month}`, "clean", [load]));
    const joined = add("join_weather", "join", [...months, weather]);
    const features = add("features", "features", [joined]);
    const model = add("fit_model", "fit", [features]);
    add("report", "report", [model, joined]);
    add("plot_delays", "plot", [joined]);
  } else if (size === 60) {
    const load = add("load_flights", "load", []);
    const weather = add("load_weather", "load_weather", []);
    const carriers = add("load_carriers", "load_carriers", []);
    const months = Array.from({ length: 12 }, (_, at) => add(`clean-${at + 1}`, "clean_month", [load]));
    const stats = months.map((month, at) => add(`stats-${at + 1}`, "month_stats", [month]));
    const joined = months.slice(0, 4).map((month, at) => add(`join_quarter_${at + 1}`, "join", [month, weather]));
    const by = Array.from({ length: 16 }, (_, at) =>
      add(`carrier-${at + 1}`, "by_carrier", [...joined.slice(0, 2), carriers]),
    );
    const all = add("aggregate", "aggregate", stats);
    const table = add("carrier_table", "table", by);
    const features = Array.from({ length: 6 }, (_, at) =>
      add(`feature_${"abcdef"[at]}`, `feature_${at}`, [all, table]),
    );
    const split = add("split", "split", features);
    const model = add("fit_model", "fit", [split]);
    add("score", "score", [model, split]);
    add("plot", "plot", [model]);
    add("report_with_a_rather_long_name_017", "report", [model, all]);
  } else if (size === 300) {
    for (let at = 0; at < size; at++) {
      const rank = Math.floor(at / 25);
      const parents = rank === 0 ? [] : [(rank - 1) * 25 + ((at * 7) % 25), (rank - 1) * 25 + (at % 25)];
      add(
        `${["task", "step_with_a_long_name", "日本語の名前", "<b>bold</b>", "🙂 emoji", "שלום"][at % 6]}-${at}`,
        `g${at}`,
        [...new Set(parents)],
      );
    }
  } else if (query.get("cards")) {
    // 40 ranks of 50 functions: 2,000 marks with five nodes each, and as many edges again.
    for (let at = 0; at < size; at++) {
      const mark = Math.floor(at / 5);
      const rank = Math.floor(mark / 50);
      const parent = (rank - 1) * 50 + ((mark * 7) % 50);
      add(`step-${mark}-${at % 5}`, `step-${mark}`, rank === 0 ? [] : [5 * parent + (at % 5)]);
    }
  } else {
    const list = add("list", "list", []);
    const share = Math.floor((size - 6) / 3);
    const first = Array.from({ length: share }, (_, at) => add(`download-${at}`, "download", [list]));
    const second = first.map((parent, at) => add(`resize-${at}`, "resize", [parent]));
    const third = second.map((parent, at) => add(`classify_image-${at}`, "classify_image", [parent]));
    const merge = add("merge", "merge", third);
    const quality = add("quality", "quality", second);
    add("report", "report", [merge, quality]);
    while (nodes.length < size) add(`extra-${nodes.length}`, `extra${nodes.length}`, [merge]);
  }
  return nodes;
}

/** Statuses as a run would leave them when a share of it is done. */
function play(kernel: FakeKernel, state: string): void {
  const total = kernel.nodes.length;
  if (state === "ready") return;
  const share = state === "done" || state === "failed" ? 1 : 0.55;
  kernel.startedAt = Date.now() / 1000 - 42;
  let running = 0;
  const fails = (index: number): boolean =>
    state !== "done" && state !== "running" && total > 1 && index % Math.max(7, Math.ceil(total / 5)) === 4;
  kernel.nodes.forEach((node, index) => {
    const parents = node.parents.map((parent) => kernel.states[parent]?.status ?? 0);
    const own = kernel.states[index];
    if (!own) return;
    if (
      parents.some(
        (status) => status === Status.FAILED || status === Status.CANCELLED || status === Status.PARENT_FAILED,
      )
    ) {
      own.status = Status.PARENT_FAILED;
      return;
    }
    if (parents.some((status) => status !== Status.COMPLETED) || (index / total > share && running >= 6)) return;
    own.attempt = index % 9 === 5 ? 2 : 1;
    own.slot = index % 8;
    own.started = 1 + (index / total) * 38;
    if (index / total > share) {
      running += 1;
      own.status = Status.RUNNING;
      own.started = 41.5 - (index % 12);
    } else if (fails(index)) {
      own.status = Status.FAILED;
      own.ended = own.started + 3.2;
    } else {
      own.status = Status.COMPLETED;
      own.ended = own.started + 0.4 + ((index * 37) % 50) / 20;
    }
    if (state === "mixed" && index === Math.floor(total * share) - 2 && total > 8) {
      Object.assign(own, { status: Status.CANCELLED, attempt: 0, slot: NO_SLOT, started: Number.NaN, ended: 30 });
    }
  });
  if (share === 1) kernel.endedAt = kernel.startedAt + 41;
}

/** `?runs=57`: the log browser, on so many runs. */
class FakeRuns extends FakeKernel {
  readonly asked: Record<string, unknown>[] = [];
  query = { search: query.get("search") ?? "", created_by: "", status: "", hours: 0, page: 1 };

  override send(content: unknown): void {
    const { kind = "", id, ...about } = content as { kind?: string; id?: string } & Record<string, unknown>;
    if (!kind.startsWith("runs_")) {
      super.send(content);
      return;
    }
    this.asked.push({ kind, ...about });
    if (kind === "runs_list") Object.assign(this.query, about);
    const found = kind === "runs_list" ? this.found() : null;
    setTimeout(() => this.message({ type: "runs", id, error: "", found, graph_id: "graph-1" }), 5);
  }

  private found(): object {
    const { search, status, page } = this.query;
    const number = { "": 0, running: 2, succeeded: 3, failed: 4, cancelled: 5 }[status] ?? 0;
    const words = ["", "", "Running", "Completed", "Failed", "Cancelled"];
    const rows = Array.from({ length: Number(query.get("runs")) }, (_, at) => ({
      uuid: `run-${at}`,
      namespace: "me",
      name: `${["orders", "flights", "weather"][at % 3]}-${at}`,
      created_by: "somebody",
      status: at === 0 ? 2 : [3, 4, 3, 5][at % 4],
      word: words[at === 0 ? 2 : ([3, 4, 3, 5][at % 4] ?? 0)],
      started: Date.now() / 1000 - 3600 * at - 60,
      ended: at === 0 ? null : Date.now() / 1000 - 3600 * at - 18,
      counts: { Completed: 10 + at },
      is_here: at === 0,
    })).filter((row) => row.name.includes(search) && (number === 0 || row.status === number));
    const shown = rows.slice(10 * (page - 1), 10 * page);
    return { rows: shown, page, per_page: 10, total: rows.length, is_whole: true, query: this.query };
  }
}

const Kernel = query.get("runs") ? FakeRuns : FakeKernel;
const kernel = new Kernel(graph(Number(query.get("n") ?? 60)));
if (query.get("cards")) kernel.foldFrom = 2;
if (query.get("runs")) kernel.traits.kind = "runs";
kernel.canStop = query.get("stop") === "1";
play(kernel, query.get("state") ?? "mixed");
kernel.acted = () =>
  query.get("refuse")
    ? { ok: false, message: "Node 'clean-3' is running.", count: 0 }
    : { ok: true, message: "3 nodes run again", count: 3 };
if (query.get("busy")) kernel.isAnswering = true;
document.body.dataset.jpThemeLight = String(query.get("theme") !== "dark");
const made = makeWidget();
const life = new AbortController();
made.initialize({ model: kernel, signal: life.signal });
const host = document.querySelector<HTMLElement>("#host");
if (host) made.render({ model: kernel, el: host, signal: life.signal });
interface Harness {
  kernel: FakeKernel;
  life: AbortController;
  again(host: HTMLElement, signal?: AbortSignal): void;
  another(host: HTMLElement, isAnswering?: boolean): FakeKernel;
}
const page = window as unknown as Harness;
page.kernel = kernel;
page.life = life;
page.again = (el, signal = life.signal) => void made.render({ model: kernel, el, signal });
/** Another graph, with a model of its own. */
page.another = (el, isAnswering = true) => {
  const model = new FakeKernel(graph(4));
  model.isAnswering = isAnswering;
  const widget = makeWidget();
  model.release();
  widget.initialize({ model, signal: life.signal });
  widget.render({ model, el, signal: life.signal });
  return model;
};
