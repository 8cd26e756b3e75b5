// Replay, critical path and time left: by the vectors of the kernel's side, and by graphs made for them.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { criticalPath, criticalWords } from "../src/model/critical.ts";
import { left, timeLeftWords, type Work } from "../src/model/left.ts";
import { Lens } from "../src/model/lens.ts";
import { attemptsOf, Replay, readTape, tapeOfAttempts } from "../src/model/replay.ts";
import { groupPairs, Store } from "../src/model/store.ts";
import { Status } from "../src/protocol.ts";
import { FakeKernel, type FakeNode } from "./fake.ts";
import { AT_ONCE, connect, until } from "./tools.ts";

const TESTS = join(process.cwd(), "..", "tests");
const { COMPLETED, FAILED, NOT_STARTED, RUNNING, PARENT_FAILED } = Status;

// --- time left -----------------------------------------------------------------------------------------------

interface Vector {
  group: number[];
  status: number[];
  started: (number | null)[];
  ended: (number | null)[];
  parents: number[][];
  now: number;
  slots: number;
  simulated: [number, number] | null;
  bounds: [number, number] | null;
}

function workOf(vector: Vector): Work {
  const total = vector.status.length;
  const to = Uint32Array.from(vector.parents.flatMap((list, node) => list.map(() => node)));
  const from = Uint32Array.from(vector.parents.flat());
  return {
    ...vector,
    total,
    started: vector.started.map((each) => each ?? Number.NaN),
    ended: vector.ended.map((each) => each ?? Number.NaN),
    parents: groupPairs(to, from, total),
    children: groupPairs(from, to, total),
    order: Uint32Array.from({ length: total }, (_, node) => node),
  };
}

for (const name of readdirSync(join(TESTS, "timing"))) {
  test(`time left of ${name} is what the terminal says`, () => {
    const vector = JSON.parse(readFileSync(join(TESTS, "timing", name), "utf8")) as Vector;
    for (const [most, expected] of [
      [1e9, vector.simulated],
      [0, vector.bounds],
    ] as const) {
      const found = left(workOf(vector), most);
      assert.equal(found === null, expected === null);
      if (!found || !expected) continue;
      assert.ok(Math.abs(found.low - expected[0]) < 1e-6, `${found.low} is not ${expected[0]}`);
      assert.ok(Math.abs(found.high - expected[1]) < 1e-6, `${found.high} is not ${expected[1]}`);
    }
  });
}

test("time left reads as the terminal's does", () => {
  assert.equal(timeLeftWords({ low: 20, high: 33 }), "about 20–35 s left");
  assert.equal(timeLeftWords({ low: 12, high: 14 }), "about 10–15 s left");
  assert.equal(timeLeftWords({ low: 3000, high: 8000 }), "about 1–3 h left");
  assert.equal(timeLeftWords({ low: 1, high: 4.9 }), "");
});

// --- critical path -------------------------------------------------------------------------------------------

function chainAndFan(): FakeNode[] {
  return [
    { name: "load", group: "load", parents: [] },
    { name: "fast", group: "work", parents: [0] },
    { name: "slow", group: "work", parents: [0] },
    { name: "merge", group: "merge", parents: [1, 2] },
  ];
}

async function storeOf(nodes: FakeNode[], times: [number, number][], isEnded = true): Promise<Store> {
  const kernel = new FakeKernel(nodes);
  kernel.startedAt = Date.now() / 1000 - 60;
  kernel.states.forEach((state, node) => {
    const [started, ended] = times[node] ?? [Number.NaN, Number.NaN];
    const status = Number.isNaN(started) ? NOT_STARTED : Number.isNaN(ended) ? RUNNING : COMPLETED;
    Object.assign(state, { status, started, ended, attempt: status === NOT_STARTED ? 0 : 1, slot: 0 });
  });
  if (isEnded) kernel.endedAt = kernel.startedAt + Math.max(...times.map(([, ended]) => ended));
  return (await connect(kernel)).store;
}

