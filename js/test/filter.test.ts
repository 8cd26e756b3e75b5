// The filter language, by the vectors that `view/filter.py` is tested with too.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { match, matches, parse, problemWords, pythonFor, without } from "../src/model/filter.ts";
import { Lens } from "../src/model/lens.ts";
import { Store } from "../src/model/store.ts";
import { Status } from "../src/protocol.ts";
import { deflate, FakeKernel } from "./fake.ts";
import { AT_ONCE, connect } from "./tools.ts";

interface Node {
  name: string;
  group: number;
  parents: number[];
  status: number;
  attempt: number;
  started: number | null;
  ended: number | null;
  before?: number;
  error?: string;
}
interface Vectors {
  now: number;
  groups: string[];
  nodes: Node[];
  cases: { filter: string; nodes?: number[]; problem?: string; at?: number }[];
}
const VECTORS = JSON.parse(readFileSync("../tests/filters/vectors.json", "utf8")) as Vectors;

async function graph(): Promise<Store> {
  const kernel = new FakeKernel(
    VECTORS.nodes.map(({ name, group, parents }) => ({ name, group: VECTORS.groups[group] ?? "", parents })),
  );
  kernel.startedAt = Date.now() / 1000 - VECTORS.now;
  VECTORS.nodes.forEach((node, index) => {
    const { status, attempt } = node;
    const started = node.started ?? Number.NaN;
    Object.assign(kernel.states[index] ?? {}, { status, attempt, started, ended: node.ended ?? Number.NaN });
  });
  const { store } = await connect(kernel);
  VECTORS.nodes.forEach(({ attempt, before }, index) => {
    if (before === undefined) return;
    const record = { index, status: Status.FAILED, attempt: attempt - 1, slot: 0, started: before - 1, ended: before };
    store.past.set(index, [record]);
  });
  return store;
}

test("the shared vectors hold", async () => {
  const store = await graph();
  for (const { filter, nodes, problem, at } of VECTORS.cases) {
    const parsed = parse(filter);
    assert.deepEqual([parsed.problem?.code, parsed.problem?.from], [problem, at], filter);
    if (!nodes) {
      assert.equal(match(parsed, store), null);
      assert.ok(parsed.problem && !problemWords(parsed.problem).includes("{"), filter);
      continue;
    }
    const mask = match(parsed, store, { errorOf: (node) => VECTORS.nodes[node]?.error ?? "" });
    const found = mask ? [...mask].flatMap((each, node) => (each ? [node] : [])) : VECTORS.nodes.map((_, node) => node);
    assert.deepEqual(found, nodes, filter);
  }
});

test("members of a band are found by their function, which the marks cannot tell", async () => {
  const kernel = new FakeKernel(
    ["load", "clean", "load", "clean"].map((group, at) => ({ name: `node-${at}`, group, parents: [] })),
  );
  const { store } = await connect(kernel);
  const found = (text: string): number[] =>
    [...(match(parse(text), store) ?? [])].flatMap((is, at) => (is ? [at] : []));
  const names = new TextEncoder().encode("clean\nload");
  const bytes = new Uint8Array(4 + names.length + 16);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, names.length, true);
  bytes.set(names, 4);
  for (const [at, group] of [1, 0, 1, 0].entries()) view.setUint32(4 + names.length + 4 * at, group, true);
  store.markOf.fill(0);

  const chunk = { type: "columns", epoch: store.epoch, column: "groups", part: 0, of: 1, revision: 0 } as const;
  const packed = await deflate(bytes);
  assert.equal(await store.receive(chunk, [new DataView(packed.buffer)]), "ok");

  assert.deepEqual(found("function:load"), [0, 2]);
  assert.deepEqual(found("-group:l*"), [1, 3]);
  assert.deepEqual(
    [...(match(parse("function:clean"), new Lens(store, new AbortController().signal)) ?? [])],
    [0, 1, 0, 1],
  );
});

test("a filter gives back its terms one by one, and the Python for it", () => {
  const filter = parse('status:failed  "a \\"b\\""  +merge');
  const [first, second] = filter.terms;
  assert.ok(first && second);
  assert.equal(without(filter, first), '"a \\"b\\"" +merge');
  assert.equal(without(filter, second), "status:failed +merge");
  const spaced = parse('"two  spaces"  merge\t"a\ttab  "');
  assert.deepEqual(
    spaced.terms.map((term) => without(spaced, term)),
    ['merge "a\ttab  "', '"two  spaces" "a\ttab  "', '"two  spaces" merge'],
  );
  assert.equal(pythonFor(' "x" y ', "dag"), 'dag.find("\\"x\\" y")');
});

test("a hundred thousand nodes are matched within a frame", () => {
  const total = 100_000;
  const store = new Store(AT_ONCE);
  store.total = total;
  store.names = Array.from({ length: total }, (_, node) => `resize_image-${node}`);
  store.status = new Uint8Array(total).fill(3);
  store.status[77_777] = 4;
  const filter = parse("status:failed resize_image-7*");
  const times = Array.from({ length: 7 }, () => {
    const began = process.cpuUsage();
    const mask = match(filter, store);
    const { user, system } = process.cpuUsage(began);
    const took = (user + system) / 1000;
    assert.equal(mask?.[77_777], 1);
    return took;
  });
  // After names were put in lower case once; what counts is the time of this process, not that of a busy machine.
  const best = Math.min(...times);
  assert.ok(best < 16, `${best.toFixed(1)} ms`);
});

test("a part of a name is enough, whatever the case", () => {
  assert.ok(matches("Resize-17", "size"));
  assert.ok(matches("anything", "  "));
  assert.ok(!matches("resize", "merge"));
});

test("a star stands for anything, and then the whole name has to fit", () => {
  assert.ok(matches("resize-17", "resize*"));
  assert.ok(matches("resize-17", "r*-*7"));
  assert.ok(!matches("my-resize-17", "resize*"));
  assert.ok(!matches("ab", "ab*b"));
  assert.ok(matches("a.c(d)+", "a.c(*)+"));
});
