import assert from "node:assert/strict";
import { test } from "node:test";
import type { Store } from "../src/model/store.ts";
import { Status } from "../src/protocol.ts";
import { isSlow } from "../src/model/left.ts";
import { place } from "../src/render/place.ts";
import {
  buildScene,
  fitCamera,
  hitTest,
  leastZoom,
  levelOf,
  reachMarks,
  type SceneInput,
  zoomAt,
} from "../src/render/scene.ts";
import { FakeKernel } from "./fake.ts";
import { connect } from "./tools.ts";

async function grid(ranks: number, across: number): Promise<{ store: Store; input: SceneInput }> {
  const nodes = Array.from({ length: ranks * across }, (_, at) => ({
    name: `n-${at}`,
    group: `g-${at}`,
    parents: at < across ? [] : [at - across],
  }));
  const kernel = new FakeKernel(nodes);
  kernel.startedAt = Date.now() / 1000;
  const failed = kernel.states[1];
  if (failed) Object.assign(failed, { status: Status.FAILED, attempt: 2, started: 0, ended: 3.2 });
  const { store } = await connect(kernel);
  const picture = store.picture;
  assert.ok(picture);
  const places = place(picture.marks, picture.edges, "right");
  const input: SceneInput = {
    store,
    places,
    camera: { x: 0, y: 0, k: 1 },
    width: 1000,
    height: 400,
    selected: new Set([0]),
    focused: -1,
    lit: null,
    touched: null,
    hasEdges: true,
    errorOf: () => "ValueError",
  };
  return { store, input };
}

test("the level of detail follows the width of a card on screen", () => {
  const levels = [1, 120 / 168, 0.5, 60 / 168, 0.2, 0.1, 0.04, 0.01].map(levelOf);
  assert.deepEqual(levels, ["card", "card", "chip", "chip", "pill", "block", "cell", "cell"]);
  assert.equal(levelOf(leastZoom("chip")), "chip");
});

test("only what meets the view and 200 px round it is drawn", async () => {
  const { input } = await grid(30, 30);
  const scene = buildScene(input);

  assert.ok(scene.marks.length > 0 && scene.marks.length < 900);
  for (const mark of scene.marks) {
    assert.ok(mark.x < input.width + 200 && mark.y < input.height + 200);
    assert.ok(mark.x + mark.width > -200 && mark.y + mark.height > -200);
  }
  assert.ok(scene.shown <= scene.marks.length);
});

test("more than 300 cards in view become chips", async () => {
  const { input } = await grid(30, 30);
  const scene = buildScene({ ...input, width: 4000, height: 2200, camera: { x: 0, y: 0, k: 0.75 } });
  assert.equal(scene.level, "chip");
});

test("however much there is, at most 300 cards, 2,000 plain marks and 2,000 edges are drawn", async () => {
  const { input } = await grid(50, 60);
  for (const k of [0.03, 0.06, 0.1, 0.2, 0.4, 0.75, 1, 2.5]) {
    const scene = buildScene({ ...input, width: 9000, height: 6000, camera: { x: 0, y: 0, k } });

    assert.ok(scene.marks.length <= (scene.level === "card" ? 300 : 2000), `${scene.marks.length} at ${k}`);
    assert.ok(scene.edges.length <= 2000, `${scene.edges.length} edges at ${k}`);
    if (scene.level === "cell") assert.ok(scene.cells.length > 0 && scene.cells.length <= 3000);
  }
});

test("a failure wins its cell at the smallest zoom", async () => {
  const { input } = await grid(20, 20);
  const scene = buildScene({ ...input, camera: fitCamera(input.places.bounds, 60, 40, 2) });

  assert.equal(scene.level, "cell");
  assert.ok(scene.cells.length < 400);
  assert.equal(scene.cells.filter((cell) => cell.status === Status.FAILED).length, 1);
});

test("a card says what its status needs", async () => {
  const { input } = await grid(2, 3);
  const marks = buildScene(input).marks;

  assert.equal(marks[1]?.detail, "ValueError");
  assert.equal(marks[1]?.badge, "↻2");
  assert.equal(marks[3]?.detail, "waits for n-0");
  assert.equal(marks[0]?.isSelected, true);
});

test("a node that could start says that it waits for a worker, a retried one too", async () => {
  const { store, input } = await grid(2, 3);
  store.status[0] = Status.COMPLETED;
  store.status[1] = Status.NOT_STARTED;
  const marks = buildScene(input).marks;

  assert.equal(marks[1]?.detail, "waits for a worker");
  assert.equal(marks[3]?.detail, "waits for a worker");
});

test("what has no place is neither drawn nor hit", async () => {
  const { store, input } = await grid(2, 3);
  const picture = store.picture;
  assert.ok(picture);
  const places = place(picture.marks, picture.edges, "right", new Set([1, 4]));
  const scene = buildScene({ ...input, places });

  assert.deepEqual(
    scene.marks.map((mark) => mark.mark),
    [1, 4],
  );
  assert.equal(scene.edges.length, 1);
  assert.equal(hitTest({ places, camera: input.camera }, 20, 20), 1);
});

