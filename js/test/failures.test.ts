import assert from "node:assert/strict";
import { test } from "node:test";
import { asideOf } from "../src/model/aside.ts";
import { Store } from "../src/model/store.ts";
import { ERROR_CUT, Status } from "../src/protocol.ts";
import { CommSource } from "../src/sources/comm.ts";
import { Details } from "../src/views/details.ts";
import { failuresOf } from "../src/views/failures.ts";
import { deflate, FakeKernel } from "./fake.ts";
import { AT_ONCE, until } from "./tools.ts";

const SIZE = 40;

async function opened(signal: AbortSignal): Promise<{ kernel: FakeKernel; details: Details; store: Store }> {
  const kernel = new FakeKernel(
    Array.from({ length: SIZE }, (_, at) => ({ name: `n-${at}`, group: "g", parents: [] })),
  );
  const source = new CommSource(kernel, new Store(AT_ONCE));
  source.open();
  await until(() => source.store.names !== null);
  signal.addEventListener("abort", () => source.close());
  return { kernel, details: new Details(source, signal), store: source.store };
}

const asked = (kernel: FakeKernel): number => kernel.requests.filter(({ kind }) => kind === "errors").length;

test("the errors of all failed nodes come with one question", async (t) => {
  const life = new AbortController();
  t.after(() => life.abort());
  const { kernel, details, store } = await opened(life.signal);
  const failed = [...Array(30).keys()];
  kernel.patch(failed.map((index) => ({ index, status: Status.FAILED, attempt: 1, started: 1, ended: 2 })));
  await until(() => store.counts[Status.FAILED] === 30);
  let told = 0;
  details.subscribe(() => (told += 1), life.signal);

  assert.equal(details.messageOf(29), "");
  const failures = failuresOf(details);
  failures.want();
  failures.want();
  await until(() => failures.version === 1);
  await until(() => told > 0);

  assert.equal(failuresOf(details), failures);
  for (const node of failed) assert.match(details.messageOf(node), /^\w+: ./);
  assert.equal(details.messageOf(35), "");
  failures.want();
  assert.equal(asked(kernel), 1);
  assert.equal(kernel.requests.filter(({ kind }) => kind === "node").length, 0);
});

test("a node that fails anew is asked about anew, and until then nothing is said of it", async (t) => {
  const life = new AbortController();
  t.after(() => life.abort());
  const { kernel, details, store } = await opened(life.signal);
  kernel.patch([{ index: 3, status: Status.FAILED, attempt: 1, started: 1, ended: 2 }]);
  await until(() => store.counts[Status.FAILED] === 1);
  const failures = failuresOf(details);
  failures.want();
  await until(() => failures.version === 1);

  kernel.patch([{ index: 3, status: Status.RUNNING, attempt: 2, started: 3 }]);
  await until(() => store.status[3] === Status.RUNNING);
  assert.equal(details.messageOf(3), "");
  failures.want();
  assert.equal(asked(kernel), 1);
  kernel.patch([{ index: 3, status: Status.FAILED, attempt: 2, started: 3, ended: 4 }]);
  await until(() => store.status[3] === Status.FAILED);
  assert.equal(details.messageOf(3), "");
  failures.want();
  await until(() => failures.version === 2);
  assert.notEqual(details.messageOf(3), "");
});

test("an answer that does not come is waited for twice as long, and then asked for again", async (t) => {
  const life = new AbortController();
  t.after(() => life.abort());
  const { kernel, details, store } = await opened(life.signal);
  kernel.patch([{ index: 3, status: Status.FAILED, attempt: 1, started: 1, ended: 2 }]);
  await until(() => store.counts[Status.FAILED] === 1);
  kernel.isAnswering = false;
  const failures = failuresOf(details);
  failures.want();
  const { id } = kernel.requests.find(({ kind }) => kind === "errors") ?? {};
  kernel.message({ type: "reply", id, body: null, error: "RuntimeError: the view is closing" });
  await until(() => failures.version === 1);
  assert.equal(details.messageOf(3), "");

  t.mock.timers.enable({ apis: ["setTimeout", "Date"], now: Date.now() });
  failures.want();
  t.mock.timers.tick(1900);
  assert.equal(asked(kernel), 1);
  t.mock.timers.tick(200);
  assert.equal(asked(kernel), 2);
});

test("the errors of nodes that were looked at are cut as those of all others are", async (t) => {
  const life = new AbortController();
  t.after(() => life.abort());
  const { kernel, details, store } = await opened(life.signal);
  const detail = kernel.detail.bind(kernel);
  kernel.detail = (node) => ({ ...detail(node), error_type: "ValueError", error_message: "𝔸".repeat(400) });
  kernel.patch([{ index: 3, status: Status.FAILED, attempt: 1, started: 1, ended: 2 }]);
  await until(() => store.counts[Status.FAILED] === 1);
  details.want(3);
  await until(() => details.of(3) !== null);

  assert.equal(details.messageOf(3), `ValueError: ${"𝔸".repeat(ERROR_CUT - 12)}`);
});

test("what was asked for is waited for no longer than somebody waits, and what nobody takes is forgotten", async (t) => {
  const life = new AbortController();
  t.after(() => life.abort());
  const { kernel, store } = await opened(life.signal);
  const mine = new AbortController();
  const waiting = asideOf(store, 900, mine.signal);
  mine.abort();
  await assert.rejects(waiting, { name: "AbortError" });
  await assert.rejects(asideOf(store, 900, mine.signal), { name: "AbortError" });

  for (let revision = 1; revision <= 30; revision++) {
    const head = { type: "columns", epoch: 1, column: "file", part: 0, of: 1, revision };
    kernel.message(head, [await deflate(new Uint8Array([revision]))]);
    await until(() => store.asides.has(revision));
  }
  assert.ok(store.asides.size <= 8);
  assert.deepEqual([...(await asideOf(store, 30, life.signal))], [30]);
});
