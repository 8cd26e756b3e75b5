// A kernel behind a widget's comm, and its control channel where the host gives it away.
//
// **Guarantees.** Each request goes out once per channel under one id; the first answer counts, later ones are dropped.
// At most one `resync` is unanswered; the next one waits, twice as long each time. After `close` no timer, listener or
// promise of it is left.
import { Store } from "../model/store.ts";
import { say } from "../model/words.ts";
import {
  type Ack,
  type Action,
  type Beat,
  BUSY_S,
  type CodePart,
  type ColumnChunk,
  CONTROL_REPLY,
  CONTROL_TYPE,
  type LogAsk,
  type LogLines,
  type LogPush,
  type PatchHead,
  type Picture,
  QUIET_S,
  type Question,
  type Reply,
  type Request,
} from "../protocol.ts";
import type { Carrier } from "./code.ts";
import type { Connection, ConnectionState, Pending, Source } from "./source.ts";

/** What is needed of anywidget's model. */
export interface CommModel {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  on(name: string, callback: (...values: never[]) => void): void;
  off(name: string, callback?: (...values: never[]) => void): void;
  send(content: unknown, callbacks?: unknown, buffers?: unknown): void;
  widget_manager?: unknown;
}

interface Signal {
  connect(slot: (sender: unknown, value: unknown) => void): unknown;
  disconnect(slot: (sender: unknown, value: unknown) => void): unknown;
}

interface Kernel {
  clientId?: string;
  status?: string;
  connectionStatus?: string;
  statusChanged?: Signal;
  connectionStatusChanged?: Signal;
  sendControlMessage?(message: unknown, expectReply?: boolean, disposeOnDone?: boolean): unknown;
}

interface Asked {
  resolve(body: Record<string, unknown>): void;
  reject(error: Error): void;
}

type Incoming = CodePart | Picture | ColumnChunk | PatchHead | Beat | Ack | Reply | LogPush;

const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30_000;
const NOBODY_MS = 6000;
const KEEP_DONE_MS = 4000;
const KEEP_REFUSED_MS = 12_000;
const TICK_MS = 500;
const GONE = new Set(["dead", "terminating", "unknown"]);
const RESTARTING = new Set(["restarting", "autorestarting", "starting"]);

export class CommSource implements Source {
  readonly store: Store;
  readonly connection: Connection = { state: "connecting", heard: 0, since: Date.now(), why: "none" };
  readonly pending: Pending[] = [];

  private readonly model: CommModel;
  private readonly life = new AbortController();
  private readonly listeners = new Set<() => void>();
  private readonly questions = new Map<string, Asked>();
  private readonly waiters = new Map<string, (pending: Pending) => void>();
  private readonly visible = new Map<string, boolean>();
  private readonly followers = new Map<string, { log: LogAsk; hear: (lines: LogLines) => void }>();
  private readonly coders = new Set<(part: CodePart, buffers: readonly DataView[]) => void>();
  private readonly seenKernels = new WeakSet<object>();
  private openedAt = 0;
  private wait = FIRST_WAIT_MS;
  private nextResync = 0;
  private isResyncing = false;
  private resyncTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(model: CommModel, store = new Store()) {
    this.model = model;
    this.store = store;
    const receive = (content: Incoming, buffers: readonly (DataView | ArrayBuffer | ArrayBufferView)[]): void => {
      this.receive(content, (buffers ?? []).map(toView));
    };
    this.listen("msg:custom", receive);
    this.listen("comm:close", () => this.detach("closed"));
    this.listen("destroy", () => this.detach("closed"));
    this.listen("comm_live_update", () => this.probe());
    this.listen("change:first", () => this.takeFirst());
    this.takeFirst();
    const timer = setInterval(() => this.tick(), TICK_MS);
    this.signal.addEventListener("abort", () => clearInterval(timer), { once: true });
  }

  get signal(): AbortSignal {
    return this.life.signal;
  }

