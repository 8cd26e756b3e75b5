// Columns that come because somebody asked for them.
import type { Store } from "./store.ts";

/** A column that was asked for, when it has come; rejected when `signal` says that nobody waits any more. */
export function asideOf(store: Store, number: number, signal: AbortSignal): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    const life = new AbortController();
    const look = (): void => {
      const bytes = store.asides.get(number);
      if (!bytes) return;
      store.asides.delete(number);
      life.abort();
      resolve(bytes);
    };
    store.subscribe(look, AbortSignal.any([life.signal, signal]));
    look();
  });
}