test("the critical path is the chain that took longest, and says its share", async () => {
  const store = await storeOf(chainAndFan(), [
    [0, 10],
    [12, 20],
    [12, 62],
    [65, 80],
  ]);
  const path = criticalPath(store);

  assert.ok(path);
  assert.deepEqual(path.nodes, [0, 2, 3]);
  assert.equal(path.length, 75);
  assert.equal(criticalWords(path), "Critical path: 3 nodes, 1:15 of 1:20 (94 %)");
});

test("while a run goes on the critical path counts on what is to come, and says so far", async () => {
  const store = await storeOf(
    [...chainAndFan(), { name: "other", group: "merge", parents: [] }],
    [
      [0, 10],
      [10, 12],
      [10, Number.NaN],
      [Number.NaN, Number.NaN],
      [0, 30],
    ],
    false,
  );
  const path = criticalPath(store);

  assert.ok(path?.isSoFar);
  // `slow` has run for 50 s, and `merge` is taken for as long as its like.
  assert.deepEqual(path.nodes, [0, 2, 3]);
  assert.ok(Math.abs(path.length - 90) < 2, `it is ${path.length}`);
  assert.match(criticalWords(path), /^Critical path so far: 3 nodes, about 1:[23]\d$/);
});

test("before the start there is no critical path", async () => {
  assert.equal(criticalPath((await connect(new FakeKernel(chainAndFan()))).store), null);
});

test("the critical path of 100,000 nodes is found", async () => {
  const total = 100_000;
  const child = Uint32Array.from({ length: total - 1000 }, (_, at) => at + 1000);
  const parent = Uint32Array.from(child, (each) => each - 1000);
  const store = Object.assign(new Store(AT_ONCE), {
    total,
    markOf: Uint32Array.from({ length: total }, (_, at) => at % 40),
    status: new Uint8Array(total).fill(COMPLETED),
    started: Float32Array.from({ length: total }, (_, at) => at / 100),
    ended: Float32Array.from({ length: total }, (_, at) => at / 100 + 1),
    parents: groupPairs(child, parent, total),
    children: groupPairs(parent, child, total),
    run: {
      status: 3,
      counts: [],
      is_ended: true,
      started: 0,
      ended: 1001,
      slots: 8,
      can_stop: false,
      stale_since: null,
      is_record: false,
      now: 0,
    },
  });
  assert.equal(criticalPath(store)?.nodes.length, 100);
});

// --- replay --------------------------------------------------------------------------------------------------

interface History {
  nodes: number;
  expected: {
    status: number[];
    attempt: number[];
    slot: number[];
    started: (number | null)[];
    ended: (number | null)[];
  };
}

const HISTORIES = readdirSync(join(TESTS, "tapes")).map((name) => name.replace(".hex", ""));

async function replayOf(name: string): Promise<{ replay: Replay; history: History; store: Store }> {
  const history = JSON.parse(readFileSync(join(TESTS, "histories", `${name}.json`), "utf8")) as History;
  const hex = readFileSync(join(TESTS, "tapes", `${name}.hex`), "utf8").trim();
  const nodes = Array.from({ length: history.nodes }, (_, at) => ({ name: `n${at}`, group: "g", parents: [] }));
  const kernel = new FakeKernel(nodes);
  kernel.startedAt = Date.now() / 1000 - 100;
  const { store } = await connect(kernel);
  return { replay: new Replay(store, readTape(Uint8Array.from(Buffer.from(hex, "hex")))), history, store };
}

const known = (column: Float32Array): (number | null)[] =>
  [...column].map((each) => (Number.isNaN(each) ? null : each));

for (const name of HISTORIES) {
  test(`the replay of ${name} ends as the run did`, async () => {
    const { replay, history } = await replayOf(name);
    replay.seek(Number.POSITIVE_INFINITY);
    const { status, slot, started, ended } = replay.moment();
    assert.deepEqual([...status], history.expected.status);
    assert.deepEqual([...slot], history.expected.slot);
    assert.deepEqual(known(started), history.expected.started);
    assert.deepEqual(known(ended), history.expected.ended);
  });

  test(`the replay of ${name} is at a moment what it is however it came there`, async () => {
    const { replay } = await replayOf(name);
    const forward: string[] = [];
    const told = (): string =>
      JSON.stringify([replay.moment().status, replay.moment().past.size, replay.moment().counts]);
    for (let cursor = -1; cursor !== replay.cursor; ) {
      cursor = replay.cursor;
      forward.push(told());
      replay.stepBy(1);
    }
    for (const expected of forward.reverse()) {
      assert.equal(told(), expected);
      replay.stepBy(-1);
    }
    const { counts, status } = replay.moment();
    assert.equal(counts[1], [...status].filter((each) => each === NOT_STARTED).length);
  });
}

