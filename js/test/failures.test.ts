import assert from "node:assert/strict";
import { test } from "node:test";
import { Store } from "../src/model/store.ts";
import { Status } from "../src/protocol.ts";
import { CommSource } from "../src/sources/comm.ts";
import { Details } from "../src/views/details.ts";
import { failuresOf } from "../src/views/failures.ts";
import { FakeKernel } from "./fake.ts";
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
