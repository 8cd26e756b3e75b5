import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { Store } from "../src/model/store.ts";
import { CONTROL_REPLY, CONTROL_TYPE, type Request, Status } from "../src/protocol.ts";
import { CommSource } from "../src/sources/comm.ts";
import { contract } from "./contract/source.ts";
import { FakeKernel } from "./fake.ts";
import { AT_ONCE, until } from "./tools.ts";

const make = (kernel: FakeKernel): CommSource => new CommSource(kernel, new Store(AT_ONCE));

contract("comm", make);

interface Sent {
  header: { msg_type: string };
  content: Request;
}

/** A kernel handle as JupyterLab gives it away. */
class Handle {
  clientId = "client";
  status = "idle";
  connectionStatus = "connected";
  readonly sent: Sent[] = [];
  readonly futures: { onReply?: (reply: unknown) => void; done: Promise<unknown> }[] = [];
  readonly statusChanged = new Signal();
  readonly connectionStatusChanged = new Signal();

  sendControlMessage(message: unknown): unknown {
    this.sent.push(message as Sent);
    const future = { done: Promise.resolve() };
    this.futures.push(future);
    return future;
  }
}

class Signal {
  readonly slots = new Set<(sender: unknown, value: unknown) => void>();
  connect(slot: (sender: unknown, value: unknown) => void): void {
    this.slots.add(slot);
  }
  disconnect(slot: (sender: unknown, value: unknown) => void): void {
    this.slots.delete(slot);
  }
  emit(value: unknown): void {
    for (const slot of [...this.slots]) slot(this, value);
  }
}

async function withHandle(): Promise<{ kernel: FakeKernel; handle: Handle; source: CommSource }> {
  const kernel = new FakeKernel(
    Array.from({ length: 3 }, (_, at) => ({ name: `n-${at}`, group: `g-${at}`, parents: [] })),
  );
  const handle = new Handle();
  kernel.widget_manager = { kernel: handle };
  const source = make(kernel);
  source.open();
  await until(() => source.store.names !== null);
  return { kernel, handle, source };
}

test("requests go out on both channels under one id, with the graph's name", async () => {
  const { kernel, handle, source } = await withHandle();
  await source.act("retry_failed", []);

  for (const kind of ["open", "retry_failed"]) {
    const control = handle.sent.find((each) => each.content.kind === kind);
    const comm = kernel.requests.find((each) => each.kind === kind);
    assert.equal(control?.header.msg_type, CONTROL_TYPE);
    assert.equal(control?.content.id, comm?.id);
    assert.equal(control?.content.graph, "graph-1");
  }
  source.close();
  assert.equal(handle.statusChanged.slots.size, 0);
  assert.equal(handle.connectionStatusChanged.slots.size, 0);
});

test("the picture that came with the model is shown before the kernel answers, once", async () => {
  const kernel = new FakeKernel(
    Array.from({ length: 3 }, (_, at) => ({ name: `n-${at}`, group: `g-${at}`, parents: [] })),
  );
  await kernel.bringFirst();
  kernel.isAnswering = false;
  const source = make(kernel);
  source.open();
  assert.equal(kernel.get("first"), null);
  await until(() => source.store.total === 3);

  assert.equal(source.store.epoch, 0);
  assert.equal(source.connection.state, "connecting");
  assert.equal(source.store.names, null);
  kernel.states[1] = { ...kernel.states[1], status: Status.COMPLETED } as (typeof kernel.states)[number];
  await kernel.sendPicture();
  await until(() => source.store.names !== null);
  assert.equal(source.store.epoch, 1);
  assert.equal(source.store.status[1], Status.COMPLETED);
  source.close();
});

test("a picture that is written into the model later is read before there is a view", async () => {
  const kernel = new FakeKernel([{ name: "n", group: "g", parents: [] }]);
  kernel.isAnswering = false;
  const source = make(kernel);
  await kernel.bringFirst();
  kernel.emit("change:first");
  await until(() => source.store.total === 1);

  assert.equal(kernel.get("first"), null);
  assert.equal(kernel.requests.length, 0);
  source.open();
  assert.deepEqual(
    kernel.requests.map((each) => each.kind),
    ["open"],
  );
  source.close();
  assert.equal(kernel.listenerCount, 0);
});

test("an acknowledgement on the control channel is enough", async () => {
  const { kernel, handle, source } = await withHandle();
  kernel.isAnswering = false;
  const acted = source.act("cancel", [1]);
  const { id } = handle.sent.at(-1)?.content ?? {};
  const reply = {
    header: { msg_type: CONTROL_REPLY },
    content: { type: "ack", id, ok: true, message: "1 node will not start", count: 1 },
  };
  handle.futures.at(-1)?.onReply?.({ header: { msg_type: CONTROL_REPLY }, content: { id, queued: true } });
  assert.equal(source.pending.at(-1)?.state, "requested");
  handle.futures.at(-1)?.onReply?.(reply);

  assert.equal((await acted).state, "done");
  source.close();
});

