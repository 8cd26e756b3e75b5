// A window over lines that the kernel keeps, and what a filter says about them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { halves, LogRows, levelWord, spans } from "../src/model/loglines.ts";
import type { LogAsk, LogLines } from "../src/protocol.ts";

/** A kernel with `total` lines that answers when told to. */
class Kernel {
  readonly asked: LogAsk[] = [];
  private readonly waiting: (() => void)[] = [];
  readonly rows: LogRows;
  constructor(
    readonly total: number,
    readonly first = 0,
  ) {
    this.rows = new LogRows(
      (_, ask) => {
        this.asked.push(ask);
        return new Promise((resolve) => this.waiting.push(() => resolve(this.lines(ask.start ?? 0, ask.stop ?? 0))));
      },
      () => undefined,
    );
  }

  lines(start: number, stop: number): LogLines {
    const lines: unknown[][] = [];
    for (let row = Math.max(start, this.first); row < Math.min(stop, this.total); row++)
      lines.push([row, 1000 + row, row % 3, 1, 1, `line ${row}`]);
    return { first: this.first, end: this.total, start, lines };
  }

  async answer(): Promise<void> {
    for (const each of this.waiting.splice(0)) each();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

test("what is looked at is asked for once, and then it is there", async () => {
  const kernel = new Kernel(2000);
  kernel.rows.take(kernel.lines(2000, 2000));

  kernel.rows.want(600, 640);
  kernel.rows.want(600, 640);
  await kernel.answer();
  kernel.rows.want(610, 620);

  assert.equal(kernel.asked.length, 1);
  assert.equal(kernel.rows.at(639)?.text, "line 639");
  assert.equal(kernel.rows.at(639)?.node, 0);
});

test("an answer to what was wanted before the scope changed is not shown", async () => {
  const kernel = new Kernel(2000);
  kernel.rows.take(kernel.lines(2000, 2000));
  kernel.rows.want(0, 20);

  kernel.rows.reset({ stream: 2 });
  await kernel.answer();

  assert.equal(kernel.rows.at(0), undefined);
  assert.equal(kernel.rows.end, 0);
});

test("the page never holds more than ten thousand lines, and forgets the farthest", async () => {
  const kernel = new Kernel(100_000);
  kernel.rows.take(kernel.lines(100_000, 100_000));
  for (let row = 0; row < 100_000; row += 500) {
    kernel.rows.want(row, row + 500);
    await kernel.answer();
  }

  assert.ok(kernel.rows.held <= 10_000);
  assert.equal(kernel.rows.at(99_999)?.text, "line 99999");
  assert.equal(kernel.rows.at(0), undefined);
});

test("rows that were given up are not asked for", () => {
  const kernel = new Kernel(2000, 1500);
  kernel.rows.take(kernel.lines(2000, 2000));

  kernel.rows.want(0, 1400);

  assert.equal(kernel.asked.length, 0);
});

test("nodes become pairs of first and last-but-one", () => {
  assert.deepEqual(spans([7, 2, 1, 3]), [1, 4, 7, 8]);
  assert.deepEqual(spans([]), []);
});

test("every level has a word", () => {
  assert.deepEqual([1, 2, 5, 10, 25, 30, 45, 50].map(levelWord), [
    "stdout",
    "stderr",
    "debug",
    "debug",
    "info",
    "warning",
    "error",
    "critical",
  ]);
});

test("a filter's terms about lines go to the kernel, those about nodes stay", () => {
  const { lines, nodes } = halves('status:failed level>=warning "re shape" -stream:stdout attempt:2 load*');

  assert.equal(lines, 'level>=warning "re shape" -stream:stdout attempt:2');
  assert.deepEqual(
    nodes.terms.map((term) => `${term.key}:${term.value}`),
    ["status:failed", ":load*"],
  );
});

test("a filter that cannot be understood narrows nothing", () => {
  assert.deepEqual(halves('level>=warning "open'), { lines: "", nodes: { text: "", terms: [], problem: null } });
});

test("the last line of a moment is found in a log of a million, also one that is mostly not here", async () => {
  const kernel = new Kernel(1_000_000, 70_000);
  kernel.rows.take(kernel.lines(1_000_000, 1_000_000));
  kernel.rows.first = 70_000;
  const found = async (time: number): Promise<number> => {
    for (let turn = 0; turn < 30; turn++) {
      const row = kernel.rows.rowAt(time);
      if (row !== null) return row;
      await kernel.answer();
    }
    return Number.NaN;
  };

  // Line n is of the time 1000 + n.
  for (const row of [777_777, 70_000, 999_999, 500_000, 70_001]) assert.equal(await found(1000.5 + row), row);

  assert.equal(await found(3), 69_999);
  assert.equal(await found(Number.POSITIVE_INFINITY), 999_999);
  assert.ok(kernel.rows.held <= 10_000);
});

test("every moment of a long log is found while others were looked at", async () => {
  const kernel = new Kernel(200_000);
  kernel.rows.take(kernel.lines(200_000, 200_000));
  for (let row = 0; row < 200_000; row += 7919) {
    let found: number | null = null;
    for (let turn = 0; turn < 30 && found === null; turn++) {
      found = kernel.rows.rowAt(1000 + row);
      kernel.rows.want(row, row + 40);
      await kernel.answer();
    }
    assert.equal(found, row);
  }
});

test("of lines that a server gave node by node the latest is found", () => {
  const rows = new LogRows(
    () => new Promise(() => undefined),
    () => undefined,
  );
  const times = [10, 20, 30, 12, 22, 32, 11, 22, 41];
  rows.take({ first: 0, end: 9, start: 0, lines: times.map((time, row) => [row, time, row % 3, 1, 1, "line"]) });

  assert.deepEqual(
    [9, 10, 11, 21, 22, 31, 40, 50, Number.POSITIVE_INFINITY].map((time) => rows.rowAt(time)),
    [-1, 0, 6, 1, 7, 2, 5, 8, 8],
  );
});
