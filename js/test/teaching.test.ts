// Worker lanes, why nodes wait, and what predict mode holds back.
import assert from "node:assert/strict";
import { test } from "node:test";
import { lanesOf } from "../src/model/lanes.ts";
import { Lens } from "../src/model/lens.ts";
import { Replay, tapeOfAttempts } from "../src/model/replay.ts";
import { Store } from "../src/model/store.ts";
import { Veil } from "../src/model/veil.ts";
import { whyWaits } from "../src/model/why.ts";
import { NO_SLOT, Status } from "../src/protocol.ts";
import { CommSource } from "../src/sources/comm.ts";
import { FakeKernel, type FakeNode, type FakeState, fresh } from "./fake.ts";
import { AT_ONCE, connect, until } from "./tools.ts";

const { NOT_STARTED, RUNNING, COMPLETED, FAILED, PARENT_FAILED } = Status;

/** load -> three works -> merge */
const GRAPH: FakeNode[] = [
  { name: "load", group: "load", parents: [] },
  ...[1, 2, 3].map((at) => ({ name: `work-${at}`, group: `work-${at}`, parents: [0] })),
  { name: "merge", group: "merge", parents: [1, 2, 3] },
];

function kernelOf(states: Partial<FakeState>[]): FakeKernel {
  const kernel = new FakeKernel(GRAPH.map((each) => ({ ...each })));
  kernel.startedAt = Date.now() / 1000 - 20;
  states.forEach((state, node) => {
    kernel.states[node] = { ...fresh(), ...state };
  });
  return kernel;
}

const ran = (slot: number, started: number, ended: number, attempt = 1): Partial<FakeState> => ({
  status: COMPLETED,
  attempt,
  slot,
  started,
  ended,
});

test("a lane holds what its worker runs, and what it ran last comes first", async () => {
  const kernel = kernelOf([
    ran(0, 0, 2),
    ran(0, 2, 5),
    ran(1, 2, 3),
    { status: RUNNING, attempt: 1, slot: 1, started: 4 },
  ]);
  const { store } = await connect(kernel);

  const { lanes, unused, isAnyKnown } = lanesOf(store, 3);

  assert.equal(lanes.length, 8, "as many as the run has");
  assert.equal(unused, 0);
  assert.ok(isAnyKnown);
  assert.deepEqual(
    lanes.slice(0, 3).map(({ running, recent }) => [running?.index ?? -1, recent.map((each) => each.index)]),
    [
      [-1, [1, 0]],
      [3, [2]],
      [-1, []],
    ],
  );
});

test("earlier attempts are in the lane of the worker that made them, at most so many", async () => {
  const kernel = kernelOf([ran(0, 0, 2)]);
  const source = new CommSource(kernel, new Store(AT_ONCE));
  source.open();
  await until(() => source.store.names !== null && source.store.children !== null);
  for (let attempt = 1; attempt <= 4; attempt++) {
    kernel.patch([{ index: 1, status: FAILED, attempt, slot: 2, started: 2 * attempt, ended: 2 * attempt + 1 }]);
  }

  const { lanes } = lanesOf(source.store, 3);

  assert.deepEqual(
    lanes[2]?.recent.map((each) => each.attempt),
    [4, 3, 2],
  );
  source.close();
});

test("of many workers the idle ones are counted", async () => {
  const { store } = await connect(kernelOf([ran(5, 0, 2)]));
  Object.assign(store.run ?? {}, { slots: 64 });

  const { lanes, unused } = lanesOf(store, 3);

  assert.deepEqual([lanes.length, unused], [6, 58]);
  Object.assign(store.run ?? {}, { slots: 0 });
  store.slot.fill(NO_SLOT);
  assert.deepEqual([lanesOf(store, 3).isAnyKnown, lanesOf(store, 3).lanes.length], [false, 0]);
});

test("a node says what it waits for", async () => {
  const kernel = kernelOf([ran(0, 0, 2), { status: RUNNING, attempt: 1, slot: 0, started: 2 }]);
  const { store } = await connect(kernel);
  const why = (node: number): string => whyWaits(store, node);

  assert.equal(why(4), "waits for work-1 and 2 more");
  assert.equal(why(2), "ready: next free worker");
  Object.assign(store.run ?? {}, { pace: 1 });
  assert.equal(why(2), "ready; slow motion, 1 s");
  Object.assign(store.run ?? {}, { slots: 1 });
  assert.match(why(2), /^all 1 worker busy · 0:1[78]$/);
  Object.assign(store.run ?? {}, { is_ended: true });
  assert.equal(why(2), "");
  Object.assign(store.run ?? {}, { is_ended: false, started: null });
  assert.equal(why(2), "held: graph not started");
  store.status[1] = COMPLETED;
  store.status[2] = COMPLETED;
  assert.equal(why(4), "waits for work-3");
});

/** A lens in predict mode before a live store. */
async function veiled(kernel: FakeKernel): Promise<{ source: CommSource; lens: Lens; veil: Veil; end(): void }> {
  const life = new AbortController();
  const source = new CommSource(kernel, new Store(AT_ONCE));
  const lens = new Lens(source.store, life.signal);
  source.open();
  await until(() => source.store.names !== null && source.store.children !== null, "the opening");
  const veil = new Veil(lens);
  lens.veil = veil.cover;
  lens.show(null);
  const end = (): void => {
    life.abort();
    source.close();
  };
  return { source, lens, veil, end };
}

