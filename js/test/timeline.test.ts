// Rows, axis and density of the timeline.
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Store } from "../src/model/store.ts";
import {
  Axis,
  attemptsIn,
  BREAK,
  bySlot,
  density,
  idleOf,
  readyAt,
  rowsOf,
  squeeze,
  took,
} from "../src/model/timeline.ts";
import { Status } from "../src/protocol.ts";
import { FakeKernel } from "./fake.ts";
import { connect } from "./tools.ts";

const { COMPLETED, FAILED } = Status;

/** A load, ten of its kind below it, and a merge. */
async function fanOf(times: [number, number, number][], total = 100): Promise<Store> {
  const kernel = new FakeKernel([
    { name: "load", group: "load", parents: [] },
    ...Array.from({ length: 10 }, (_, at) => ({ name: `work-${at}`, group: "work", parents: [0] })),
    { name: "merge", group: "merge", parents: Array.from({ length: 10 }, (_, at) => at + 1) },
  ]);
  kernel.startedAt = Date.now() / 1000 - total;
  kernel.endedAt = kernel.startedAt + total;
  times.forEach(([started, ended, slot], node) => {
    Object.assign(kernel.states[node] ?? {}, { status: COMPLETED, attempt: 1, started, ended, slot });
  });
  return (await connect(kernel)).store;
}

const RUN: [number, number, number][] = [
  [0, 2, 0],
  ...Array.from({ length: 10 }, (_, at): [number, number, number] => [2 + (9 - at), 12 + at, at % 4]),
  [80, 100, 0],
];

test("rows stand in the order of their starts, and a group opens to its members in theirs", async () => {
  const store = await fanOf(RUN);
  const group = store.markOf[1] ?? 0;

  assert.deepEqual([...rowsOf(store, "nodes", new Set(), null).ids], [0, ~group, 11]);
  const open = rowsOf(store, "nodes", new Set([group]), null);
  assert.deepEqual([...open.ids], [0, ~group, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 11]);
  assert.equal(open.isInner[1], 0);
  assert.equal(open.isInner[2], 1);
});

test("a filter leaves only what it means, also in groups", async () => {
  const store = await fanOf(RUN);
  const mask = new Uint8Array(12);
  mask[3] = 1;
  const group = store.markOf[1] ?? 0;
  assert.deepEqual([...rowsOf(store, "nodes", new Set([group]), mask).ids], [~group, 3]);
});

test("slots hold what each worker did, in order; the longest node comes first", async () => {
  const store = await fanOf(RUN);
  const slots = rowsOf(store, "slots", new Set(), null).ids;
  const { start, items } = bySlot(store, slots);

  assert.equal(slots[0], 0);
  assert.deepEqual(
    [...items.subarray(start[0], start[1])].sort((a, b) => a - b),
    [0, 1, 5, 9, 11],
  );
  const longest = rowsOf(store, "duration", new Set(), null).ids;
  assert.deepEqual([...longest].slice(0, 3), [11, 10, 9]);
  assert.equal(longest.at(-1), 1);
});

test("long idle folds, and time goes through the fold in both directions", async () => {
  const store = await fanOf(RUN);
  const idle = idleOf(store);

  assert.equal(idle.length, 1);
  const [fold] = idle;
  assert.ok(fold && Math.abs(fold.from - 21) < 0.1 && Math.abs(fold.to - 80) < 0.1, JSON.stringify(idle));
  assert.ok(Math.abs(squeeze(idle, 100) - 41) < 0.2);
  const axis = new Axis(0, squeeze(idle, 100), 824, idle);
  assert.ok(Math.abs(axis.x(fold.to) - axis.x(fold.from) - BREAK) < 1e-6);
  assert.ok(Math.abs(axis.x(100) - 824) < 1e-6);
  for (const time of [0, 5, 20, 40, 80.5, 99]) assert.ok(Math.abs(axis.time(axis.x(time)) - time) < 1e-6, `${time}`);
  assert.ok(axis.ticks().every((at) => at <= fold.from || at >= fold.to));
});

test("short idle stays as it is", async () => {
  const store = await fanOf(
    [
      [0, 10, 0],
      [35, 60, 0],
    ],
    60,
  );
  assert.deepEqual(idleOf(store), []);
});

test("a window that begins behind a fold has its left edge at zero", () => {
  const axis = new Axis(25, 35, 500, [{ from: 20, to: 120 }]);
  assert.ok(Math.abs(axis.x(125)) < 1e-9);
  assert.ok(Math.abs(axis.x(135) - 500) < 1e-9);
  assert.ok(Math.abs(axis.time(250) - 130) < 1e-9);
});

test("a node is ready when its last parent has ended", async () => {
  const store = await fanOf(RUN);
  assert.equal(readyAt(store, 0), 0);
  assert.equal(readyAt(store, 1), 2);
  assert.equal(readyAt(store, 11), 21);
});

test("density counts what runs at once, and no failure is narrower than three pixels", async () => {
  const store = await fanOf(RUN);
  store.status[3] = FAILED;
  store.ended[3] = (store.started[3] ?? 0) + 0.001;
  const found = density(store, store.membersOf(store.markOf[1] ?? 0), new Axis(0, 100, 1000, []), 0, 100);

  assert.equal(found.most, 9);
  assert.equal(found.running[115], 9);
  assert.equal(found.running[500], 0);
  assert.equal(
    found.failed.reduce((sum, each) => sum + each, 0),
    3,
  );
});

test("slots and durations show every attempt, or the one that is meant", async () => {
  const kernel = new FakeKernel([{ name: "load", group: "load", parents: [] }]);
  kernel.startedAt = Date.now() / 1000 - 20;
  Object.assign(kernel.states[0] ?? {}, { status: COMPLETED, attempt: 2, slot: 1, started: 10, ended: 12 });
  const { store } = await connect(kernel);
  store.past.set(0, [{ index: 0, status: FAILED, attempt: 1, slot: 0, started: 1, ended: 4 }]);

  const rows = rowsOf(store, "slots", new Set(), null).ids;
  const all = bySlot(store, rows);
  const inRow = (at: number): number[][] =>
    [...attemptsIn(store, all, at)].map((each) => [each.index, each.attempt, each.status]);
  assert.deepEqual(inRow(0), [[0, 1, FAILED]]);
  assert.deepEqual(inRow(1), [[0, 2, COMPLETED]]);
  assert.equal([...attemptsIn(store, bySlot(store, rows, 2), 0)].length, 0);
  assert.equal(took(store, 0), 5);
  assert.equal(took(store, 0, 1), 3);
  assert.equal(took(store, 0, 2), 2);
  assert.ok(Number.isNaN(took(store, 0, 3)));
  assert.deepEqual([...rowsOf(store, "duration", new Set(), null, 3).ids], []);
});
