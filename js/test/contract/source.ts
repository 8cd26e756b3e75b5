// What every source promises, whatever it stands on. A new one is done when this passes.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Status } from "../../src/protocol.ts";
import type { Source } from "../../src/sources/source.ts";
import { FakeKernel } from "../fake.ts";
import { turns, until } from "../tools.ts";

export function contract(name: string, make: (kernel: FakeKernel) => Source): void {
  const start = (): { kernel: FakeKernel; source: Source } => {
    const nodes = Array.from({ length: 12 }, (_, at) => ({ name: `n-${at}`, group: "n", parents: at ? [0] : [] }));
    const kernel = new FakeKernel(nodes);
    return { kernel, source: make(kernel) };
  };
  const opened = async (): Promise<{ kernel: FakeKernel; source: Source }> => {
    const both = start();
    both.source.open();
    await until(() => both.source.store.names !== null && both.source.store.children !== null, "the opening");
    return both;
  };
  const resyncs = (kernel: FakeKernel): number =>
    new Set(kernel.requests.filter((each) => each.kind === "resync").map((each) => each.id)).size;

  test(`${name}: nothing is asked before it is opened, and it opens once`, async () => {
    const { kernel, source } = start();
    assert.equal(kernel.requests.length, 0);
    assert.equal(source.connection.state, "connecting");
    source.open();
    source.open();
    await until(() => source.store.picture !== null);
    assert.equal(new Set(kernel.requests.filter((each) => each.kind === "open").map((each) => each.id)).size, 1);
    assert.equal(source.connection.state, "live");
    source.close();
  });

  test(`${name}: changes arrive`, async () => {
    const { kernel, source } = await opened();
    kernel.patch([{ index: 3, status: Status.RUNNING, attempt: 1, started: 0 }]);
    assert.equal(source.store.counts[Status.RUNNING], 1);
    source.close();
  });

  test(`${name}: a gap asks once for everything, and all is right again`, async () => {
    const { kernel, source } = await opened();
    kernel.isAnswering = false;
    kernel.patch([{ index: 1, status: Status.FAILED, attempt: 1 }], false);
    for (let at = 2; at < 8; at++) kernel.patch([{ index: at, status: Status.RUNNING, attempt: 1 }]);
    await turns();
    assert.equal(resyncs(kernel), 1);
    await kernel.sendPicture();
    await until(() => source.store.revision === kernel.revision);
    assert.equal(source.store.counts[Status.FAILED], 1);
    assert.equal(source.store.counts[Status.RUNNING], 6);
    source.close();
  });

  test(`${name}: what is repeated changes nothing`, async () => {
    const { kernel, source } = await opened();
    kernel.patch([{ index: 3, status: Status.COMPLETED, attempt: 1 }]);
    await kernel.sendPicture();
    await turns();
    assert.equal(source.store.counts[Status.COMPLETED], 1);
    assert.equal(resyncs(kernel), 0);
    source.close();
  });

  test(`${name}: an action is answered once, refused ones too`, async () => {
    const { kernel, source } = await opened();
    kernel.acted = () => ({ ok: false, message: "Node 'n-1' is running.", count: 0 });
    const pending = await source.act("retry", [1]);
    assert.equal(pending.state, "refused");
    assert.equal(pending.message, "Node 'n-1' is running.");
    kernel.message({ type: "ack", id: pending.id, ok: true, message: "late", count: 1 });
    assert.equal(pending.state, "refused");
    source.close();
  });

  test(`${name}: a question gets its own answer, late and foreign ones are dropped`, async () => {
    const { kernel, source } = await opened();
    kernel.isAnswering = false;
    const life = new AbortController();
    const first = source.ask("node", 1, life.signal);
    const second = source.ask("node", 2);
    const [one, two] = kernel.requests
      .filter((each) => each.kind === "node")
      .filter((each, at, all) => all.findIndex((other) => other.id === each.id) === at);
    life.abort();
    await assert.rejects(first, { name: "AbortError" });
    kernel.message({ type: "reply", id: one?.id, body: { late: true }, error: null });
    kernel.message({ type: "reply", id: "somebody else's", body: {}, error: null });
    kernel.message({ type: "reply", id: two?.id, body: { index: 2 }, error: null });
    assert.deepEqual(await second, { index: 2 });
    const third = source.ask("node", 3);
    const last = kernel.requests.filter((each) => each.kind === "node").at(-1);
    kernel.message({ type: "reply", id: last?.id, body: null, error: "no such node" });
    await assert.rejects(third, /no such node/);
    source.close();
  });

  test(`${name}: closing refuses what is open and leaves nothing behind`, async () => {
    const { kernel, source } = await opened();
    kernel.isAnswering = false;
    const asked = source.ask("node", 1);
    const acted = source.act("retry", [1]);
    source.close();
    await assert.rejects(asked);
    assert.equal((await acted).state, "refused");
    assert.equal(kernel.listenerCount, 0);
    kernel.patch([{ index: 3, status: Status.RUNNING, attempt: 1 }]);
    assert.equal(source.store.counts[Status.RUNNING], 0);
    source.close();
  });

  test(`${name}: closing while the picture is on its way is quiet`, async () => {
    const { source } = start();
    source.open();
    source.close();
    await turns();
    assert.equal(source.connection.state, "connecting");
  });
}
