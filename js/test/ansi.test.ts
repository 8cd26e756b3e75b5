// Terminal colours and links in a line of output.
import assert from "node:assert/strict";
import { test } from "node:test";
import { pieces, strip } from "../src/model/ansi.ts";

const ESC = "\x1b";

/** Each piece as "colour:text", bold with a star, links in angles. */
function told(line: string): string[] {
  return pieces(line).map(({ text, color, isBold, url }) => `${color}${isBold ? "*" : ""}:${url ? `<${url}>` : text}`);
}

test("a plain line is one piece, and an empty one is none", () => {
  assert.deepEqual(told("just words"), [":just words"]);
  assert.deepEqual(told(""), []);
});

test("colours, bold and their ends are told apart", () => {
  assert.deepEqual(told(`${ESC}[31mred${ESC}[0m plain ${ESC}[1;32mgreen${ESC}[22m thin${ESC}[39m none`), [
    "red:red",
    ": plain ",
    "green*:green",
    "green: thin",
    ": none",
  ]);
});

test("bright colours are the same hues; grey and faint text is dim", () => {
  assert.deepEqual(told(`${ESC}[91mr${ESC}[90mg${ESC}[0m${ESC}[2md`), ["red:r", "dim:g", "dim:d"]);
});

test("colours by number and by parts become the nearest hue", () => {
  assert.deepEqual(told(`${ESC}[38;5;196ma${ESC}[38;5;21mb${ESC}[38;5;240mc${ESC}[38;2;10;200;10md`), [
    "red:a",
    "blue:b",
    "dim:c",
    "green:d",
  ]);
});

test("a colour of the background is read over, and what follows it counts", () => {
  assert.deepEqual(told(`${ESC}[48;5;196;33mwarn${ESC}[48;2;1;2;3;36mcyan`), ["yellow:warn", "cyan:cyan"]);
});

test("other escapes vanish: they would stand in the text as rubbish", () => {
  const line = `${ESC}[2Ka${ESC}]0;title\x07b${ESC}]8;;x${ESC}\\c${ESC}[?25hd`;
  assert.equal(strip(line), "abcd");
  assert.deepEqual(told(line).join("").replaceAll(":", ""), "abcd");
});

test("links end before what closes a sentence, and keep their colour", () => {
  assert.deepEqual(told(`see ${ESC}[34mhttps://x.org/a?b=1.${ESC}[0m (http://y.org/z), end`), [
    ":see ",
    "blue:<https://x.org/a?b=1>",
    "blue:.",
    ": (",
    ":<http://y.org/z>",
    ":), end",
  ]);
});

test("what only looks like an address of another kind is text", () => {
  assert.deepEqual(told("javascript:alert(1) ftp://x file:///etc"), [":javascript:alert(1) ftp://x file:///etc"]);
});
