// A line of output as pieces: terminal colours become names of the theme's colours, other escapes vanish, links are told
// apart. Pure text in, plain objects out; nothing here is ever HTML.

export interface Piece {
  readonly text: string;
  /** "red" and so on, "dim", or empty. */
  readonly color: string;
  readonly isBold: boolean;
  /** The address, for a link. */
  readonly url: string;
}

const COLORS = ["", "red", "green", "yellow", "blue", "magenta", "cyan", ""] as const;
// biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences are control characters
const ESCAPE = /\x1b\[([0-9;:]*)m|\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[@-Z\\^_]?/g;
const LINK = /https?:\/\/[^\s<>"'`\\]*[^\s<>"'`\\.,;:!?)\]}]/g;

/** The nearest of the theme's colours: the hue, for a theme must stay readable whatever a program asks for. */
function ofRgb(red: number, green: number, blue: number): string {
  const most = Math.max(red, green, blue);
  const least = Math.min(red, green, blue);
  if (most - least < 48) return most < 160 ? "dim" : "";
  const high = least + (most - least) / 2;
  return COLORS[(red > high ? 1 : 0) + (green > high ? 2 : 0) + (blue > high ? 4 : 0)] ?? "";
}

function ofNumber(color: number): string {
  if (color < 16) return color === 8 ? "dim" : (COLORS[color % 8] ?? "");
  if (color > 231) return color < 244 ? "dim" : "";
  const step = (each: number): number => (each % 6) * 51;
  const own = color - 16;
  return ofRgb(step(Math.floor(own / 36)), step(Math.floor(own / 6)), step(own));
}

export function strip(text: string): string {
  return text.includes("\x1b") ? text.replace(ESCAPE, "") : text;
}

export function pieces(line: string): Piece[] {
  const found: Piece[] = [];
  let color = "";
  let isBold = false;
  const add = (text: string): void => {
    let at = 0;
    for (const link of text.matchAll(LINK)) {
      if (link.index > at) found.push({ text: text.slice(at, link.index), color, isBold, url: "" });
      found.push({ text: link[0], color, isBold, url: link[0] });
      at = link.index + link[0].length;
    }
    if (at < text.length) found.push({ text: text.slice(at), color, isBold, url: "" });
  };
  const turn = (codes: number[]): void => {
    for (let at = 0; at < codes.length; at++) {
      const code = codes[at] ?? 0;
      if (code === 0) [color, isBold] = ["", false];
      else if (code === 1) isBold = true;
      else if (code === 2) color = "dim";
      else if (code === 22) isBold = false;
      else if (code >= 30 && code < 38) color = COLORS[code - 30] ?? "";
      else if (code >= 90 && code < 98) color = code === 90 ? "dim" : (COLORS[code - 90] ?? "");
      else if (code === 39) color = "";
      else if (code === 38 || code === 48) {
        const isNumber = codes[at + 1] === 5;
        const own = isNumber
          ? ofNumber(codes[at + 2] ?? 0)
          : ofRgb(codes[at + 2] ?? 0, codes[at + 3] ?? 0, codes[at + 4] ?? 0);
        if (code === 38) color = own;
        at += isNumber ? 2 : 4;
      }
    }
  };
  let at = 0;
  if (line.includes("\x1b"))
    for (const sequence of line.matchAll(ESCAPE)) {
      add(line.slice(at, sequence.index));
      at = sequence.index + sequence[0].length;
      if (sequence[1] !== undefined) turn(sequence[1].split(/[;:]/).map(Number));
    }
  add(line.slice(at));
  return found;
}