  subscribe(listener: () => void, signal: AbortSignal): void {
    if (signal.aborted || this.signal.aborted) return;
    this.listeners.add(listener);
    signal.addEventListener("abort", () => this.listeners.delete(listener), { once: true });
  }

  open(): void {
    if (this.openedAt > 0 || this.signal.aborted) return;
    this.openedAt = Date.now();
    this.watchKernel();
    this.sendBoth({ id: makeId(), kind: "open" });
    this.nextResync = Date.now() + this.wait;
  }

  /** The picture that was written into the model, if one was: read before there is a view, and drawn while the kernel is
   * asked. It is of an epoch before all others, so whatever is heard takes its place. Forgotten at once, as it must not
   * be saved into the notebook. */
  private takeFirst(): void {
    const first = this.model.get("first") as { content: Picture; buffers: readonly DataView[] } | null | undefined;
    if (!first) return;
    this.model.set("first", null);
    this.apply(first.content, first.buffers.map(toView));
  }

  act(action: Action, nodes: readonly number[]): Promise<Pending> {
    const pending: Pending = {
      id: makeId(),
      action,
      nodes: [...nodes],
      asked: Date.now(),
      state: "requested",
      message: "",
      count: 0,
      answered: 0,
      isWithdrawn: false,
    };
    this.pending.push(pending);
    if (this.connection.state === "detached" || this.signal.aborted) {
      this.answer(pending, false, say("connection.cannot"), 0);
      return Promise.resolve(pending);
    }
    const answered = new Promise<Pending>((resolve) => this.waiters.set(pending.id, resolve));
    this.sendBoth({ id: pending.id, kind: action, nodes: [...nodes], asked: this.store.now() });
    const timer = setTimeout(() => {
      if (pending.state !== "requested") return;
      pending.state = "busy";
      this.changed();
    }, BUSY_S * 1000);
    this.changed();
    return answered.finally(() => clearTimeout(timer));
  }

  withdraw(pending: Pending): void {
    if (pending.answered > 0 || this.signal.aborted) return;
    this.sendBoth({ id: makeId(), kind: "withdraw", of: pending.id });
    pending.isWithdrawn = true;
    this.answer(pending, true, say("actions.withdrawn"), 0);
  }

  ask(question: Question, node: number, signal?: AbortSignal, log?: LogAsk): Promise<Record<string, unknown>> {
    if (this.connection.state === "detached" || this.signal.aborted)
      return Promise.reject(new Error(say("connection.cannot")));
    const id = makeId();
    const asked = new Promise<Record<string, unknown>>((resolve, reject) => {
      this.questions.set(id, { resolve, reject });
    });
    const giveUp = (): void => {
      const question = this.questions.get(id);
      this.questions.delete(id);
      question?.reject(new DOMException("aborted", "AbortError"));
    };
    // The signal may be there for as long as the graph is, and asked with a thousand times.
    signal?.addEventListener("abort", giveUp, { once: true });
    if (signal?.aborted) giveUp();
    else this.sendBoth({ id, kind: question, nodes: [node], ...(log && { log }) });
    return asked.finally(() => signal?.removeEventListener("abort", giveUp));
  }

  follow(view: string, log: LogAsk, hear: (lines: LogLines) => void, signal: AbortSignal): void {
    const isNew = !this.followers.has(view);
    this.followers.set(view, { log, hear });
    this.sendBoth({ id: makeId(), kind: "log_follow", view, log });
    if (!isNew) return;
    const end = (): void => {
      this.followers.delete(view);
      if (!this.signal.aborted) this.sendBoth({ id: makeId(), kind: "log_follow", view, log: null });
    };
    signal.addEventListener("abort", end, { once: true });
  }

  /** What the second part of the bundle is fetched by. */
  carrier(): Carrier {
    return {
      send: (request) => this.sendBoth(request),
      listen: (hear, signal) => {
        this.coders.add(hear);
        signal.addEventListener("abort", () => this.coders.delete(hear), { once: true });
      },
      watch: (gone, signal) => this.subscribe(() => this.connection.state === "detached" && gone(), signal),
      canAsk: () => this.connection.state !== "detached",
    };
  }

