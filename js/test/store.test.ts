import assert from "node:assert/strict";
import { test } from "node:test";
import { type Changes, type Message, Store } from "../src/model/store.ts";
import { type PatchHead, type Picture, Status } from "../src/protocol.ts";
import { elapsedOf } from "../src/render/scene.ts";
import { deflate, type FakeState, FakeKernel, fresh, packRecords } from "./fake.ts";
import { AT_ONCE, turns } from "./tools.ts";

const SIZE = 20;

function kernelOf(size = SIZE): FakeKernel {
  return new FakeKernel(
    Array.from({ length: size }, (_, at) => ({ name: `n-${at}`, group: "n", parents: at ? [0] : [] })),
  );
}

async function pictureOf(kernel: FakeKernel): Promise<[Picture, DataView[]]> {
  const { markOf, ...picture } = kernel.picture();
  const statuses = Uint8Array.from(kernel.states, (state) => state.status);
  return [picture, [toView(await deflate(new Uint8Array(markOf.buffer))), toView(await deflate(statuses))]];
}

function toView(bytes: Uint8Array): DataView {
  // As Jupyter hands buffers over: somewhere inside a larger one.
  const larger = new Uint8Array(bytes.length + 7);
  larger.set(bytes, 7);
  return new DataView(larger.buffer, 7);
}

function patchOf(
  since: number,
  revision: number,
  records: ({ index: number } & Partial<FakeState>)[],
): [PatchHead, DataView[]] {
  const whole = records.map((record) => ({ ...fresh(), ...record }));
  return [{ type: "patch", epoch: 1, since, revision, encoding: "raw", run: null }, [toView(packRecords(whole))]];
}

async function opened(kernel = kernelOf()): Promise<Store> {
  const store = new Store(AT_ONCE);
  assert.equal(await store.receive(...(await pictureOf(kernel))), "ok");
  return store;
}

test("a picture is enough to count", async () => {
  const store = await opened();

  assert.equal(store.total, SIZE);
  assert.equal(store.counts[Status.NOT_STARTED], SIZE);
  assert.equal(store.markCount, 2);
  assert.deepEqual([...store.membersOf(1)].slice(0, 3), [1, 2, 3]);
  assert.equal(store.nameOf(0), "n-0");
});

test("a patch moves nodes between counts, of the graph and of the mark", async () => {
  const store = await opened();
  const applied = store.receive(
    ...patchOf(1, 3, [{ index: 2, status: Status.FAILED, attempt: 1, started: 1, ended: 2.5 }]),
  );

  assert.equal(applied, "ok");
  assert.equal(store.revision, 3);
  assert.equal(store.counts[Status.FAILED], 1);
  assert.equal(store.counts[Status.NOT_STARTED], SIZE - 1);
  assert.equal(store.markCounts[7 + Status.FAILED], 1);
  assert.equal(store.ended[2], 2.5);
});

test("edges that are too many for the picture come in a buffer of their own", async () => {
  const kernel = kernelOf();
  const [picture, buffers] = await pictureOf(kernel);
  const { edges } = picture;
  const packed = toView(await deflate(new TextEncoder().encode(JSON.stringify(edges))));
  const none = { source: [], target: [], count: [], bends: [] };
  const statuses = Uint8Array.from(kernel.states, (state) => state.status);
  const raw = [toView(new Uint8Array(kernel.picture().markOf.buffer)), toView(statuses)];
  const ways: [Picture, DataView[]][] = [
    [picture, buffers],
    [{ ...picture, encoding: "raw" }, raw],
  ];

  for (const [sent, parts] of ways) {
    const store = new Store(AT_ONCE);
    const applied = store.receive({ ...sent, edges: none }, [...parts, packed]);
    assert.equal(await applied, "ok");
    assert.deepEqual(store.picture?.edges, edges);
    assert.equal(store.markCount, 2);
  }
  assert.ok(edges.source.length > 0);
});

test("a patch after a gap is not applied and says so", async () => {
  const store = await opened();
  assert.equal(store.receive(...patchOf(5, 6, [{ index: 1, status: Status.RUNNING }])), "gap");
  assert.equal(store.revision, 1);
  assert.equal(store.counts[Status.RUNNING], 0);
});

