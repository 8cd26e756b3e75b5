import assert from "node:assert/strict";
import { test } from "node:test";
import { blockerOf, effect, runStatus, segments, worst } from "../src/model/derive.ts";
import { timeLeft, timeLeftWords } from "../src/model/left.ts";
import type { Store } from "../src/model/store.ts";
import { Status } from "../src/protocol.ts";
import { FakeKernel, type FakeNode } from "./fake.ts";
import { connect } from "./tools.ts";

const { NOT_STARTED, RUNNING, COMPLETED, FAILED, CANCELLED, PARENT_FAILED } = Status;

function counts(values: Partial<Record<number, number>>): number[] {
  return [0, 1, 2, 3, 4, 5, 6].map((status) => values[status] ?? 0);
}

test("a failure wins over everything", () => {
  assert.equal(worst(counts({ [COMPLETED]: 99_999, [RUNNING]: 1, [FAILED]: 1 })), FAILED);
  assert.equal(worst(counts({ [COMPLETED]: 5, [NOT_STARTED]: 1 })), NOT_STARTED);
  assert.equal(worst(counts({ [COMPLETED]: 5 })), COMPLETED);
});

test("a run is Running while branches still run, whatever has failed", () => {
  assert.equal(runStatus(counts({ [RUNNING]: 1, [FAILED]: 3 }), true, false), RUNNING);
  assert.equal(runStatus(counts({ [NOT_STARTED]: 2, [FAILED]: 1 }), true, false), RUNNING);
  assert.equal(runStatus(counts({ [COMPLETED]: 2, [FAILED]: 1, [PARENT_FAILED]: 1 }), true, true), FAILED);
  assert.equal(runStatus(counts({ [COMPLETED]: 2, [CANCELLED]: 1 }), true, true), CANCELLED);
  assert.equal(runStatus(counts({ [COMPLETED]: 2 }), true, true), COMPLETED);
  assert.equal(runStatus(counts({ [NOT_STARTED]: 2 }), false, false), NOT_STARTED);
  assert.equal(runStatus(counts({}), false, false), NOT_STARTED);
});

test("a bar fills its width and hides no failure", () => {
  const made = segments(counts({ [COMPLETED]: 99_990, [FAILED]: 1, [RUNNING]: 9 }), 160, 2, 0, 4);

  assert.deepEqual(
    made.map((each) => each.status),
    [COMPLETED, RUNNING, FAILED],
  );
  assert.ok(Math.abs(made.reduce((sum, each) => sum + each.width, 0) - 160) < 0.01);
  assert.ok((made[2]?.width ?? 0) >= 4);
  assert.ok((made[1]?.width ?? 0) >= 2);
  assert.deepEqual(segments(counts({}), 160), []);
});

const DIAMOND: FakeNode[] = [
  { name: "a", group: "a", parents: [] },
  { name: "b", group: "b", parents: [0] },
  { name: "c", group: "c", parents: [0] },
  { name: "d", group: "d", parents: [1, 2] },
  { name: "e", group: "e", parents: [3] },
];

async function diamond(statuses: readonly number[]): Promise<Store> {
  const kernel = new FakeKernel(DIAMOND);
  statuses.forEach((status, index) => {
    const state = kernel.states[index];
    if (state) state.status = status;
  });
  const { store } = await connect(kernel);
  return store;
}

test("a retry frees what nothing else blocks", async () => {
  const one = await diamond([COMPLETED, FAILED, COMPLETED, PARENT_FAILED, PARENT_FAILED]);
  assert.deepEqual(effect(one, "retry", [1]), { own: [1], follow: [3, 4], completed: 0 });
  assert.equal(blockerOf(one, 4), 1);

  const two = await diamond([COMPLETED, FAILED, FAILED, PARENT_FAILED, PARENT_FAILED]);
  assert.deepEqual(effect(two, "retry", [1]).follow, []);
  assert.deepEqual(effect(two, "retry_failed", []), { own: [1, 2], follow: [3, 4], completed: 0 });
});

test("retry from here names the Completed that run again", async () => {
  const store = await diamond([COMPLETED, COMPLETED, FAILED, PARENT_FAILED, PARENT_FAILED]);
  const what = effect(store, "retry_from", [1]);

  assert.deepEqual(what.own, [1]);
  assert.deepEqual(what.follow.sort(), [3, 4]);
  assert.equal(what.completed, 1);
});

test("cancel reaches what waits below", async () => {
  const store = await diamond([RUNNING, NOT_STARTED, NOT_STARTED, NOT_STARTED, NOT_STARTED]);
  assert.deepEqual(effect(store, "cancel", [1]).follow.sort(), [3, 4]);
  assert.deepEqual(effect(store, "cancel_graph", []), { own: [1, 2, 3, 4], follow: [0], completed: 0 });
});

test("time left comes from what was measured, on the slots there are", async () => {
  const kernel = new FakeKernel(Array.from({ length: 104 }, (_, at) => ({ name: `n${at}`, group: "n", parents: [] })));
  kernel.startedAt = Date.now() / 1000 - 10;
  kernel.states.forEach((state, index) => {
    if (index < 20) Object.assign(state, { status: COMPLETED, attempt: 1, slot: 0, started: 0, ended: 2 });
  });
  const { store } = await connect(kernel);
  const left = timeLeft(store);

  assert.ok(left);
  // 84 nodes of 2 s on 8 slots: 21 s, or 22 s in whole rounds.
  assert.ok(left.low >= 21 && left.low <= 22.001, `low is ${left.low}`);
  assert.ok(left.high > left.low);
  assert.equal(timeLeftWords(null), "time left unknown");
  assert.equal(timeLeftWords({ low: 1, high: 3 }), "");
  assert.equal(timeLeftWords({ low: 61, high: 118 }), "about 1–2 min left");
});

test("time left is unknown while a function has nodes to come and none that was measured", async () => {
  const nodes: FakeNode[] = [
    ...Array.from({ length: 10 }, (_, at) => ({ name: `load-${at}`, group: "load", parents: [] })),
    ...Array.from({ length: 3 }, (_, at) => ({ name: `fit-${at}`, group: "fit", parents: [at] })),
  ];
  const kernel = new FakeKernel(nodes);
  kernel.startedAt = Date.now() / 1000 - 10;
  kernel.states.forEach((state, index) => {
    if (index < 9) Object.assign(state, { status: COMPLETED, attempt: 1, slot: 0, started: 0, ended: 2 });
  });
  assert.equal(timeLeft((await connect(kernel)).store), null);

  // One card of the function is enough for its other cards.
  Object.assign(kernel.states[10] ?? {}, { status: COMPLETED, attempt: 1, slot: 0, started: 2, ended: 8 });
  const left = timeLeft((await connect(kernel)).store);
  assert.ok(left && left.low >= 6, `left is ${JSON.stringify(left)}`);
});

test("before five nodes have finished there is no time left", async () => {
  const kernel = new FakeKernel(DIAMOND);
  kernel.startedAt = Date.now() / 1000;
  const { store } = await connect(kernel);
  assert.equal(timeLeft(store), null);
});
