// What several tests need: a store behind a kernel, and turns of the event loop.
import { type Schedule, Store } from "../src/model/store.ts";
import { CommSource } from "../src/sources/comm.ts";
import type { FakeKernel } from "./fake.ts";

export const AT_ONCE: Schedule = (run) => run();

/** Wait until something holds; fails after two seconds. */
export async function until(holds: () => boolean, what = "the condition"): Promise<void> {
  const end = Date.now() + 2000;
  while (!holds()) {
    if (Date.now() > end) throw new Error(`${what} did not come true`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** A few turns, for what must not happen. */
export async function turns(): Promise<void> {
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setTimeout(resolve, 1));
}

/** A store that has received the kernel's opening; its source is closed again. */
export async function connect(kernel: FakeKernel): Promise<{ store: Store }> {
  const source = new CommSource(kernel, new Store(AT_ONCE));
  source.open();
  await until(() => source.store.names !== null && source.store.children !== null, "the opening");
  source.close();
  return { store: source.store };
}
