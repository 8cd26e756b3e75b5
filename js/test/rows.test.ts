// The order of the list's rows.
import assert from "node:assert/strict";
import { test } from "node:test";
import { groupRow, isGroup, type RowOptions, rowsOf } from "../src/model/rows.ts";
import type { Store } from "../src/model/store.ts";
import { Store as AnyStore } from "../src/model/store.ts";
import { Status } from "../src/protocol.ts";
import { FakeKernel } from "./fake.ts";
import { AT_ONCE, connect } from "./tools.ts";

/** list, ten of resize as a stack, merge; resize-3 failed, resize-7 was the slowest. */
async function graph(): Promise<Store> {
  const nodes = [{ name: "list", group: "list", parents: [] as number[] }];
  for (let at = 0; at < 10; at++) nodes.push({ name: `resize-${at}`, group: "resize", parents: [0] });
  nodes.push({ name: "merge", group: "merge", parents: Array.from({ length: 10 }, (_, at) => at + 1) });
  const kernel = new FakeKernel(nodes);
  kernel.startedAt = 1000;
  kernel.states.forEach((state, node) => {
    const ended = node === 8 ? 30 : 2 + node / 10;
    Object.assign(state, { status: Status.COMPLETED, attempt: 1, started: 1, ended });
  });
  Object.assign(kernel.states[4] ?? {}, { status: Status.FAILED });
  Object.assign(kernel.states[11] ?? {}, {
    status: Status.PARENT_FAILED,
    attempt: 0,
    started: Number.NaN,
    ended: Number.NaN,
  });
  return (await connect(kernel)).store;
}

const options = (own: Partial<RowOptions> = {}): RowOptions => ({
  sorting: { column: "status", isDown: false },
  mask: null,
  isOpen: () => false,
  ...own,
});

test("what needs a person comes first, and a group stands where its worst member would", async () => {
  const store = await graph();
  const stack = store.markOf[4] ?? -1;

  assert.deepEqual(rowsOf(store, options()), [groupRow(stack), 11, 0]);

  const open = rowsOf(store, options({ isOpen: () => true }));
  assert.deepEqual(open.slice(0, 3), [groupRow(stack), 4, 1]);
  assert.equal(open.length, 13);
});

test("a group stands where its slowest member would; what has no time comes last", async () => {
  const store = await graph();
  const stack = groupRow(store.markOf[4] ?? -1);

  assert.deepEqual(rowsOf(store, options({ sorting: { column: "duration", isDown: false } })), [0, stack, 11]);
  const down = rowsOf(store, options({ sorting: { column: "duration", isDown: true }, isOpen: () => true }));
  assert.deepEqual(down.slice(down.indexOf(stack), down.indexOf(stack) + 2), [stack, 8]);
  const names = rowsOf(store, options({ sorting: { column: "name", isDown: true } }));
  assert.deepEqual(names, [stack, 11, 0]);
});

test("a filter leaves out nodes, and groups that have none left", async () => {
  const store = await graph();
  const mask = new Uint8Array(12);
  mask[4] = 1;
  const stack = groupRow(store.markOf[4] ?? -1);

  assert.deepEqual(rowsOf(store, options({ mask, isOpen: () => true })), [stack, 4]);
  mask[4] = 0;
  mask[0] = 1;
  assert.deepEqual(rowsOf(store, options({ mask })), [0]);
});

test("rows of a hundred thousand nodes are made in less than the second between two looks", () => {
  const total = 100_000;
  const store = new AnyStore(AT_ONCE);
  const marks = 40;
  store.total = total;
  store.markCount = marks;
  store.status = Uint8Array.from({ length: total }, (_, node) => 1 + (node % 6));
  store.started = new Float32Array(total).fill(1);
  store.ended = Float32Array.from({ length: total }, (_, node) => 1 + ((node * 7919) % 1000));
  store.markOf = Uint32Array.from({ length: total }, (_, node) => node % marks);
  store.markCounts = new Uint32Array(7 * marks);
  store.members = {
    start: Uint32Array.from({ length: marks + 1 }, (_, mark) => (mark * total) / marks),
    items: Uint32Array.from(
      { length: total },
      (_, at) => (at % (total / marks)) * marks + Math.floor(at / (total / marks)),
    ),
  };
  const began = process.cpuUsage();

  const rows = rowsOf(store, options({ sorting: { column: "duration", isDown: true }, isOpen: () => true }));

  const { user, system } = process.cpuUsage(began);
  assert.equal(rows.length, total + marks);
  assert.equal(rows.filter(isGroup).length, marks);
  assert.ok((user + system) / 1000 < 1000, `${(user + system) / 1000} ms`);
});
