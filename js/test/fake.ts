// A kernel in the page: graphs of any size, statuses to order, and the kernel's side of the messages.
import {
  type LogAsk,
  type LogScope,
  type MarkEdges,
  type MarkKind,
  type Marks,
  NO_SLOT,
  type NodeDetail,
  type Picture,
  RECORD_SIZE,
  type Request,
  type Run,
  Status,
} from "../src/protocol.ts";
import type { CommModel } from "../src/sources/comm.ts";

export interface FakeNode {
  name: string;
  group: string;
  parents: number[];
}

export interface FakeState {
  status: number;
  attempt: number;
  slot: number;
  started: number;
  ended: number;
}

export async function deflate(bytes: Uint8Array): Promise<Uint8Array> {
  const stream = new Blob([bytes.slice()]).stream().pipeThrough(new CompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

export function packRecords(records: readonly ({ index: number } & FakeState)[]): Uint8Array {
  const bytes = new Uint8Array(records.length * RECORD_SIZE);
  const view = new DataView(bytes.buffer);
  records.forEach((record, at) => {
    view.setUint32(at * RECORD_SIZE, record.index, true);
    view.setUint8(at * RECORD_SIZE + 4, record.status);
    view.setUint8(at * RECORD_SIZE + 5, record.attempt);
    view.setUint16(at * RECORD_SIZE + 6, record.slot, true);
    view.setFloat32(at * RECORD_SIZE + 8, record.started, true);
    view.setFloat32(at * RECORD_SIZE + 12, record.ended, true);
  });
  return bytes;
}

/** Longest-path ranks, fan-outs of eight or more stacked, slots by the mean of the parents. */
export function arrange(
  nodes: readonly FakeNode[],
  foldFrom = 8,
): { marks: Marks; edges: MarkEdges; markOf: Uint32Array } {
  const rank = nodes.map(() => 0);
  nodes.forEach((node, index) => {
    for (const parent of node.parents) rank[index] = Math.max(rank[index] ?? 0, (rank[parent] ?? 0) + 1);
  });
  const groups = new Map<string, number[]>();
  nodes.forEach((node, index) => {
    const key = `${rank[index]}|${node.group}`;
    const own = groups.get(key);
    if (own) own.push(index);
    else groups.set(key, [index]);
  });
  const marks: Marks = { kind: [], name: [], size: [], first: [], rank: [], order: [], slot: [], group: [] };
  const markOf = new Uint32Array(nodes.length);
  const done = new Set<string>();
  const groupNumbers = [...new Set(nodes.map((node) => node.group))];
  const add = (kind: MarkKind, name: string, members: readonly number[]): void => {
    for (const member of members) markOf[member] = marks.kind.length;
    marks.kind.push(kind);
    marks.name.push(name);
    marks.size.push(members.length);
    marks.first.push(members[0] ?? 0);
    marks.rank.push(rank[members[0] ?? 0] ?? 0);
    marks.order.push(0);
    marks.slot.push(0);
    marks.group.push(groupNumbers.indexOf(nodes[members[0] ?? 0]?.group ?? ""));
  };
  nodes.forEach((node, index) => {
    const key = `${rank[index]}|${node.group}`;
    if (done.has(key)) return;
    const members = groups.get(key) ?? [];
    if (members.length < foldFrom) add("card", node.name, [index]);
    else {
      done.add(key);
      add("stack", node.group, members);
    }
  });
  const counts = new Map<string, number>();
  nodes.forEach((node, index) => {
    for (const parent of node.parents) {
      const key = `${markOf[parent]},${markOf[index]}`;
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
  });
  const edges: MarkEdges = { source: [], target: [], count: [], bends: [] };
  for (const [key, count] of counts) {
    const [source = 0, target = 0] = key.split(",").map(Number);
    edges.source.push(source);
    edges.target.push(target);
    edges.count.push(count);
    edges.bends.push([]);
  }
  slots(marks, edges);
  edges.source.forEach((source, edge) => {
    const target = edges.target[edge] ?? 0;
    const span = (marks.rank[target] ?? 0) - (marks.rank[source] ?? 0);
    const from = marks.slot[source] ?? 0;
    const to = marks.slot[target] ?? 0;
    const lane = Math.max(...marks.slot) + 1;
    edges.bends[edge] = Array.from({ length: Math.max(0, span - 1) }, () => (from === to ? lane : from));
  });
  return { marks, edges, markOf };
}

function slots(marks: Marks, edges: MarkEdges): void {
  const last = Math.max(...marks.rank, 0);
  const parents = marks.kind.map((): number[] => []);
  edges.source.forEach((source, edge) => {
    parents[edges.target[edge] ?? 0]?.push(source);
  });
  const widest = Math.max(
    ...Array.from({ length: last + 1 }, (_, rank) => marks.rank.filter((own) => own === rank).length),
  );
  for (let rank = 0; rank <= last; rank++) {
    const own = marks.rank.flatMap((each, mark) => (each === rank ? [mark] : []));
    const wish = (mark: number): number => {
      const above = parents[mark] ?? [];
      if (above.length === 0) return mark / 1e6;
      return above.reduce((sum, parent) => sum + (marks.slot[parent] ?? 0), 0) / above.length + mark / 1e6;
    };
    own.sort((a, b) => wish(a) - wish(b));
    own.forEach((mark, order) => {
      marks.order[mark] = order;
      marks.slot[mark] = order + (widest - own.length) / 2;
    });
  }
}

type Handler = (...values: never[]) => void;

/** A model and the kernel behind it. Requests are kept in `requests`; answers go out when `isAnswering`. */
export class FakeKernel implements CommModel {
  readonly requests: Request[] = [];
  readonly nodes: FakeNode[];
  readonly states: FakeState[];
  title = "ingest-2024";
  foldFrom = 8;
  /** What its pictures say otherwise. */
  about: Partial<Picture> = {};
  traits: Record<string, unknown> = { graph_id: "graph-1", auto_update: true };
  isAnswering = true;
  /** Nothing comes after its comm has closed, not even what was on its way. */
  private isClosed = false;
  /** Text of the second part of the bundle. With `hold` in the address it is sent when `release` is called. */
  more = (globalThis as { more?: string }).more ?? "";
  release: () => void = () => undefined;
  private readonly released = new Promise<void>((done) => {
    if (new URLSearchParams(globalThis.location?.search ?? "").has("hold")) this.release = done;
    else done();
  });
  /** With `late` in the address names and edges are sent when `tell` is called. */
  tell: () => void = () => undefined;
  private readonly told = new Promise<void>((done) => {
    if (new URLSearchParams(globalThis.location?.search ?? "").has("late")) this.tell = done;
    else done();
  });
  revision = 1;
  epoch = 1;
  canStop = false;
  /** Slow motion in seconds; null for a graph that runs elsewhere. */
  pace: number | null = 0;
  /** What a rich preview gives. */
  rich = { kind: "text/html", note: "", data: "<table><tr><th>year</th><td>2013</td></tr></table>" };
  startedAt: number | null = null;
  endedAt: number | null = null;
  error: (node: number) => Partial<NodeDetail> = () => ({});
  acted: (request: Request) => { ok: boolean; message: string; count: number } = () => ({
    ok: true,
    message: "",
    count: 1,
  });
  widget_manager?: unknown;
  private readonly handlers = new Map<string, Set<Handler>>();

  constructor(nodes: FakeNode[]) {
    this.nodes = nodes;
    this.states = nodes.map(() => fresh());
  }

  get(name: string): unknown {
    return this.traits[name];
  }

  set(name: string, value: unknown): void {
    this.traits[name] = value;
  }

  /** What a model is made with where its first picture comes along. */
  async bringFirst(): Promise<void> {
    const { markOf, ...picture } = this.picture();
    const buffers = [await deflate(new Uint8Array(markOf.buffer))];
    buffers.push(await deflate(Uint8Array.from(this.states, (state) => state.status)));
    this.traits.first = {
      content: { ...picture, epoch: 0 },
      buffers: buffers.map((bytes) => new DataView(bytes.slice().buffer)),
    };
  }

  on(name: string, callback: Handler): void {
    const own = this.handlers.get(name) ?? new Set();
    own.add(callback);
    this.handlers.set(name, own);
  }

  off(name: string, callback?: Handler): void {
    if (callback) this.handlers.get(name)?.delete(callback);
    else this.handlers.delete(name);
  }

  get listenerCount(): number {
    return [...this.handlers.values()].reduce((sum, each) => sum + each.size, 0);
  }

  emit(name: string, ...values: unknown[]): void {
    if (name === "comm:close") this.isClosed = true;
    else if (name === "comm_live_update") this.isClosed = false;
    for (const handler of [...(this.handlers.get(name) ?? [])]) (handler as (...all: unknown[]) => void)(...values);
  }

  message(content: unknown, buffers: readonly Uint8Array[] = []): void {
    if (this.isClosed) return;
    this.emit(
      "msg:custom",
      content,
      buffers.map((bytes) => new DataView(bytes.slice().buffer)),
    );
  }

  send(content: unknown): void {
    const request = content as Request;
    this.requests.push(request);
    if (this.isAnswering) void this.answer(request);
  }

  async answer(request: Request): Promise<void> {
    if (request.kind === "open" || request.kind === "resync") await this.sendPicture();
    else if (request.kind === "code") await this.sendCode(request.id ?? "");
    else if (request.kind === "node")
      this.message({ type: "reply", id: request.id, body: this.detail(request.nodes?.[0] ?? 0), error: null });
    else if (request.kind === "preview") {
      const body = {
        type: "pandas.DataFrame",
        size: "27,004 × 19",
        text: "   year  month  day  dep_time\n0  2013      1    1     517.0\n1  2013      1    1     533.0",
      };
      setTimeout(() => this.message({ type: "reply", id: request.id, body, error: null }), 120);
    } else if (request.kind === "rich") {
      const { kind, note, data } = this.rich;
      const body = { type: "pandas.DataFrame", size: "27,004 × 19", kind, note, number: kind ? 11 : 0 };
      this.message({ type: "reply", id: request.id, body, error: null });
      const head = { type: "columns", epoch: this.epoch, column: "file", part: 0, of: 1, revision: 11 };
      if (kind) this.message(head, [await deflate(new TextEncoder().encode(data))]);
    } else if (request.kind?.startsWith("pace_")) {
      const pace = Number(request.kind.slice(5)) / 1000;
      const error = this.pace === null ? "RuntimeError: this graph runs elsewhere" : null;
      if (!error) this.pace = pace;
      this.message({ type: "reply", id: request.id, body: error ? null : { pace }, error });
      this.patch([]);
    } else if (request.kind === "errors") await this.sendErrors(request.id ?? "");
    else if (request.kind === "tape") await this.sendTape(request.id ?? "");
    else if (request.kind === "log_follow") {
      const { view = "", log } = request;
      if (log) this.message({ type: "log", views: { [view]: this.logLines(log) } });
    } else if (request.kind === "log_file") {
      const text = this.linesOf(request.log?.scope).map(([, , , , own]) => `${own}\n`);
      const head = { type: "columns", epoch: this.epoch, column: "file", part: 0, of: 1, revision: 9 };
      this.message({ type: "reply", id: request.id, body: { number: 9, name: "ingest.log" }, error: null });
      this.message(head, [await deflate(new TextEncoder().encode(text.join("")))]);
    } else if (request.kind === "log_lines" || request.kind === "log_find") {
      const ask = request.log ?? {};
      const body = request.kind === "log_lines" ? this.logLines(ask) : this.logFound(ask);
      this.message({ type: "reply", id: request.id, body, error: null });
    } else if (request.kind !== "visible" && request.kind !== "ping") {
      this.message({ type: "ack", id: request.id, ...this.acted(request) });
    }
  }

  /** What was built, if the page holds it, in parts out of order. */
  async sendCode(id: string): Promise<void> {
    const data = await deflate(new TextEncoder().encode(this.more));
    const half = data.byteLength >> 1;
    await this.released;
    this.message({ type: "code", id, part: 1, of: 2 }, [data.slice(half)]);
    this.message({ type: "code", id, part: 0, of: 2 }, [data.slice(0, half)]);
  }

  async sendErrors(id: string): Promise<void> {
    const nodes = this.states.flatMap(({ status }, node) => (status === Status.FAILED ? [node] : []));
    const texts = [...new Set(nodes.map((node) => this.errorOf(node)))];
    const body = { texts, nodes, of: nodes.map((node) => texts.indexOf(this.errorOf(node))) };
    this.message({ type: "reply", id, body: { number: 12, name: "" }, error: null });
    const head = { type: "columns", epoch: this.epoch, column: "file", part: 0, of: 1, revision: 12 };
    this.message(head, [await deflate(new TextEncoder().encode(JSON.stringify(body)))]);
  }

  private errorOf(node: number): string {
    const { error_type: type, error_message: text } = this.detail(node);
    return text ? `${type}: ${text}` : type;
  }

  /** Every attempt's beginning and end, in the order of time. */
  async sendTape(id: string): Promise<void> {
    const changes = this.states.flatMap(({ status, attempt, slot, started, ended }, node) => [
      ...(started >= 0 ? [{ at: started, node, slot, status: Status.RUNNING as number, attempt }] : []),
      ...(status > Status.RUNNING ? [{ at: ended >= 0 ? ended : 40, node, slot, status, attempt }] : []),
    ]);
    changes.sort((a, b) => a.at - b.at || a.status - b.status);
    const n = changes.length;
    const bytes = new Uint8Array(8 + 12 * n);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, n, true);
    changes.forEach((each, i) => {
      view.setFloat32(8 + 4 * i, each.at, true);
      view.setUint32(8 + 4 * (n + i), each.node, true);
      view.setUint16(8 + 8 * n + 2 * i, each.slot, true);
      view.setUint8(8 + 10 * n + i, each.status);
      view.setUint8(8 + 11 * n + i, each.attempt);
    });
    this.message({ type: "reply", id, body: { number: 7, name: "" }, error: null });
    const head = { type: "columns", epoch: this.epoch, column: "tape", part: 0, of: 1, revision: 7 };
    this.message(head, [await deflate(bytes)]);
  }

  /** Three lines a node that began, as time, node, attempt, level and text. */
  lines(): [number, number, number, number, string][] {
    const zero = this.startedAt ?? 0;
    return this.states.flatMap(({ status, attempt, started }, node): [number, number, number, number, string][] => {
      if (!(started >= 0)) return [];
      const { name = "" } = this.nodes[node] ?? {};
      const at = zero + started;
      const end = status === Status.FAILED ? "ValueError: could not convert string to float: 'NA?'" : "done";
      return [
        [at, node, attempt, 1, `reading what ${name} needs`],
        [at + 0.1, node, attempt, 20, `27,004 rows of \u001b[32m${name}\u001b[0m`],
        [at + 0.3, node, attempt, status === Status.FAILED ? 40 : node % 5 === 3 ? 2 : 1, end],
      ];
    });
  }

  private linesOf(scope: LogScope = {}): [number, number, number, number, string][] {
    const { nodes, attempt = 0, least = 0, stream = 0 } = scope;
    const isMeant = (node: number): boolean =>
      !nodes || nodes.some((from, at) => at % 2 === 0 && node >= from && node < (nodes[at + 1] ?? 0));
    return this.lines().filter(
      ([, node, own, level]) =>
        isMeant(node) &&
        (attempt === 0 || own === attempt) &&
        level >= least &&
        (stream === 0 || Math.min(3, level) === stream),
    );
  }

  private logLines({ scope, start = 0, stop = 500 }: LogAsk): object {
    const all = this.linesOf(scope);
    const lines = all.map((line, row) => [row, ...line]).slice(start, Math.max(stop, start + 500));
    return { first: 0, end: all.length, start, lines };
  }

  private logFound({ scope, text = "", is_error = false, start = 0, step = 0 }: LogAsk): object {
    const all = this.linesOf(scope);
    const rows = all.flatMap(([, , , level, own], row) =>
      (is_error ? level >= 40 : own.toLowerCase().includes(text.toLowerCase())) ? [row] : [],
    );
    const next = step < 0 ? rows.findLast((row) => row < start) : rows.find((row) => row >= start + step);
    const row = next ?? (step < 0 ? rows.at(-1) : rows[0]) ?? -1;
    const marks = rows.map((each) => Math.round((240 * each) / Math.max(1, all.length)));
    return { count: rows.length, at: rows.indexOf(row) + 1, row, marks, first: 0, end: all.length };
  }

  counts(): number[] {
    const counts = [0, 0, 0, 0, 0, 0, 0];
    for (const state of this.states) counts[state.status] = (counts[state.status] ?? 0) + 1;
    return counts;
  }

  run(): Run {
    return {
      status: Status.RUNNING,
      counts: this.counts(),
      is_ended: this.endedAt !== null,
      started: this.startedAt,
      ended: this.endedAt,
      slots: 8,
      can_stop: this.canStop,
      stale_since: null,
      is_record: false,
      pace: this.pace,
      now: Date.now() / 1000,
    };
  }

  picture(): Picture & { markOf: Uint32Array } {
    const { marks, edges, markOf } = arrange(this.nodes, this.foldFrom);
    return {
      type: "picture",
      protocol: 1,
      version: "0.1",
      epoch: this.epoch,
      revision: this.revision,
      graph_id: "graph-1",
      title: this.title,
      reference: "dag",
      total: this.nodes.length,
      encoding: "deflate",
      marks,
      edges,
      groups: Object.fromEntries([...new Set(this.nodes.map((each) => each.group))].map((name, at) => [at, name])),
      folded: "",
      trouble: "",
      is_interim: false,
      cycle: "",
      cyclic: [],
      run: this.run(),
      ...this.about,
      markOf,
    };
  }

  async sendPicture(): Promise<void> {
    const { markOf, ...picture } = this.picture();
    const table = await deflate(new Uint8Array(markOf.buffer));
    const statuses = await deflate(Uint8Array.from(this.states, (state) => state.status));
    this.message(picture, [table, statuses]);
    await this.sendColumn("records", packRecords(this.states.map((state, index) => ({ index, ...state }))));
    await this.told;
    await this.sendColumn("names", new TextEncoder().encode(this.nodes.map((node) => node.name).join("\n")));
    const pairs = this.nodes.flatMap((node, index) => node.parents.flatMap((parent) => [parent, index]));
    await this.sendColumn("edges", new Uint8Array(Uint32Array.from(pairs).buffer));
  }

  async sendColumn(column: "records" | "names" | "edges", bytes: Uint8Array, parts = 1): Promise<void> {
    const whole = await deflate(bytes);
    const size = Math.ceil(whole.length / parts);
    for (let part = 0; part < parts; part++) {
      const head = { type: "columns", epoch: this.epoch, column, part, of: parts, revision: this.revision };
      this.message(head, [whole.slice(part * size, (part + 1) * size)]);
    }
  }

  /** Change nodes and tell it in one patch. */
  patch(changes: readonly ({ index: number } & Partial<FakeState>)[], isSent = true): void {
    const since = this.revision;
    this.revision += Math.max(1, changes.length);
    const records = changes.map(({ index, ...change }) => {
      const state = { ...(this.states[index] ?? fresh()), ...change };
      this.states[index] = state;
      return { index, ...state };
    });
    if (!isSent) return;
    const head = { type: "patch", epoch: this.epoch, since, revision: this.revision, encoding: "raw", run: this.run() };
    this.message(head, [packRecords(records)]);
  }

  detail(index: number): NodeDetail {
    const node = this.nodes[index] ?? { name: "", group: "", parents: [] };
    const state = this.states[index] ?? fresh();
    const zero = this.startedAt ?? 0;
    const children = this.nodes.flatMap((each, child) => (each.parents.includes(index) ? [child] : []));
    const attempts = Array.from({ length: state.attempt }, (_, at) => {
      const isLast = at + 1 === state.attempt;
      const began = zero + (Number.isNaN(state.started) ? 0 : state.started);
      const over = Number.isNaN(state.ended) ? null : zero + state.ended;
      return {
        number: at + 1,
        status: isLast ? state.status : Status.FAILED,
        started: isLast ? began : began - 6,
        ended: isLast ? over : began - 3,
        error: !isLast || state.status === Status.FAILED ? "ValueError: could not convert string to float: 'NA?'" : "",
      };
    });
    return {
      index,
      name: node.name,
      function: `pipeline.${node.group}`,
      mode: "Local",
      resource_class: "",
      status: state.status,
      arguments: [
        ...node.parents
          .slice(0, 2)
          .map((parent, at) => ({ name: at === 0 ? "table" : `other_${at}`, type: "Node", value: "", node: parent })),
        { name: "month", type: "int", value: String((index % 12) + 1), node: null },
        {
          name: "columns",
          type: "list",
          value: "['dep_delay', 'arr_delay', 'carrier', 'origin', 'dest', 'distance']",
          node: null,
        },
      ],
      parents: node.parents,
      children,
      attempts,
      error_type: "",
      error_message: "",
      traceback: "",
      frames: [],
      blocker: null,
      reference: `dag.nodes_by_name["${node.name}"]`,
      source: "def clean(month):\n    table = load(month)\n    return table",
      result: state.status === Status.COMPLETED ? "DataFrame, 27,004 × 19" : "",
      rich: state.status === Status.COMPLETED,
      ...(state.status === Status.FAILED ? this.failure() : {}),
      ...this.error(index),
    };
  }

  private failure(): Partial<NodeDetail> {
    return {
      error_type: "ValueError",
      error_message: "could not convert string to float: 'NA?'",
      traceback: `Traceback (most recent call last):
  File "<cell 12>", line 4, in clean
    table["dep_delay"] = table["dep_delay"].astype(float)
  File "/usr/lib/python3/site-packages/pandas/core/generic.py", line 6640, in astype
    new_data = self._mgr.astype(dtype=dtype, copy=copy, errors=errors)
ValueError: could not convert string to float: 'NA?'`,
      frames: [
        {
          file: "<cell 12>",
          line: 4,
          function: "clean",
          code: 'table["dep_delay"] = table["dep_delay"].astype(float)',
          mine: true,
          cell: 12,
        },
        {
          file: "/home/me/pipeline.py",
          line: 41,
          function: "parse",
          code: "    return [float(each) for each in column]",
          mine: true,
          cell: null,
        },
        {
          file: "/usr/lib/python3/site-packages/pandas/core/generic.py",
          line: 6640,
          function: "astype",
          code: "new_data = self._mgr.astype(dtype=dtype, copy=copy)",
          mine: false,
          cell: null,
        },
        {
          file: "/usr/lib/python3/site-packages/pandas/core/internals/managers.py",
          line: 430,
          function: "astype",
          code: "return self.apply(",
          mine: false,
          cell: null,
        },
      ],
    };
  }
}

export function fresh(): FakeState {
  return { status: Status.NOT_STARTED, attempt: 0, slot: NO_SLOT, started: Number.NaN, ended: Number.NaN };
}
