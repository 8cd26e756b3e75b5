// The source of one view: all of another source, and a store of the view's own that can show a past moment.
import { Lens } from "../model/lens.ts";
import type { Source } from "./source.ts";

export function lensed(source: Source, signal: AbortSignal): Source {
  const lens = new Lens(source.store, signal);
  return new Proxy(source, {
    get(target, name) {
      if (name === "store") return lens;
      const found: unknown = Reflect.get(target, name, target);
      return typeof found === "function" ? found.bind(target) : found;
    },
  });
}
