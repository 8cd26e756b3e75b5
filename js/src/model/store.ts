// The graph as the page knows it: columns of numbers, kept up to date by pictures, columns and patches.
//
// **Guarantees.** Messages are applied in the order they came, although inflating takes turns of the event loop. A
// message that was applied once changes nothing when it comes again. `revision` never goes back within an epoch. One
// change signal a frame, however many messages came.
import {
  type Beat,
  type ColumnChunk,
  type NodeRecord,
  NO_SLOT,
  type PatchHead,
  type Picture,
  RECORD_SIZE,
  readRecord,
  type Run,
} from "../protocol.ts";
import { recordOf } from "./columns.ts";

export const STATUS_COUNT = 7;

/** What a change signal says has changed since the last one. */
export interface Changes {
  structure: boolean;
  statuses: boolean;
  names: boolean;
  edges: boolean;
  run: boolean;
}

/** What the sender of a message has to do: nothing, or ask for everything again. */
export type Applied = "ok" | "gap" | "ignored";

export type Message = Picture | ColumnChunk | PatchHead | Beat;
export type Schedule = (run: () => void) => void;

/** Indices grouped by another one: those of `i` are `items[start[i]] .. items[start[i + 1] - 1]`. */
export interface Groups {
  start: Uint32Array;
  items: Uint32Array;
}

interface Parts {
  revision: number;
  parts: (Uint8Array | undefined)[];
}

const MOST_ASIDES = 8;
const NO_BYTES = new Uint8Array(0);
const NONE: Groups = { start: new Uint32Array(1), items: new Uint32Array(0) };

export class Store {
  picture: Picture | null = null;
  revision = -1;
  run: Run | null = null;
  total = 0;
  markCount = 0;
  /** Node -> mark. */
  markOf: Uint32Array = new Uint32Array(0);
  status: Uint8Array = new Uint8Array(0);
  attempt: Uint8Array = new Uint8Array(0);
  slot: Uint16Array = new Uint16Array(0);
  /** Seconds since the run's zero, NaN for not yet. */
  started: Float32Array = new Float32Array(0);
  ended: Float32Array = new Float32Array(0);
  /** Nodes by status number. */
  counts: Uint32Array = new Uint32Array(STATUS_COUNT);
  /** Nodes of a mark by status number: `markCounts[mark * STATUS_COUNT + status]`. */
  markCounts: Uint32Array = new Uint32Array(0);
  members: Groups = NONE;
  /** Null until it has come. */
  names: readonly string[] | null = null;
  /** The functions and stages, and which of them each node has; null where marks tell it. */
  groups: { readonly names: readonly string[]; readonly of: Uint32Array } | null = null;
  parents: Groups | null = null;
  children: Groups | null = null;
  /** Attempts before the present one, by node. */
  past = new Map<number, NodeRecord[]>();
  /** Columns that came because they were asked for, until they are taken. */
  readonly asides = new Map<number, Uint8Array>();
  /** How far running nodes say they are, in percents. */
  progress: ReadonlyMap<number, number> = new Map();
  /** Seconds since the run's zero where a moment of the past is shown, NaN for the present. */
  shownAt = Number.NaN;
  /** Seconds to add to the page's clock to get the kernel's. */
  clockOffset = 0;
  /** Why a node has not started, where more is to be said than usual; null else. */
  whyOf: ((node: number) => string) | null = null;
  /** What stands beside a node's name on its card; null for nothing. */
  tagOf: ((node: number) => string) | null = null;

  private touched: Float64Array = new Float64Array(0);
  private offsetKnown = Number.POSITIVE_INFINITY;
  private queue: Promise<unknown> | null = null;
  private readonly parts = new Map<string, Parts>();
  private readonly listeners = new Set<(changes: Changes) => void>();
  private pending: Changes | null = null;
  private readonly schedule: Schedule;

  constructor(schedule: Schedule = nextFrame) {
    this.schedule = schedule;
  }

  get epoch(): number {
    return this.picture?.epoch ?? -1;
  }