test("without an answer within a second the kernel is busy; the answer still counts", async () => {
  const { kernel, source } = await withHandle();
  kernel.isAnswering = false;
  mock.timers.enable({ apis: ["setTimeout"] });
  const acted = source.act("retry", [1]);
  mock.timers.tick(999);
  assert.equal(source.pending[0]?.state, "requested");
  mock.timers.tick(2);
  assert.equal(source.pending[0]?.state, "busy");
  mock.timers.reset();
  kernel.message({ type: "ack", id: source.pending[0]?.id, ok: true, message: "", count: 1 });

  assert.equal((await acted).state, "done");
  source.close();
});

test("a request that waits for a busy kernel can be withdrawn, on both channels", async () => {
  const { kernel, handle, source } = await withHandle();
  kernel.isAnswering = false;
  const acted = source.act("cancel", [1]);
  const pending = source.pending[0];
  assert.ok(pending);
  source.withdraw(pending);

  assert.equal((await acted).message, "Withdrawn.");
  const sent = [kernel.requests.at(-1), handle.sent.at(-1)?.content];
  for (const request of sent) assert.deepEqual([request?.kind, request?.of], ["withdraw", pending.id]);
  kernel.message({ type: "ack", id: pending.id, ok: false, message: "Withdrawn.", count: 0 });
  assert.equal(pending.state, "done");
  kernel.message({ type: "ack", id: pending.id, ok: true, message: "1 node will not start.", count: 1 });
  assert.equal(pending.message, "1 node will not start.");
  source.close();
});

test("a restarted kernel detaches: what is open is refused, buttons say why", async () => {
  const { kernel, handle, source } = await withHandle();
  kernel.isAnswering = false;
  const acted = source.act("retry", [1]);
  handle.statusChanged.emit("restarting");

  assert.equal(source.connection.state, "detached");
  assert.equal(source.connection.why, "restarted");
  assert.equal((await acted).state, "refused");
  assert.equal((await source.act("retry", [1])).state, "refused");
  await assert.rejects(source.ask("node", 1));
  source.close();
});

test("a lost connection comes back with everything asked for anew", async () => {
  const { kernel, handle, source } = await withHandle();
  handle.connectionStatusChanged.emit("disconnected");
  assert.equal(source.connection.why, "lost");
  kernel.patch([{ index: 0, status: Status.RUNNING, attempt: 1 }], false);
  handle.connectionStatusChanged.emit("connected");

  await until(() => source.connection.state === "live" && source.store.revision === kernel.revision);
  assert.equal(source.store.counts[Status.RUNNING], 1);
  source.close();
});

test("an unanswered resync is repeated, ever more rarely", async () => {
  const { kernel, source } = await withHandle();
  kernel.isAnswering = false;
  mock.timers.enable({ apis: ["setTimeout", "Date"], now: Date.now() });
  const count = (): number => kernel.requests.filter((each) => each.kind === "resync").length;
  kernel.message({ type: "beat", epoch: 1, revision: 99, progress: [] });
  const seen = [count()];
  for (let second = 0; second < 16; second++) {
    mock.timers.tick(1000);
    kernel.message({ type: "beat", epoch: 1, revision: 99, progress: [] });
    seen.push(count());
  }
  mock.timers.reset();
  source.close();

  assert.equal(seen[0], 1);
  assert.ok((seen.at(-1) ?? 0) >= 4 && (seen.at(-1) ?? 0) <= 5, `asked ${seen.join()}`);
});

test("an active run that says nothing for six seconds is quiet, until it speaks", async () => {
  mock.timers.enable({ apis: ["setInterval", "Date"], now: Date.now() });
  const kernel = new FakeKernel([{ name: "a", group: "a", parents: [] }]);
  kernel.startedAt = Date.now() / 1000;
  const source = make(kernel);
  source.setVisible("view", true);
  source.open();
  while (source.store.names === null || source.store.children === null) await new Promise(setImmediate);
  mock.timers.tick(5500);
  const early = source.connection.state;
  mock.timers.tick(1500);
  const late = source.connection.state;
  kernel.message({ type: "beat", epoch: 1, revision: source.store.revision, progress: [] });
  const spoken = source.connection.state;
  mock.timers.reset();
  source.close();

  assert.deepEqual([early, late, spoken], ["live", "quiet", "live"]);
});

test("buffers may be views, arrays or buffers", async () => {
  const { kernel, source } = await withHandle();
  const head = { type: "patch", epoch: 1, since: 1, revision: 2, encoding: "raw", run: null };
  kernel.emit("msg:custom", head, [new ArrayBuffer(16)]);
  assert.equal(source.store.revision, 2);
  source.close();
});

test("a kernel that cannot be reached does not throw", async () => {
  const { kernel, source } = await withHandle();
  kernel.send = () => {
    throw new Error("comm closed");
  };
  const warn = mock.method(console, "warn", () => undefined);
  source.setVisible("view", true);
  warn.mock.restore();
  source.close();
});