test("a click hits the mark under it and nothing beside it", async () => {
  const { input } = await grid(2, 3);
  assert.equal(hitTest(input, 20, 20), 0);
  assert.equal(hitTest(input, 190, 20), -1);
  const zoomed = { ...input, camera: zoomAt(input.camera, 2, 20, 20, 0.1, 2.5) };
  assert.equal(hitTest(zoomed, 20, 20), 0);
  assert.equal(zoomed.camera.k, 2);
});

test("a status change moves nothing", async () => {
  const { store, input } = await grid(3, 3);
  const before = buildScene(input).marks.map(({ x, y, width, height }) => [x, y, width, height]);
  store.status[0] = Status.FAILED;
  const after = buildScene(input).marks.map(({ x, y, width, height }) => [x, y, width, height]);
  assert.deepEqual(after, before);
});

test("hover lights what leads here and what follows, the rest is dim", async () => {
  const { store, input } = await grid(3, 2);
  const lit = { up: reachMarks(store, 2, false), down: reachMarks(store, 2, true) };
  const scene = buildScene({ ...input, lit });

  assert.deepEqual([...lit.up].sort(), [0, 2]);
  assert.deepEqual([...lit.down].sort(), [2, 4]);
  assert.deepEqual(
    scene.marks.map((mark) => mark.emphasis),
    ["lit", "dim", "lit", "dim", "lit", "dim"],
  );
  assert.deepEqual(
    scene.edges.map((edge) => edge.style),
    ["up", "dim", "down", "dim"],
  );
});

test("edges that are too many to draw are counted", async () => {
  const { input } = await grid(50, 60);
  const camera = { x: 0, y: 0, k: 0.03 };
  const scene = buildScene({ ...input, width: 9000, height: 6000, camera });

  assert.equal(scene.edges.length, 2000);
  assert.equal(scene.edges.length + scene.left, 49 * 60);
  assert.equal(buildScene({ ...input, width: 300, height: 200, camera: { ...camera, k: 1 } }).left, 0);
});

test("a node that takes over twice the median of its function has a clock", async () => {
  const times = [2, 2, 2, 4.1, 3.9];
  const kernel = new FakeKernel(
    [...times, 9, 0.5].map((_, at) => ({ name: `n-${at}`, group: at < 5 ? "f" : "g", parents: [] })),
  );
  kernel.foldFrom = 100;
  kernel.startedAt = Date.now() / 1000 - 60;
  times.forEach((took, node) => {
    const state = { status: Status.COMPLETED, attempt: node === 3 ? 2 : 1, started: 1, ended: 1 + took };
    Object.assign(kernel.states[node] ?? {}, state);
  });
  // The only one of its function has no other to be compared with, and what is quick bothers nobody.
  Object.assign(kernel.states[5] ?? {}, { status: Status.COMPLETED, attempt: 1, started: 0, ended: 9 });
  const { store } = await connect(kernel);

  assert.deepEqual(
    [...store.status.keys()].filter((node) => isSlow(store, node)),
    [3],
  );
});

test("nodes of a mark of several functions are compared once their functions are known", async () => {
  const times = [2, 2, 2, 9, 9, 9, 9, 5];
  const kernel = new FakeKernel(times.map((_, at) => ({ name: `n-${at}`, group: "all", parents: [] })));
  kernel.startedAt = Date.now() / 1000 - 60;
  times.forEach((took, node) => {
    Object.assign(kernel.states[node] ?? {}, { status: Status.COMPLETED, attempt: 1, started: 1, ended: 1 + took });
  });
  const { store } = await connect(kernel);
  const slow = (): number[] => [...store.status.keys()].filter((node) => isSlow(store, node));
  if (store.picture) store.picture.marks.group = [-1];
  assert.deepEqual(slow(), []);

  store.groups = { names: ["f", "g"], of: Uint32Array.of(0, 0, 0, 1, 1, 1, 1, 0) };
  assert.deepEqual(slow(), [7]);
});

test("in a replay a node is compared with what had ended by then", async () => {
  const times = [2, 2, 2, 5, 9, 9, 9, 9];
  const kernel = new FakeKernel(times.map((_, at) => ({ name: `n-${at}`, group: "all", parents: [] })));
  kernel.startedAt = Date.now() / 1000 - 60;
  times.forEach((took, node) => {
    Object.assign(kernel.states[node] ?? {}, { status: Status.COMPLETED, attempt: 1, started: 1, ended: 1 + took });
  });
  const { store } = await connect(kernel);
  assert.equal(isSlow(store, 3), false);

  store.shownAt = 7;
  store.status.fill(Status.RUNNING, 4);
  await new Promise((done) => setTimeout(done, 50));
  assert.equal(isSlow(store, 3), true);
});

test("edges of a cycle stand out, unless something else is pointed out", async () => {
  const { store, input } = await grid(3, 1);
  if (store.picture) store.picture.cyclic = [1];
  assert.deepEqual(
    buildScene(input).edges.map((edge) => edge.style),
    ["normal", "cycle"],
  );
  const lit = { up: reachMarks(store, 1, false), down: reachMarks(store, 1, true) };
  assert.deepEqual(
    buildScene({ ...input, lit }).edges.map((edge) => edge.style),
    ["up", "down"],
  );
});