test("a patch that came before changes nothing", async () => {
  const store = await opened();
  const first = patchOf(1, 2, [{ index: 1, status: Status.RUNNING, attempt: 1 }]);
  store.receive(...first);
  store.receive(...patchOf(2, 3, [{ index: 1, status: Status.COMPLETED, attempt: 1 }]));

  assert.equal(store.receive(...first), "ignored");
  assert.equal(store.status[1], Status.COMPLETED);
  assert.equal(store.revision, 3);
});

test("a patch that begins earlier than the page stands is applied: records are states, not steps", async () => {
  const store = await opened();
  store.receive(...patchOf(1, 2, [{ index: 1, status: Status.RUNNING, attempt: 1 }]));
  const both = patchOf(1, 4, [
    { index: 1, status: Status.COMPLETED, attempt: 1 },
    { index: 2, status: Status.RUNNING, attempt: 1 },
  ]);

  assert.equal(store.receive(...both), "ok");
  assert.equal(store.counts[Status.COMPLETED], 1);
  assert.equal(store.counts[Status.RUNNING], 1);
  assert.equal(store.revision, 4);
});

test("patches that come while a picture is inflated wait for it, in order", async () => {
  const store = new Store(AT_ONCE);
  const picture = store.receive(...(await pictureOf(kernelOf())));
  const one = store.receive(...patchOf(1, 2, [{ index: 1, status: Status.RUNNING, attempt: 1 }]));
  const two = store.receive(...patchOf(2, 3, [{ index: 1, status: Status.FAILED, attempt: 1 }]));

  assert.deepEqual(await Promise.all([picture, one, two]), ["ok", "ok", "ok"]);
  assert.equal(store.status[1], Status.FAILED);
  assert.equal(store.revision, 3);
});

test("a deflated patch is applied in its place", async () => {
  const store = await opened();
  const [head, [records]] = patchOf(1, 2, [{ index: 3, status: Status.RUNNING, attempt: 1 }]);
  const bytes = records ? new Uint8Array(records.buffer, records.byteOffset, records.byteLength) : new Uint8Array();
  const large = store.receive({ ...head, encoding: "deflate" }, [toView(await deflate(bytes))]);
  const next = store.receive(...patchOf(2, 3, [{ index: 3, status: Status.COMPLETED, attempt: 1 }]));

  assert.deepEqual(await Promise.all([large, next]), ["ok", "ok"]);
  assert.equal(store.status[3], Status.COMPLETED);
});

test("records that come late do not undo newer patches", async () => {
  const store = await opened();
  store.receive(...patchOf(1, 5, [{ index: 1, status: Status.COMPLETED, attempt: 1, started: 1, ended: 2 }]));
  const old = packRecords([
    { ...fresh(), index: 1, status: Status.RUNNING, attempt: 1, started: 1 },
    { ...fresh(), index: 2, status: Status.RUNNING, attempt: 1, started: 1 },
  ]);
  const head = { type: "columns", epoch: 1, column: "records", part: 0, of: 1, revision: 3 } as const;
  await store.receive(head, [toView(await deflate(old))]);

  assert.equal(store.status[1], Status.COMPLETED);
  assert.equal(store.status[2], Status.RUNNING);
  assert.equal(store.revision, 5);
});

test("records bring the page to their revision, with every attempt", async () => {
  const store = await opened();
  const all = packRecords([
    { index: 1, status: Status.FAILED, attempt: 1, slot: 0, started: 0, ended: 1 },
    { index: 1, status: Status.RUNNING, attempt: 2, slot: 1, started: 2, ended: Number.NaN },
  ]);
  const bytes = await deflate(all);
  const half = bytes.length >> 1;
  const head = { type: "columns", epoch: 1, column: "records", of: 2, revision: 9 } as const;
  await store.receive({ ...head, part: 1 }, [toView(bytes.slice(half))]);
  await store.receive({ ...head, part: 0 }, [toView(bytes.slice(0, half))]);

  assert.equal(store.revision, 9);
  assert.equal(store.attempt[1], 2);
  assert.deepEqual(
    store.past.get(1)?.map((each) => [each.attempt, each.status]),
    [[1, Status.FAILED]],
  );
  assert.equal(store.counts[Status.RUNNING], 1);
});