  /** Call `listener` once a frame in which something changed, until `signal` fires. */
  subscribe(listener: (changes: Changes) => void, signal: AbortSignal): void {
    if (signal.aborted) return;
    this.listeners.add(listener);
    signal.addEventListener("abort", () => this.listeners.delete(listener), { once: true });
  }

  /** Apply a message of the kernel. The answer comes when all earlier ones are applied. */
  receive(message: Message, buffers: readonly DataView[]): Applied | Promise<Applied> {
    const isAside = message.type === "columns" && message.column !== "records";
    if (isAside) return this.receiveAside(message, buffers);
    if (this.queue === null && !needsInflating(message, buffers)) return this.applyNow(message, buffers);
    const before = this.queue ?? Promise.resolve();
    const work = before.then(() => this.applyLater(message, buffers));
    const settled = work
      .catch(() => undefined)
      .then(() => {
        if (this.queue === settled) this.queue = null;
      });
    this.queue = settled;
    return work;
  }

  /** Name of a node, or of its mark while names have not come. */
  nameOf(node: number): string {
    const name = this.names?.[node];
    if (name !== undefined) return name;
    const mark = this.markOf[node] ?? 0;
    const own = this.picture?.marks.name[mark] ?? "";
    return this.picture?.marks.size[mark] === 1 ? own : `${own} #${node}`;
  }

  membersOf(mark: number): Uint32Array {
    return this.members.items.subarray(this.members.start[mark] ?? 0, this.members.start[mark + 1] ?? 0);
  }

  parentsOf(node: number): Uint32Array {
    return slice(this.parents, node);
  }

  childrenOf(node: number): Uint32Array {
    return slice(this.children, node);
  }

  /** Some nodes may be secret. */
  get hasSecrets(): boolean {
    return false;
  }

  /** What is known of the node by other ways is not to be shown: it would tell what the columns hide. */
  isSecret(_node: number): boolean {
    return false;
  }

  /** Where the present is, whatever is shown. */
  get present(): Store {
    return this;
  }

  /** Unix time of the kernel. */
  now(): number {
    return Date.now() / 1000 + this.clockOffset;
  }

  /** Seconds since the run's zero, by the kernel's clock. */
  runTime(): number {
    return this.run?.started == null ? Number.NaN : this.now() - this.run.started;
  }

  /** Seconds since the run's zero up to which there is something to show. */
  horizon(): number {
    const { run } = this;
    if (run?.started == null) return 0;
    return run.is_ended && run.ended !== null ? run.ended - run.started : Math.max(0, this.runTime());
  }

  /** Join the clocks: the message that took the shortest way tells the truth best. */
  heardTime(kernelNow: number, pageNow = Date.now() / 1000): void {
    const offset = pageNow - kernelNow;
    if (offset < this.offsetKnown) {
      this.offsetKnown = offset;
      this.clockOffset = -offset;
    }
  }

  private applyNow(message: Message, buffers: readonly DataView[]): Applied {
    if (message.type === "picture") return this.applyPicture(message, bytesOf(buffers[0]), bytesOf(buffers[1]));
    if (message.type === "beat") return this.applyBeat(message);
    if (message.type === "patch") return this.applyPatch(message, bytesOf(buffers[0]));
    return "ignored";
  }

  private async applyLater(message: Message, buffers: readonly DataView[]): Promise<Applied> {
    if (message.type === "picture") {
      const own = buffers.map(bytesOf);
      const [table = NO_BYTES, statuses = NO_BYTES, edges] = await Promise.all(
        own.map((bytes, at) => (at < 2 && message.encoding === "raw" ? bytes : inflate(bytes))),
      );
      const picture = edges ? { ...message, edges: JSON.parse(new TextDecoder().decode(edges)) } : message;
      return this.applyPicture(picture, table, statuses);
    }
    if (message.type === "columns") return this.applyRecordsPart(message, bytesOf(buffers[0]));
    if (message.type === "patch" && message.encoding === "deflate") {
      if (!this.isNext(message)) return this.verdict(message);
      return this.applyPatch(message, await inflate(bytesOf(buffers[0])));
    }
    return this.applyNow(message, buffers);
  }

