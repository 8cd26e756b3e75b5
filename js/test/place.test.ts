import assert from "node:assert/strict";
import { test } from "node:test";
import type { MarkEdges, MarkKind, Marks } from "../src/protocol.ts";
import { acrossMap, CARD, chooseDirection, GAP_ACROSS, GAP_ALONG, place, STACK } from "../src/render/place.ts";

function marks(...rows: [MarkKind, number, number][]): Marks {
  return {
    kind: rows.map(([kind]) => kind),
    name: rows.map((_, index) => `m${index}`),
    size: rows.map(([kind]) => (kind === "card" ? 1 : 10)),
    first: rows.map((_, index) => index),
    rank: rows.map(([, rank]) => rank),
    order: rows.map(() => 0),
    slot: rows.map(([, , slot]) => slot),
    group: rows.map(() => -1),
  };
}

function edges(...rows: [number, number, number[]?][]): MarkEdges {
  return {
    source: rows.map(([source]) => source),
    target: rows.map(([, target]) => target),
    count: rows.map(() => 1),
    bends: rows.map(([, , bends]) => bends ?? []),
  };
}

test("columns stand at prefix sums of the widest mark", () => {
  const places = place(marks(["card", 0, 0], ["stack", 1, 0], ["card", 1, 1], ["card", 2, 0]), edges(), "right");

  assert.deepEqual(
    [...places.x],
    [0, CARD.width + GAP_ALONG, CARD.width + GAP_ALONG, CARD.width + STACK.width + 2 * GAP_ALONG],
  );
});

test("neighbours in a rank keep their gap, whatever stands beside them", () => {
  const kinds: MarkKind[] = ["card", "stack", "stack", "card", "chain", "card"];
  const places = place(
    marks(...kinds.map((kind, slot): [MarkKind, number, number] => [kind, 0, slot])),
    edges(),
    "right",
  );

  for (let mark = 1; mark < kinds.length; mark++) {
    const above = (places.y[mark - 1] ?? 0) + (places.height[mark - 1] ?? 0);
    assert.ok((places.y[mark] ?? 0) - above >= GAP_ACROSS - 0.001, `mark ${mark} is too near`);
  }
});

test("the map across is monotone and keeps one slot on one line", () => {
  const slots = [0, 0.5, 1.25, 3, 3.5, 7];
  const map = acrossMap(slots, (mark) => (mark % 2 ? 64 : 44), 68);
  let before = Number.NEGATIVE_INFINITY;
  for (let slot = -2; slot < 10; slot += 0.05) {
    assert.ok(map(slot) > before);
    before = map(slot);
  }
  const places = place(marks(["card", 0, 2], ["card", 1, 2], ["stack", 1, 0], ["card", 2, 2]), edges(), "right");
  assert.equal(places.y[0], places.y[1]);
  assert.equal(places.y[0], places.y[3]);
});

test("an edge goes from port to port through its bends", () => {
  const places = place(marks(["card", 0, 0], ["card", 1, 0], ["card", 2, 0]), edges([0, 2, [1]]), "right");
  const line = places.lines[0] ?? new Float64Array();

  assert.equal(line.length, 8);
  assert.equal(line[0], CARD.width);
  assert.equal(line.at(-2), places.x[2]);
  assert.equal(line[3], line[5]);
  assert.ok((line[3] ?? 0) > (places.y[0] ?? 0) + CARD.height);
  assert.ok(places.bounds.y + places.bounds.height >= (line[3] ?? 0));
});

test("turning swaps the axes and keeps the order", () => {
  const own = marks(["card", 0, 0], ["card", 1, 0], ["stack", 1, 1]);
  const down = place(own, edges([0, 1]), "down");

  assert.equal(down.y[0], 0);
  assert.equal(down.y[1], CARD.height + GAP_ALONG);
  assert.ok((down.x[1] ?? 0) < (down.x[2] ?? 0));
});

test("a narrow view reads from top to bottom", () => {
  const own = marks(["card", 0, 0], ["card", 1, 0]);
  assert.equal(chooseDirection(own, edges(), 400, 300), "down");
  assert.equal(chooseDirection(own, edges(), 1200, 300), "right");
});

test("no mark is fine", () => {
  assert.deepEqual(place(marks(), edges(), "right").bounds, { x: 0, y: 0, width: 0, height: 0 });
});

test("what is taken away leaves no gap, and the order stays", () => {
  const all = marks(["card", 0, 0], ["card", 0, 5], ["card", 1, 2], ["card", 2, 5], ["card", 3, 4]);
  const lines = edges([0, 2], [1, 2], [1, 4, [9, 5]], [2, 3], [3, 4]);
  const some = place(all, lines, "right", new Set([0, 1, 4]));

  assert.ok(Number.isNaN(some.x[2] ?? 0) && Number.isNaN(some.y[3] ?? 0));
  assert.equal(some.x[4], CARD.width + GAP_ALONG);
  assert.equal((some.y[1] ?? 0) - (some.y[0] ?? 0), 2 * (CARD.height + GAP_ACROSS));
  assert.deepEqual(
    some.lines.map((line) => line.length),
    [0, 0, 4, 0, 0],
  );
  assert.equal(some.bounds.width, 2 * CARD.width + GAP_ALONG);
  assert.deepEqual(place(all, lines, "right", null), place(all, lines, "right"));
});