  setVisible(view: string, isVisible: boolean): void {
    if (this.visible.get(view) === isVisible) return;
    this.visible.set(view, isVisible);
    if (this.connection.state !== "detached") {
      this.sendBoth({ id: makeId(), kind: "visible", view, visible: isVisible });
    }
  }

  /** The view is gone for good. */
  forget(view: string): void {
    if (!this.visible.has(view)) return;
    this.setVisible(view, false);
    this.visible.delete(view);
  }

  refresh(): void {
    this.wait = FIRST_WAIT_MS;
    this.nextResync = 0;
    this.isResyncing = false;
    this.resync();
  }

  stopArranging(): void {
    this.sendBoth({ id: makeId(), kind: "plain" });
  }

  tidy(): void {
    this.sendBoth({ id: makeId(), kind: "tidy" });
  }

  close(): void {
    if (this.signal.aborted) return;
    this.refuseAll(say("connection.closed"));
    this.life.abort();
    clearTimeout(this.resyncTimer);
    this.listeners.clear();
  }

  // --- from the kernel -----------------------------------------------------------------------------------------

  private receive(content: Incoming, buffers: readonly DataView[]): void {
    if (this.signal.aborted || typeof content !== "object" || content === null) return;
    this.heard();
    switch (content.type) {
      case "ack":
        this.receiveAck(content);
        return;
      case "reply":
        this.receiveReply(content);
        return;
      case "code":
        for (const hear of [...this.coders]) hear(content, buffers);
        return;
      case "log":
        for (const [view, lines] of Object.entries(content.views)) this.followers.get(view)?.hear(lines);
        return;
      case "picture":
      case "columns":
      case "patch":
      case "beat":
        this.apply(content, buffers);
        return;
      default:
      // A newer kernel says something that this page does not know: it reads what it can.
    }
  }

  private apply(message: Picture | ColumnChunk | PatchHead | Beat, buffers: readonly DataView[]): void {
    const applied = this.store.receive(message, buffers);
    const then = (result: string): void => {
      if (this.signal.aborted) return;
      if (message.type === "picture" && result === "ok") this.synced();
      if (result === "gap") this.resync();
    };
    if (typeof applied === "string") then(applied);
    else
      applied.then(then, (error: unknown) => {
        console.warn("tiledag: a message could not be read", error);
        if (!this.signal.aborted) this.resync();
      });
  }

  private receiveAck(ack: Ack): void {
    const pending = this.pending.find((each) => each.id === ack.id);
    // What was withdrawn too late was done all the same.
    const isLate = pending?.isWithdrawn && ack.ok;
    if (pending && (pending.answered === 0 || isLate)) this.answer(pending, ack.ok, ack.message, ack.count);
  }

  private receiveReply(reply: Reply): void {
    const question = this.questions.get(reply.id);
    if (!question) return;
    this.questions.delete(reply.id);
    if (reply.body !== null && reply.error == null) question.resolve(reply.body);
    else question.reject(new Error(reply.error ?? say("connection.no_answer")));
  }

  private answer(pending: Pending, isOk: boolean, message: string, count: number): void {
    pending.state = isOk ? "done" : "refused";
    pending.message = message;
    pending.count = count;
    pending.answered = Date.now();
    this.waiters.get(pending.id)?.(pending);
    this.waiters.delete(pending.id);
    this.changed();
  }

  private refuseAll(message: string): void {
    for (const pending of this.pending) if (pending.answered === 0) this.answer(pending, false, message, 0);
    for (const question of this.questions.values()) question.reject(new Error(message));
    this.questions.clear();
  }

  // --- revisions -----------------------------------------------------------------------------------------------