  private applyPicture(picture: Picture, table: Uint8Array, statuses: Uint8Array): Applied {
    if (picture.epoch < this.epoch) return "ignored";
    if (picture.epoch === this.epoch && picture.revision < this.revision) return "ignored";
    const isSame = this.picture?.epoch === picture.epoch && this.total === picture.total;
    const isOther = this.picture?.graph_id !== picture.graph_id || picture.total < this.total;
    const total = picture.total;
    this.picture = picture;
    this.total = total;
    this.markCount = picture.marks.kind.length;
    this.markOf = toUint32(table, total);
    this.status = new Uint8Array(total).fill(1);
    this.status.set(statuses.subarray(0, total));
    this.revision = picture.revision;
    if (!isSame) {
      this.attempt = new Uint8Array(total);
      this.slot = new Uint16Array(total).fill(NO_SLOT);
      this.started = new Float32Array(total).fill(Number.NaN);
      this.ended = new Float32Array(total).fill(Number.NaN);
      this.touched = new Float64Array(total);
      this.past.clear();
      this.parts.clear();
      // Nodes are only ever added, so the names of a smaller graph still hold.
      if (isOther) this.names = null;
      this.groups = null;
      this.parents = null;
      this.children = null;
    }
    this.members = groupBy(this.markOf, this.markCount);
    this.count();
    this.setRun(picture.run);
    this.changed({ structure: true, statuses: true, run: true, names: !isSame, edges: !isSame });
    return "ok";
  }

  private applyPatch(head: PatchHead, records: Uint8Array): Applied {
    if (!this.isNext(head)) return this.verdict(head);
    const view = new DataView(records.buffer, records.byteOffset, records.byteLength);
    for (let at = 0; at + RECORD_SIZE <= records.byteLength; at += RECORD_SIZE) {
      this.applyRecord(readRecord(view, at), head.revision);
    }
    this.revision = head.revision;
    if (head.run) this.setRun(head.run);
    this.changed({ statuses: records.byteLength > 0, run: head.run !== null });
    return "ok";
  }

  private isNext(head: PatchHead): boolean {
    return head.epoch === this.epoch && head.since <= this.revision && head.revision >= this.revision;
  }

  private verdict(head: { epoch: number; revision: number }): Applied {
    if (head.epoch < this.epoch) return "ignored";
    return head.epoch === this.epoch && head.revision <= this.revision ? "ignored" : "gap";
  }

  private applyBeat(beat: Beat): Applied {
    const { progress } = beat;
    if (progress.length > 0 || this.progress.size > 0) {
      this.progress = new Map(progress.flatMap((node, at) => (at % 2 ? [] : [[node, progress[at + 1] ?? 0] as const])));
      this.changed({ statuses: true });
    }
    return this.verdict(beat);
  }

  private applyRecord(record: NodeRecord, revision: number): void {
    const node = record.index;
    if (node >= this.total || (this.touched[node] ?? 0) > revision) return;
    const before = this.status[node] ?? 0;
    const attemptBefore = this.attempt[node] ?? 0;
    if (record.attempt > attemptBefore && attemptBefore > 0 && !Number.isNaN(this.ended[node] ?? Number.NaN)) {
      this.remember(node);
    }
    this.touched[node] = revision;
    this.status[node] = record.status;
    this.attempt[node] = record.attempt;
    this.slot[node] = record.slot;
    this.started[node] = record.started;
    this.ended[node] = record.ended;
    if (before === record.status) return;
    const base = (this.markOf[node] ?? 0) * STATUS_COUNT;
    add(this.counts, before, -1);
    add(this.counts, record.status, 1);
    add(this.markCounts, base + before, -1);
    add(this.markCounts, base + record.status, 1);
  }

  private remember(node: number): void {
    const list = this.past.get(node) ?? [];
    const attempt = this.attempt[node] ?? 0;
    if (list.some((each) => each.attempt === attempt)) return;
    list.push(recordOf(this, node));
    this.past.set(node, list);
  }

