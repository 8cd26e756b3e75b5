// Patches that are lost, doubled and swapped: whatever the way does to them, the page shows a state that the kernel
// had, and in the end the one that it has. A thousand runs, ten thousand in `make test-all`; one that fails says its seed.
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Message, STATUS_COUNT, Store } from "../src/model/store.ts";
import { Status } from "../src/protocol.ts";
import { deflate, type FakeState, fresh, packRecords } from "./fake.ts";
import { AT_ONCE } from "./tools.ts";

const RUNS = Number(process.env.TILEDAG_RUNS ?? 1_000);
const NODES = 5;
const STEPS = 14;
const SHARE = 0.1;
const MARKS = 2;

type Sent = readonly [Message, readonly DataView[]];
type State = readonly FakeState[];

const inflatable = new Map<string, Promise<DataView>>();

/** Deflated, once for each content. */
function packed(bytes: Uint8Array): Promise<DataView> {
  const key = bytes.join();
  const known = inflatable.get(key) ?? deflate(bytes).then((each) => new DataView(each.buffer));
  inflatable.set(key, known);
  return known;
}

function chanceOf(seed: number): () => number {
  let state = seed * 2654435761 + 1;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
}

/** What a node may become next; a retry begins a new attempt. */
function after(state: FakeState, chance: () => number, now: number): FakeState {
  if (state.status === Status.RUNNING) {
    return { ...state, status: chance() < 0.6 ? Status.COMPLETED : Status.FAILED, ended: now };
  }
  if (state.status !== Status.NOT_STARTED) return { ...fresh(), attempt: state.attempt };
  if (chance() < 0.2) return { ...state, status: Status.CANCELLED, ended: now };
  return { ...fresh(), status: Status.RUNNING, attempt: state.attempt + 1, slot: 1, started: now };
}

class Kernel {
  readonly past: State[] = [Array.from({ length: NODES }, fresh)];

  get revision(): number {
    return this.past.length - 1;
  }

  get state(): State {
    return this.past[this.revision] ?? [];
  }

  step(chance: () => number): void {
    const index = Math.floor(chance() * NODES);
    this.past.push(this.state.map((each, at) => (at === index ? after(each, chance, this.revision) : each)));
  }

  patch(since: number): Sent {
    const changed = this.state.flatMap((each, index) =>
      each === this.past[since]?.[index] ? [] : [{ index, ...each }],
    );
    const head = { type: "patch", epoch: 1, since, revision: this.revision, encoding: "raw", run: null } as const;
    return [head, [new DataView(packRecords(changed).buffer)]];
  }

  async picture(): Promise<Sent[]> {
    const counts = new Array<number>(STATUS_COUNT).fill(0);
    for (const { status } of this.state) counts[status] = (counts[status] ?? 0) + 1;
    const picture = {
      type: "picture",
      epoch: 1,
      revision: this.revision,
      graph_id: "graph-1",
      total: NODES,
      marks: { kind: new Array(MARKS).fill("stack") },
      run: { status: Status.RUNNING, counts, is_ended: false, started: 0, now: 0 },
    } as unknown as Message;
    const table = await packed(new Uint8Array(Uint32Array.from({ length: NODES }, (_, at) => at % MARKS).buffer));
    const statuses = await packed(Uint8Array.from(this.state, ({ status }) => status));
    const records = await packed(packRecords(this.state.map((each, index) => ({ index, ...each }))));
    const column = { type: "columns", epoch: 1, column: "records", part: 0, of: 1, revision: this.revision } as const;
    return [
      [picture, [table, statuses]],
      [column, [records]],
    ];
  }
}

/** What the way makes of messages: some are gone, some come twice, some after the one behind them. */
function onTheWay(sent: readonly Sent[], chance: () => number): Sent[] {
  const found: Sent[] = [];
  for (const each of sent) {
    const fate = chance();
    if (fate < SHARE) continue;
    found.push(each);
    if (fate < 2 * SHARE) found.splice(Math.floor(chance() * found.length), 0, each);
    else if (fate < 3 * SHARE && found.length > 1) found.splice(-2, 2, each, ...found.slice(-2, -1));
  }
  return found;
}

function assertShows(store: Store, state: State, seed: number): void {
  const counts = new Array<number>(STATUS_COUNT).fill(0);
  const marks = new Array<number>(STATUS_COUNT * MARKS).fill(0);
  state.forEach(({ status }, node) => {
    counts[status] = (counts[status] ?? 0) + 1;
    const at = (node % MARKS) * STATUS_COUNT + status;
    marks[at] = (marks[at] ?? 0) + 1;
  });
  const statuses = state.map(({ status }) => status);
  assert.deepEqual([...store.status], statuses, `seed ${seed}: statuses at revision ${store.revision}`);
  assert.deepEqual([...store.counts], counts, `seed ${seed}: counts at revision ${store.revision}`);
  assert.deepEqual([...store.markCounts], marks, `seed ${seed}: counts of marks at revision ${store.revision}`);
}

/** True if the page had to ask for everything. */
async function run(seed: number): Promise<boolean> {
  const chance = chanceOf(seed);
  const kernel = new Kernel();
  const store = new Store(AT_ONCE);
  let asked = false;
  const take = async (sent: readonly Sent[]): Promise<boolean> => {
    let isBehind = false;
    for (const [message, buffers] of sent) {
      const before = store.revision;
      isBehind = (await store.receive(message, buffers)) === "gap" || isBehind;
      assert.ok(store.revision >= before, `seed ${seed}: revision ${store.revision} after ${before}`);
      assertShows(store, kernel.past[store.revision] ?? [], seed);
    }
    return isBehind;
  };
  await take(await kernel.picture());
  let told = 0;
  let sent: Sent[] = [];
  for (let step = 0; step < STEPS; step++) {
    kernel.step(chance);
    if (chance() < 0.4) continue; // merged with the next one
    sent.push(kernel.patch(told));
    told = kernel.revision;
    if (chance() < 0.5) continue; // on the way together
    const isBehind = await take(onTheWay(sent, chance));
    sent = [];
    if (!isBehind) continue;
    asked = true;
    // While the answer is on its way, the graph goes on.
    const [picture, records] = await kernel.picture();
    kernel.step(chance);
    const patch = kernel.patch(told);
    told = kernel.revision;
    if (picture && records) await take(chance() < 0.5 ? [picture, records, patch] : [picture, patch, records]);
  }
  await take(onTheWay(sent, chance));
  const beat = { type: "beat", epoch: 1, revision: told, progress: [] as number[] } as const;
  if (store.receive(beat, []) === "gap") {
    asked = true;
    await take(await kernel.picture());
  } else if (told < kernel.revision) await take([kernel.patch(told)]);
  assert.equal(store.revision, kernel.revision, `seed ${seed}`);
  assertShows(store, kernel.state, seed);
  kernel.state.forEach(({ attempt }, node) => {
    assert.equal(store.attempt[node], attempt, `seed ${seed}: attempt of ${node}`);
  });
  return asked;
}

test("lost, doubled and swapped patches end in the kernel's state, through states that it had", async () => {
  let asked = 0;
  for (let seed = 0; seed < RUNS; seed++) asked += Number(await run(seed));
  assert.ok(asked > RUNS / 4 && asked < RUNS, `${asked} runs had to ask for everything`);
});