test("predict mode shows nothing of a change: not the status, not the counts, not that the run is over", async () => {
  const kernel = kernelOf([{ status: RUNNING, attempt: 1, slot: 0, started: 1 }]);
  const { source, lens, veil, end } = await veiled(kernel);
  kernel.endedAt = Date.now() / 1000;
  kernel.patch([
    { index: 0, status: FAILED, ended: 3 },
    { index: 1, status: PARENT_FAILED },
  ]);

  assert.deepEqual([...veil.hidden], [0, 1]);
  assert.equal(lens.status[0], RUNNING);
  assert.ok(Number.isNaN(lens.ended[0]));
  assert.deepEqual([...lens.counts].slice(1), [4, 1, 0, 0, 0, 0]);
  assert.deepEqual(lens.run?.counts, [...lens.counts]);
  assert.equal(lens.run?.is_ended, false);
  assert.ok(lens.isSecret(0) && lens.isSecret(1) && !lens.isSecret(2));
  assert.equal(source.store.status[0], FAILED, "the others see it");

  assert.equal(veil.guess(0, COMPLETED), false);
  assert.equal(veil.guess(1, PARENT_FAILED), true);
  lens.show(null);
  assert.deepEqual([veil.right, veil.asked, veil.hidden.size], [1, 2, 0]);
  assert.deepEqual([...lens.counts], [...source.store.counts]);
  assert.deepEqual([...lens.markCounts], [...source.store.markCounts]);
  assert.equal(lens.run?.is_ended, true);
  end();
});

test("another attempt is a change although the status is the same, and earlier attempts do not tell of it", async () => {
  const kernel = kernelOf([{ status: FAILED, attempt: 1, slot: 0, started: 1, ended: 2 }]);
  const { lens, veil, end } = await veiled(kernel);
  kernel.patch([{ index: 0, status: FAILED, attempt: 2, started: 3, ended: 4 }]);

  assert.deepEqual([...veil.hidden], [0]);
  assert.equal(lens.attempt[0], 1);
  assert.equal(lens.past.get(0), undefined);

  veil.reveal([0]);
  lens.show(null);
  assert.deepEqual([lens.attempt[0], lens.past.get(0)?.length, veil.asked], [2, 1, 0]);
  end();
});

test("what did not change goes on, and what changed back is not asked about", async () => {
  const kernel = kernelOf([{ status: RUNNING, attempt: 1, slot: 0, started: 1 }]);
  const { lens, veil, end } = await veiled(kernel);
  kernel.patch([{ index: 0, status: RUNNING, started: 5 }]);

  assert.equal(veil.hidden.size, 0);
  assert.equal(lens.started[0], 5);
  kernel.patch([{ index: 2, status: RUNNING, attempt: 1, slot: 3, started: 6 }]);
  assert.equal(veil.hidden.size, 1);
  kernel.patch([{ index: 2, ...fresh() }]);
  assert.equal(veil.hidden.size, 0);
  assert.equal(lens.status[2], NOT_STARTED);
  end();
});

test("in a replay going on hides, going back shows", async () => {
  const kernel = kernelOf([ran(0, 0, 2), ran(0, 2, 5), ran(1, 2, 6), ran(2, 3, 4), ran(0, 6, 8)]);
  kernel.endedAt = (kernel.startedAt ?? 0) + 8;
  const { lens, veil, end } = await veiled(kernel);
  const replay = new Replay(lens, tapeOfAttempts(lens));
  const at = (time: number): void => {
    replay.seek(time);
    lens.show(replay.moment());
  };

  at(0.5);
  assert.deepEqual([lens.status[0], veil.hidden.size], [RUNNING, 0], "opening it hides nothing");
  at(2.5);
  assert.deepEqual([[...veil.hidden], lens.status[0]], [[0, 1, 2], RUNNING]);
  assert.equal(veil.guess(0, COMPLETED), true);
  lens.show(replay.moment());
  assert.deepEqual([lens.status[0], lens.ended[0], lens.counts[COMPLETED]], [COMPLETED, 2, 1]);
  at(1);
  assert.deepEqual([lens.status[0], veil.hidden.size], [RUNNING, 0]);
  at(8);
  assert.equal(lens.counts[RUNNING], 1);
  lens.show(null);
  assert.deepEqual([lens.counts[COMPLETED], veil.hidden.size], [5, 0], "leaving it shows the present");
  end();
});

test("it costs a few milliseconds for a hundred thousand nodes", () => {
  const total = 100_000;
  const store = { markOf: new Uint32Array(total), markCount: 1, total } as unknown as Store;
  const columns = {
    status: new Uint8Array(total).fill(1),
    attempt: new Uint8Array(total),
    slot: new Uint16Array(total),
    started: new Float32Array(total),
    ended: new Float32Array(total),
    counts: new Uint32Array(7),
    markCounts: new Uint32Array(7),
    past: new Map(),
    run: null,
  };
  const veil = new Veil(store);
  veil.cover(columns, Number.NaN);
  // The quickest of several: others work on this machine, too.
  const times = Array.from({ length: 20 }, () => {
    const began = performance.now();
    veil.cover(columns, Number.NaN);
    return performance.now() - began;
  });

  assert.ok(Math.min(...times) < 40, `${Math.min(...times)} ms`);
});