  private async applyRecordsPart(chunk: ColumnChunk, part: Uint8Array): Promise<Applied> {
    const whole = this.collect(chunk, part);
    if (whole === null) return chunk.epoch > this.epoch ? "gap" : chunk.epoch < this.epoch ? "ignored" : "ok";
    const records = await inflate(whole);
    if (chunk.epoch !== this.epoch) return "ignored";
    const view = new DataView(records.buffer, records.byteOffset, records.byteLength);
    if (chunk.revision >= this.revision) {
      this.past.clear();
      this.attempt.fill(0);
    }
    for (let at = 0; at + RECORD_SIZE <= records.byteLength; at += RECORD_SIZE) {
      this.applyRecord(readRecord(view, at), chunk.revision);
    }
    this.revision = Math.max(this.revision, chunk.revision);
    this.changed({ statuses: true });
    return "ok";
  }

  private async receiveAside(chunk: ColumnChunk, buffers: readonly DataView[]): Promise<Applied> {
    const part = bytesOf(buffers[0]);
    if (chunk.column === "tape" || chunk.column === "file") return this.receiveAsked(chunk, part);
    // The picture that this belongs to may still be inflating.
    if (this.queue) await this.queue;
    const whole = this.collect(chunk, part);
    if (whole === null) return chunk.epoch > this.epoch ? "gap" : chunk.epoch < this.epoch ? "ignored" : "ok";
    const bytes = await inflate(whole);
    if (chunk.epoch !== this.epoch) return "ignored";
    if (chunk.column === "names") {
      const text = new TextDecoder().decode(bytes);
      this.names = this.total === 0 ? [] : text.split("\n");
      this.changed({ names: true });
    } else if (chunk.column === "groups") {
      this.groups = readGroups(bytes, this.total);
      this.changed({ names: true });
    } else {
      const pairs = toUint32(bytes, bytes.byteLength >> 2);
      const [parents, children] = unzip(pairs);
      this.parents = groupPairs(children, parents, this.total);
      this.children = groupPairs(parents, children, this.total);
      this.changed({ edges: true });
    }
    return "ok";
  }

  private async receiveAsked(chunk: ColumnChunk, part: Uint8Array): Promise<Applied> {
    const whole = this.join(`${chunk.column}${chunk.revision}`, chunk, part);
    if (whole === null) return "ok";
    this.asides.set(chunk.revision, await inflate(whole));
    // Another page may have asked for it: then nobody here takes it away.
    for (const number of [...this.asides.keys()].slice(0, -MOST_ASIDES)) this.asides.delete(number);
    this.changed({});
    return "ok";
  }

  /** The whole column when its last part has come, else null. Parts may come in any order, and twice. */
  private collect(chunk: ColumnChunk, part: Uint8Array): Uint8Array | null {
    return chunk.epoch === this.epoch ? this.join(chunk.column, chunk, part) : null;
  }

  private join(name: string, chunk: ColumnChunk, part: Uint8Array): Uint8Array | null {
    const known = this.parts.get(name);
    const isNew = !known || known.revision !== chunk.revision || known.parts.length !== chunk.of;
    const own = isNew ? { revision: chunk.revision, parts: new Array<Uint8Array | undefined>(chunk.of) } : known;
    if (isNew) this.parts.set(name, own);
    own.parts[chunk.part] = part;
    let size = 0;
    for (let index = 0; index < chunk.of; index++) {
      const each = own.parts[index];
      if (each === undefined) return null;
      size += each.byteLength;
    }
    this.parts.delete(name);
    const whole = new Uint8Array(size);
    let at = 0;
    for (const each of own.parts) {
      if (each) whole.set(each, at);
      at += each?.byteLength ?? 0;
    }
    return whole;
  }

  private count(): void {
    this.counts = new Uint32Array(STATUS_COUNT);
    this.markCounts = new Uint32Array(this.markCount * STATUS_COUNT);
    for (let node = 0; node < this.total; node++) {
      const status = this.status[node] ?? 0;
      add(this.counts, status, 1);
      add(this.markCounts, (this.markOf[node] ?? 0) * STATUS_COUNT + status, 1);
    }
  }