  private synced(): void {
    this.isResyncing = false;
    this.wait = FIRST_WAIT_MS;
    this.nextResync = 0;
    clearTimeout(this.resyncTimer);
    this.resyncTimer = undefined;
  }

  /** One at a time; again only after a wait that doubles. */
  private resync(): void {
    if (this.connection.state === "detached" || this.openedAt === 0) return;
    const now = Date.now();
    if (this.isResyncing && now < this.nextResync) {
      this.resyncTimer ??= setTimeout(() => {
        this.resyncTimer = undefined;
        if (this.isResyncing) this.resync();
      }, this.nextResync - now);
      return;
    }
    this.isResyncing = true;
    this.nextResync = now + this.wait;
    this.wait = Math.min(LONGEST_WAIT_MS, this.wait * 2);
    this.sendBoth({ id: makeId(), kind: "resync" });
    this.resyncTimer = setTimeout(() => {
      this.resyncTimer = undefined;
      if (this.isResyncing) this.resync();
    }, this.nextResync - now);
  }

  // --- connection ----------------------------------------------------------------------------------------------

  private heard(): void {
    this.connection.heard = Date.now();
    this.setState(this.model.get("auto_update") === false ? "still" : "live", "none");
  }

  private setState(state: ConnectionState, why: Connection["why"]): void {
    if (this.connection.state === state && this.connection.why === why) return;
    this.connection.state = state;
    this.connection.why = why;
    this.connection.since = Date.now();
    this.changed();
  }

  private detach(why: Connection["why"]): void {
    if (this.connection.state === "detached") return;
    this.setState("detached", why);
    clearTimeout(this.resyncTimer);
    this.resyncTimer = undefined;
    this.isResyncing = false;
    this.refuseAll(say("connection.cannot"));
  }

  /** The host says that the comm lives, or that it does not, but not which: ask. */
  private probe(): void {
    if (this.openedAt === 0 || this.signal.aborted) return;
    const kernel = this.kernel();
    if (kernel?.connectionStatus === "disconnected") this.detach("lost");
    else if (kernel?.status && GONE.has(kernel.status)) this.detach("gone");
    else if (this.connection.state === "detached" && this.connection.why !== "restarted") this.comeBack();
  }

  /** After a lost connection the kernel may be the same one: ask for everything, and let the answer tell. */
  private comeBack(): void {
    this.wait = FIRST_WAIT_MS;
    this.sendBoth({ id: makeId(), kind: "resync" });
    for (const [view, { log }] of this.followers) this.sendBoth({ id: makeId(), kind: "log_follow", view, log });
    for (const [view, isVisible] of this.visible) {
      this.sendBoth({ id: makeId(), kind: "visible", view, visible: isVisible });
    }
  }

  private watchKernel(): void {
    const kernel = this.kernel();
    if (!kernel || this.seenKernels.has(kernel)) return;
    this.seenKernels.add(kernel);
    const status = (_: unknown, value: unknown): void => {
      if (RESTARTING.has(String(value)) && String(value) !== "starting") this.detach("restarted");
      else if (GONE.has(String(value)) && String(value) !== "unknown") this.detach("gone");
    };
    const connection = (_: unknown, value: unknown): void => {
      if (value === "disconnected" || value === "connecting") this.detach("lost");
      else if (value === "connected" && this.connection.state === "detached" && this.connection.why === "lost")
        this.comeBack();
    };
    this.connect(kernel.statusChanged, status);
    this.connect(kernel.connectionStatusChanged, connection);
  }

  private connect(signal: Signal | undefined, slot: (sender: unknown, value: unknown) => void): void {
    if (typeof signal?.connect !== "function") return;
    signal.connect(slot);
    this.signal.addEventListener("abort", () => signal.disconnect(slot), { once: true });
  }

  private kernel(): Kernel | null {
    const manager = this.model.widget_manager;
    if (typeof manager !== "object" || manager === null) return null;
    try {
      const kernel = (manager as { kernel?: unknown }).kernel;
      return typeof kernel === "object" && kernel !== null ? (kernel as Kernel) : null;
    } catch {
      return null;
    }
  }

