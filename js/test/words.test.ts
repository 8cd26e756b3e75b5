import assert from "node:assert/strict";
import { test } from "node:test";
import { clock, count, duration, middle, plain, say, upright } from "../src/model/words.ts";

test("numbers are written as people write them", () => {
  assert.equal(count(1024), "1,024");
  assert.equal(count(1234567), "1,234,567");
  assert.equal(count(7), "7");
});

test("durations grow from seconds to a clock", () => {
  const written = [0.8, 3.24, 9.97, 12, 59.4, 59.6, 102, 7390, 0.02, 0, Number.NaN].map(duration);
  assert.deepEqual(written, [
    "0.8 s",
    "3.2 s",
    "10 s",
    "12 s",
    "59 s",
    "1:00",
    "1:42",
    "2:03:10",
    "0.02 s",
    "< 0.001 s",
    "",
  ]);
  assert.equal(clock(42), "0:42");
});

test("a text agrees with its number", () => {
  assert.equal(say("summary.nodes", { n: 1 }), "1 node");
  assert.equal(say("summary.nodes", { n: 1024 }), "1,024 nodes");
});

test("a long name keeps its start and its end", () => {
  assert.equal(middle("resize_images_017", 12), "resize_…_017");
  assert.equal(middle("short", 12), "short");
  assert.ok(middle("x".repeat(10_000), 20).length <= 20);
  assert.equal(Array.from(middle("🙂".repeat(50), 9)).length, 9);
});

test("what would break or turn a line is shown as a sign", () => {
  assert.equal(plain("a\nb\u202Ec\td\u0000"), "a⏎b·c⇥d·");
  assert.equal(plain("<b>bold</b>"), "<b>bold</b>");
  assert.equal(plain("   "), "␣␣␣", "a link of spaces cannot be seen");
  assert.equal(upright("read \u202egnp.exe\nat line 2\t\u2066x"), "read ·gnp.exe\nat line 2\t·x");
});