  private setRun(run: Run): void {
    this.run = run;
    this.heardTime(run.now);
  }

  protected changed(what: Partial<Changes>): void {
    const nothing = { structure: false, statuses: false, names: false, edges: false, run: false };
    const isFirst = this.pending === null;
    const pending: Changes = this.pending ?? nothing;
    for (const key of Object.keys(nothing) as (keyof Changes)[]) pending[key] ||= what[key] ?? false;
    this.pending = pending;
    if (isFirst) this.schedule(() => this.emit());
  }

  private emit(): void {
    const changes = this.pending;
    this.pending = null;
    if (changes) for (const listener of [...this.listeners]) listener(changes);
  }
}

function nextFrame(run: () => void): void {
  if (typeof requestAnimationFrame === "function" && !document.hidden) requestAnimationFrame(run);
  else setTimeout(run, 0);
}

function needsInflating(message: Message, buffers: readonly DataView[]): boolean {
  return (
    message.type === "columns" ||
    (message.type === "picture" && (message.encoding !== "raw" || buffers.length > 2)) ||
    (message.type === "patch" && message.encoding === "deflate")
  );
}

function add(column: Uint32Array, at: number, amount: number): void {
  column[at] = (column[at] ?? 0) + amount;
}

function slice(groups: Groups | null, at: number): Uint32Array {
  return groups ? groups.items.subarray(groups.start[at] ?? 0, groups.start[at + 1] ?? 0) : NONE.items;
}

/** Indices 0..n-1 grouped by their value in `keys`, each group in rising order. */
export function groupBy(keys: Uint32Array, groups: number): Groups {
  const items = new Uint32Array(keys.length);
  for (let index = 0; index < keys.length; index++) items[index] = index;
  return groupPairs(keys, items, groups);
}

/** `values` grouped by the key beside each. */
export function groupPairs(keys: Uint32Array, values: Uint32Array, groups: number): Groups {
  const start = new Uint32Array(groups + 1);
  for (const key of keys) if (key < groups) add(start, key + 1, 1);
  for (let group = 0; group < groups; group++) start[group + 1] = (start[group + 1] ?? 0) + (start[group] ?? 0);
  const next = start.slice();
  const items = new Uint32Array(start[groups] ?? 0);
  for (let index = 0; index < keys.length; index++) {
    const key = keys[index] ?? groups;
    if (key >= groups) continue;
    const at = next[key] ?? 0;
    items[at] = values[index] ?? 0;
    next[key] = at + 1;
  }
  return { start, items };
}

function unzip(pairs: Uint32Array): [Uint32Array, Uint32Array] {
  const half = pairs.length >> 1;
  const first = new Uint32Array(half);
  const second = new Uint32Array(half);
  for (let index = 0; index < half; index++) {
    first[index] = pairs[2 * index] ?? 0;
    second[index] = pairs[2 * index + 1] ?? 0;
  }
  return [first, second];
}

function toUint32(bytes: Uint8Array, length: number): Uint32Array {
  const numbers = new Uint32Array(length);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const most = Math.min(length, bytes.byteLength >> 2);
  for (let index = 0; index < most; index++) numbers[index] = view.getUint32(4 * index, true);
  return numbers;
}

function readGroups(bytes: Uint8Array, total: number): Store["groups"] {
  if (bytes.byteLength < 4) return null;
  const end = 4 + (toUint32(bytes, 1)[0] ?? 0);
  return {
    names: new TextDecoder().decode(bytes.subarray(4, end)).split("\n"),
    of: toUint32(bytes.subarray(end), total),
  };
}

function bytesOf(view: DataView | undefined): Uint8Array {
  return view ? new Uint8Array(view.buffer, view.byteOffset, view.byteLength) : NO_BYTES;
}

/** What zlib's `compress` made smaller, as it was. Nothing stays nothing. */
export async function inflate(bytes: Uint8Array): Promise<Uint8Array> {
  if (bytes.byteLength === 0) return bytes;
  const stream = new Blob([bytes.slice()]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
