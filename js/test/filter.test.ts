import assert from "node:assert/strict";
import { test } from "node:test";
import { matches } from "../src/model/filter.ts";

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
