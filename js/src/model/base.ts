// What the second part of the bundle takes from the first one, and the name by which it knows that both were made
// together. `build.mjs` fills it in.

export const base: readonly unknown[] = [];
export const name: string = "";
