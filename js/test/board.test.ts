import assert from "node:assert/strict";
import { test } from "node:test";
import type { Store } from "../src/model/store.ts";
import { Status } from "../src/protocol.ts";
import { Board, HEAD, type Open, shapeOf } from "../src/render/board.ts";
import { place, sizeOf } from "../src/render/place.ts";
import { Boards } from "../src/views/boards.ts";
import { FakeKernel } from "./fake.ts";
import { connect } from "./tools.ts";

async function fan(size: number, failed: readonly number[] = []): Promise<Store> {
  const nodes = [{ name: "list", group: "list", parents: [] as number[] }];
  for (let at = 0; at < size; at++) nodes.push({ name: `resize-${at}`, group: "resize", parents: [0] });
  const kernel = new FakeKernel(nodes);
  for (const node of failed) Object.assign(kernel.states[node] ?? {}, { status: Status.FAILED, attempt: 1 });
  return (await connect(kernel)).store;
}

const tiles = (status = 0, top = 0): Open => ({ form: "tiles", status, top });

test("tiles are 12 pixels, 6 above 2,000, in a board of at most 480 by 240 that scrolls beyond", () => {
  for (const size of [2, 8, 60, 331, 1024, 2000, 2001, 33_000, 100_000]) {
    const shape = shapeOf(size, "tiles");
    assert.equal(shape.cell.width - shape.gap, size > 2000 ? 6 : 12, `${size}`);
    assert.ok(shape.columns * shape.cell.width - shape.gap <= 480, `${size} is too wide`);
    assert.ok(shape.view <= 240, `${size} is too high`);
    assert.ok(shape.columns * shape.rows >= size);
  }
});

test("sixty cards fit on a board without scrolling", () => {
  const shape = shapeOf(60, "cards");
  assert.equal(shape.view, shape.rows * shape.cell.height - shape.gap);
  assert.ok(shape.rows <= 12 && shape.columns * shape.rows >= 60);
});

test("a tile is found where it is drawn, however far the board is scrolled", async () => {
  const store = await fan(1024);
  for (const top of [0, 50, 1e6]) {
    const board = new Board(store, 1, tiles(0, top), -1, () => "");
    const [first, last] = board.range();
    for (let at = first; at < last; at += 7) {
      const { x, y, width, height } = board.boxOf(at);
      const middle = { x: x + width / 2, y: y + height / 2 };
      if (middle.y < HEAD || middle.y > HEAD + board.shape.view) continue;
      assert.equal(board.tileAt(middle.x, middle.y), at);
    }
    assert.equal(board.tileAt(5, 5), -1);
  }
});

test("a filter shows only its members and leaves the board as large as it was", async () => {
  const store = await fan(100, [5, 77]);
  const board = new Board(store, 1, tiles(Status.FAILED), -1, () => "");

  assert.deepEqual([...board.members], [5, 77]);
  assert.deepEqual(board.shape, shapeOf(100, "tiles"));
});

test("what is drawn is told apart by statuses, scrolling and the tile under the keyboard", async () => {
  const store = await fan(100);
  const look = (open: Open, cursor = -1): string => new Board(store, 1, open, cursor, () => "").look();
  const before = look(tiles());

  assert.equal(look(tiles()), before);
  assert.notEqual(look(tiles(), 3), before);
  store.status[9] = Status.FAILED;
  assert.notEqual(look(tiles()), before);
});

function boardsOf(store: Store): Boards {
  // No element is made before a board is placed on screen.
  const made = Object.create(Boards.prototype) as Boards & Record<string, unknown>;
  const none = { resized: () => undefined, changed: () => undefined };
  Object.assign(made, { store: () => store, events: none, opens: new Map(), heads: new Map(), cursor: -1 });
  return made;
}

test("arrows walk the tiles and lead out of the board at its edges", async () => {
  const store = await fan(100, [45]);
  const boards = boardsOf(store);
  boards.toggle(1);
  boards.enter(1);
  assert.equal(boards.node(1), 45, "the first failure comes first");

  boards.walk(1, 1, 0);
  assert.equal(boards.node(1), 46);
  boards.walk(1, 0, 1);
  assert.equal(boards.node(1), 46 + shapeOf(100, "tiles").columns);
  boards.point(1, 1);
  assert.equal(boards.walk(1, -1, 0), false);
  assert.equal(boards.node(1), -1);
});

test("a failure far down is scrolled to, also when the filter hid it", async () => {
  const store = await fan(2000, [1990]);
  const boards = boardsOf(store);
  boards.toggle(1);
  boards.opens.set(1, tiles(Status.RUNNING));

  const box = boards.point(1, 1990);

  assert.equal(boards.node(1), 1990);
  assert.ok(box && box.y >= HEAD && box.y + box.height <= HEAD + shapeOf(2000, "tiles").view);
  assert.equal(boards.opens.get(1)?.status, 0);
});

test("opening makes room and changes no order; folding gives it back", async () => {
  const store = await fan(64);
  const picture = store.picture;
  assert.ok(picture);
  const kind = picture.marks.kind;
  const closed = place(picture.marks, picture.edges, "right");
  const open = place(picture.marks, picture.edges, "right", null, (mark) =>
    mark === 1 ? { ...shapeOf(64, "tiles"), slips: 0 } : sizeOf(kind[mark] ?? "card"),
  );
  const order = (places: typeof open): number[] => [...places.x.keys()].sort((a, b) => places.x[a]! - places.x[b]!);

  assert.ok(open.height[1]! > closed.height[1]!);
  assert.deepEqual(order(open), order(closed));
  assert.deepEqual(place(picture.marks, picture.edges, "right"), closed);
});