test("names and edges may come in any order and in parts", async () => {
  const kernel = kernelOf(3);
  const store = await opened(kernel);
  const edges = await deflate(new Uint8Array(Uint32Array.from([0, 1, 0, 2]).buffer));
  const names = await deflate(new TextEncoder().encode("a\nü\n<i>"));
  const head = { type: "columns", epoch: 1, part: 0, of: 1, revision: 1 } as const;
  await Promise.all([
    store.receive({ ...head, column: "edges" }, [toView(edges)]),
    store.receive({ ...head, column: "names" }, [toView(names)]),
  ]);

  assert.deepEqual(store.names, ["a", "ü", "<i>"]);
  assert.deepEqual([...store.childrenOf(0)], [1, 2]);
  assert.deepEqual([...store.parentsOf(2)], [0]);
});

test("what names another epoch is dropped, a newer one asks for a picture", async () => {
  const store = await opened();
  const [head, buffers] = patchOf(1, 2, []);
  assert.equal(store.receive({ ...head, epoch: 0 }, buffers), "ignored");
  assert.equal(store.receive({ ...head, epoch: 2 }, buffers), "gap");
  assert.equal(store.receive({ type: "beat", epoch: 1, revision: 1, progress: [] }, []), "ignored");
  assert.equal(store.receive({ type: "beat", epoch: 1, revision: 4, progress: [] }, []), "gap");
});

test("a beat tells how far running nodes are, the next one replaces it", async () => {
  const store = await opened();
  store.receive(...patchOf(1, 2, [{ index: 2, status: Status.RUNNING, attempt: 1, started: 0 }]));
  const beat = { type: "beat", epoch: 1, revision: 2 } as const;

  store.receive({ ...beat, progress: [2, 41, 5, 0] }, []);
  assert.match(elapsedOf(store, 2, 12.3), /^12 s · 41 %$/);
  assert.match(elapsedOf(store, 3, 12.3), /^12 s$/);
  store.receive({ ...beat, progress: [] }, []);
  assert.match(elapsedOf(store, 2, 12.3), /^12 s$/);
});

test("an older picture that comes late changes nothing", async () => {
  const kernel = kernelOf();
  const late = await pictureOf(kernel);
  const store = await opened(kernel);
  store.receive(...patchOf(1, 7, [{ index: 1, status: Status.RUNNING, attempt: 1 }]));

  assert.equal(await store.receive(...late), "ignored");
  assert.equal(store.status[1], Status.RUNNING);
});

test("added nodes come as a new epoch and keep the names that are known", async () => {
  const store = await opened();
  const head = { type: "columns", epoch: 1, column: "names", part: 0, of: 1, revision: 1 } as const;
  const names = Array.from({ length: SIZE }, (_, at) => `n-${at}`).join("\n");
  await store.receive(head, [toView(await deflate(new TextEncoder().encode(names)))]);
  const larger = kernelOf(SIZE + 5);
  larger.epoch = 2;
  await store.receive(...(await pictureOf(larger)));

  assert.equal(store.total, SIZE + 5);
  assert.equal(store.nameOf(3), "n-3");
});

test("however many messages come, one signal a frame", async () => {
  const frames: (() => void)[] = [];
  const store = new Store((run) => frames.push(run));
  await store.receive(...(await pictureOf(kernelOf())));
  const heard: Changes[] = [];
  const life = new AbortController();
  store.subscribe((changes) => heard.push(changes), life.signal);
  for (let revision = 1; revision < 50; revision++) {
    store.receive(...patchOf(revision, revision + 1, [{ index: 1, status: Status.RUNNING, attempt: 1 }]));
  }

  assert.equal(frames.length, 1);
  frames[0]?.();
  assert.equal(heard.length, 1);
  assert.equal(heard[0]?.statuses, true);
  life.abort();
  store.receive(...patchOf(50, 51, []));
  frames[1]?.();
  assert.equal(heard.length, 1);
});

test("a broken message fails alone; the next one is applied", async () => {
  const store = await opened();
  const [picture] = await pictureOf(kernelOf());
  const broken: Message = { ...picture, revision: 2 };
  await assert.rejects(async () =>
    store.receive(broken, [toView(new Uint8Array([1, 2, 3])), toView(new Uint8Array([9]))]),
  );
  await turns();
  assert.equal(store.receive(...patchOf(1, 2, [{ index: 0, status: Status.RUNNING, attempt: 1 }])), "ok");
});

test("the message that took the shortest way sets the clock", () => {
  const store = new Store(AT_ONCE);
  store.heardTime(100, 105);
  store.heardTime(101, 104);
  store.heardTime(102, 109);
  assert.equal(store.clockOffset, -3);
});