  private graph(): string {
    return this.store.picture?.graph_id ?? String(this.model.get("graph_id") ?? "");
  }

  private tick(): void {
    const now = Date.now();
    const before = this.pending.length;
    for (let index = before - 1; index >= 0; index--) {
      const each = this.pending[index];
      if (!each || each.answered === 0) continue;
      if (now - each.answered > (each.state === "done" ? KEEP_DONE_MS : KEEP_REFUSED_MS)) this.pending.splice(index, 1);
    }
    if (this.pending.length !== before) this.changed();
    if (this.openedAt === 0 || this.connection.state === "detached") return;
    if (this.connection.heard === 0) this.tickBeforeFirst(now);
    else if (this.isRunActive() && this.isSeen() && now - this.connection.heard > QUIET_S * 1000)
      this.setState("quiet", "none");
    else if (this.connection.state === "quiet" && !this.isRunActive()) this.setState("live", "none");
  }

  private tickBeforeFirst(now: number): void {
    if (now - this.openedAt > NOBODY_MS && this.kernel() === null) this.detach("gone");
    else if (now > this.nextResync) {
      this.wait = Math.min(LONGEST_WAIT_MS, this.wait * 2);
      this.nextResync = now + this.wait;
      this.watchKernel();
      this.sendBoth({ id: makeId(), kind: "open" });
    }
  }

  private isSeen(): boolean {
    return [...this.visible.values()].some(Boolean);
  }

  private isRunActive(): boolean {
    const run = this.store.run;
    return run !== null && run.started !== null && !run.is_ended && this.model.get("auto_update") !== false;
  }

  // --- to the kernel -------------------------------------------------------------------------------------------

  private sendBoth(request: Request): void {
    const named = { ...request, graph: this.graph() };
    this.sendControl(named);
    this.sendComm(named);
  }

  private sendComm(request: Request): void {
    try {
      this.model.send(request);
    } catch (error) {
      console.warn("tiledag: the kernel could not be reached", error);
    }
  }

  private sendControl(request: Request): void {
    const kernel = this.kernel();
    if (typeof kernel?.sendControlMessage !== "function") return;
    this.watchKernel();
    const header = {
      msg_id: makeId(),
      username: "",
      session: kernel.clientId ?? "",
      date: new Date().toISOString(),
      msg_type: CONTROL_TYPE,
      version: "5.3",
    };
    const message = { header, parent_header: {}, metadata: {}, content: request, channel: "control", buffers: [] };
    try {
      const future = kernel.sendControlMessage(message, true, true) as
        | { onReply?: unknown; done?: Promise<unknown> }
        | undefined;
      if (!future) return;
      future.onReply = (reply: unknown) => this.receiveControl(reply);
      future.done?.catch?.(() => undefined);
    } catch (error) {
      console.debug("tiledag: the control channel is closed", error);
    }
  }

  private receiveControl(reply: unknown): void {
    const { header, content } = (reply ?? {}) as { header?: { msg_type?: string }; content?: Incoming };
    if (header?.msg_type !== CONTROL_REPLY || typeof content !== "object" || this.signal.aborted) return;
    if (content.type === "ack" || content.type === "reply") this.receive(content, []);
  }

  private listen(name: string, callback: (...values: never[]) => void): void {
    this.model.on(name, callback);
    this.signal.addEventListener("abort", () => this.model.off(name, callback), { once: true });
  }

  private changed(): void {
    for (const listener of [...this.listeners]) listener();
  }
}

/** 128 random bits. `crypto.randomUUID` is not there on plain-http hubs. */
export function makeId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export function toView(buffer: DataView | ArrayBuffer | ArrayBufferView): DataView {
  if (buffer instanceof ArrayBuffer) return new DataView(buffer);
  return new DataView(buffer.buffer as ArrayBuffer, buffer.byteOffset, buffer.byteLength);
}