test("keyframes change nothing but the time that seeking takes", async () => {
  const kernel = new FakeKernel(Array.from({ length: 6000 }, (_, at) => ({ name: `n${at}`, group: "g", parents: [] })));
  kernel.startedAt = Date.now() / 1000 - 7000;
  kernel.states.forEach((state, at) => {
    Object.assign(state, { status: COMPLETED, attempt: 1, slot: 0, started: at, ended: at + 0.5 });
  });
  const { store } = await connect(kernel);
  const replay = new Replay(store, tapeOfAttempts(store));
  for (const time of [5999.7, 10.2, 3000.2, 2999.9, 5000, 0]) {
    replay.seek(time);
    const { counts, markCounts } = replay.moment();
    const done = Math.min(6000, Math.max(0, Math.floor(time + 0.5)));
    assert.equal(counts[COMPLETED], done, `at ${time}`);
    assert.equal(markCounts[COMPLETED], done);
    assert.equal((counts[1] ?? 0) + (counts[RUNNING] ?? 0) + done, 6000);
  }
  assert.equal(replay.length, 12_000);
});

test("what the attempts tell is a run that ends as it did", async () => {
  const kernel = new FakeKernel(chainAndFan());
  kernel.startedAt = Date.now() / 1000 - 100;
  Object.assign(kernel.states[0] ?? {}, { status: FAILED, attempt: 1, slot: 0, started: 0, ended: 5 });
  for (const node of [1, 2, 3]) Object.assign(kernel.states[node] ?? {}, { status: PARENT_FAILED });
  const { store } = await connect(kernel);
  const replay = new Replay(store, tapeOfAttempts(store));

  assert.equal(replay.toFailure(), 0);
  assert.equal(replay.time, 5);
  assert.deepEqual([...replay.moment().status], [FAILED, PARENT_FAILED, PARENT_FAILED, PARENT_FAILED]);
  replay.stepBy(-1);
  assert.deepEqual([...replay.moment().status], [RUNNING, NOT_STARTED, NOT_STARTED, NOT_STARTED]);
});

test("a lens shows a moment to its own view alone, and the present again", async () => {
  const kernel = new FakeKernel(chainAndFan());
  kernel.startedAt = Date.now() / 1000 - 100;
  Object.assign(kernel.states[0] ?? {}, { status: FAILED, attempt: 1, slot: 0, started: 0, ended: 5 });
  const { store } = await connect(kernel);
  const life = new AbortController();
  const lens = new Lens(store, life.signal);
  let told = 0;
  lens.subscribe(() => {
    told += 1;
  }, life.signal);
  const replay = new Replay(lens, tapeOfAttempts(store));
  replay.seek(3);
  lens.show(replay.moment());

  assert.equal(lens.status[0], RUNNING);
  assert.ok(Math.abs(lens.runTime() - 3) < 1e-5);
  assert.equal(store.status[0], FAILED);
  assert.equal(lens.nameOf(0), "load");
  assert.equal(attemptsOf(lens, 0).length, 1);
  lens.show(null);
  assert.equal(lens.status[0], FAILED);
  assert.equal(told, 2);
  life.abort();
});

test("a lens follows the store, and leaves the past when the graph grows", async () => {
  const kernel = new FakeKernel(chainAndFan());
  kernel.startedAt = Date.now() / 1000 - 100;
  const { CommSource } = await import("../src/sources/comm.ts");
  const source = new CommSource(kernel);
  const life = new AbortController();
  source.open();
  await until(() => source.store.children !== null, "the opening");
  const lens = new Lens(source.store, life.signal);
  kernel.patch([{ index: 0, status: RUNNING, attempt: 1, slot: 0, started: 1 }]);
  await until(() => lens.status[0] === RUNNING, "the change");
  assert.equal(lens.counts[RUNNING], 1);
  source.close();
  life.abort();
});
