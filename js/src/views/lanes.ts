// Worker slots as lanes below the graph: one row a worker, with the node that it runs now and those that it ran last.
import type { Focus } from "../model/focus.ts";
import { type Lane, lanesOf } from "../model/lanes.ts";
import type { Store } from "../model/store.ts";
import { duration, middle, plain, say } from "../model/words.ts";
import { type NodeRecord, STATUS_WORDS, Status } from "../protocol.ts";
import { ticking } from "../render/scene.ts";
import { STATUS_NAMES } from "../render/theme.ts";
import { element, fill, glyph, on, set, setText } from "./dom.ts";

/** Ended nodes in a lane: more than fit are cut off at its end. */
const MOST_RECENT = 12;
const EVERY_MS = 200;
const LONGEST_NAME = 28;
/** Rows that are seen at once; more scroll. */
const MOST_ROWS = 8;
const ROW = 26;
const AROUND = 9;

export interface LaneEvents {
  /** Show this node on the graph, -1 for none. */
  point(node: number): void;
  reveal(node: number): void;
  /** Its height is another one now. */
  resized(): void;
}

interface Row {
  readonly root: HTMLElement;
  readonly idle: HTMLElement;
  readonly track: HTMLElement;
  /** By node and attempt. */
  chips: Map<string, HTMLElement>;
}

export class LaneStrip {
  readonly root = element("div.td-lanes", { role: "group", "aria-label": say("lanes.title"), hidden: true });
  private readonly list = element("div.td-lanelist");
  private readonly note = element("div.td-lanenote");
  private readonly store: Store;
  private readonly focus: Focus;
  private readonly events: LaneEvents;
  private readonly rows: Row[] = [];
  private timer: ReturnType<typeof setTimeout> | undefined;
  private doneAt = 0;
  private pointed = -1;

  constructor(store: Store, focus: Focus, events: LaneEvents, signal: AbortSignal) {
    this.store = store;
    this.focus = focus;
    this.events = events;
    fill(this.root, this.list, this.note);
    const nodeOf = ({ target }: Event): number => {
      const chip = target instanceof Element ? target.closest<HTMLElement>(".td-lanechip") : null;
      return chip ? Number(chip.dataset.node) : -1;
    };
    on(this.root, "click", signal, (event) => {
      const node = nodeOf(event);
      if (node >= 0) events.reveal(node);
    });
    for (const name of ["pointerover", "focusin"]) on(this.root, name, signal, (event) => this.point(nodeOf(event)));
    for (const name of ["pointerleave", "focusout"]) on(this.root, name, signal, () => this.point(-1));
    focus.subscribe((changed) => {
      if (changed.has("hovered") || changed.has("nodes")) this.mark();
    }, signal);
    signal.addEventListener("abort", () => clearTimeout(this.timer), { once: true });
  }

  get isOn(): boolean {
    return !this.root.hidden;
  }

  /** Height that it takes of the view, 0 while it is off. */
  get height(): number {
    const most = this.root.closest('[data-narrow="true"]') ? MOST_ROWS / 2 : MOST_ROWS;
    const rows = Math.min(most, this.rows.length) + (this.note.hidden ? 0 : 1);
    return this.isOn ? rows * ROW + AROUND : 0;
  }

  setOn(isOn: boolean): void {
    set(this.root, { hidden: !isOn });
    if (isOn) this.draw();
    else {
      clearTimeout(this.timer);
      this.timer = undefined;
      this.point(-1);
    }
    this.events.resized();
  }

  /** Something changed: drawn a few times a second at most, and always once more after the last change. */
  update(): void {
    if (!this.isOn || this.timer !== undefined) return;
    const wait = this.doneAt + EVERY_MS - performance.now();
    if (wait <= 0) this.draw();
    else
      this.timer = setTimeout(() => {
        this.timer = undefined;
        this.draw();
      }, wait);
  }

  private draw(): void {
    if (!this.isOn) return;
    this.doneAt = performance.now();
    const before = this.height;
    const { lanes, unused, isAnyKnown } = lanesOf(this.store, MOST_RECENT);
    const hasRun = this.store.run?.started != null;
    const isUnknown =
      hasRun && !isAnyKnown && (this.store.run?.is_ended || (this.store.counts[Status.RUNNING] ?? 0) > 0);
    const shown = isUnknown ? [] : lanes;
    while (this.rows.length < shown.length) this.addRow();
    for (const row of this.rows.splice(shown.length)) row.root.remove();
    shown.forEach((lane, at) => {
      const row = this.rows[at];
      if (row) this.drawRow(row, lane);
    });
    const note = isUnknown ? say("lanes.unknown") : unused > 0 ? say("lanes.unused", { n: unused }) : "";
    setText(this.note, note);
    set(this.note, { hidden: note === "" });
    this.mark();
    if (this.height !== before) this.events.resized();
  }

  private addRow(): void {
    const label = element("span.td-lanelabel", {}, say("lanes.worker", { n: this.rows.length + 1 }));
    const idle = element("span.td-laneidle");
    const track = element("div.td-lanetrack");
    const root = element("div.td-lane", { role: "group", "aria-label": label.textContent }, label, idle, track);
    this.rows.push({ root, idle, track, chips: new Map() });
    this.list.append(root);
  }

  /** The node that runs stands first, then those that ended, the latest first. A chip that stays is left alone. */
  private drawRow(row: Row, { running, recent }: Lane): void {
    const { store } = this;
    const all = running ? [running, ...recent] : recent;
    const chips = new Map<string, HTMLElement>();
    all.forEach((record, at) => {
      const key = `${record.index}.${record.attempt}`;
      const chip = row.chips.get(key) ?? this.makeChip(record);
      chips.set(key, chip);
      this.showChip(chip, record);
      if (row.track.children[at] !== chip) row.track.insertBefore(chip, row.track.children[at] ?? null);
    });
    for (const [key, chip] of row.chips) if (!chips.has(key)) chip.remove();
    row.chips = chips;
    const last = recent[0]?.ended ?? 0;
    const isIdle = !running && !store.run?.is_ended;
    const waited = store.runTime() - last;
    const words =
      recent.length > 0 && waited >= 1 ? say("lanes.idle_for", { time: ticking(waited) }) : say("lanes.idle");
    setText(row.idle, isIdle ? words : "");
    set(row.idle, { hidden: !isIdle });
    set(row.root, { "data-idle": isIdle });
  }

  private makeChip(record: NodeRecord): HTMLElement {
    const name = element("span.td-lanename");
    return element(
      "button.td-lanechip",
      { type: "button", "data-node": record.index },
      element("span.td-lanesign"),
      name,
      " ",
      element("span.td-lanetime"),
    );
  }

  private showChip(chip: HTMLElement, record: NodeRecord): void {
    const { store } = this;
    const isRunning = record.status === Status.RUNNING;
    const took = Math.max(0, (isRunning ? store.runTime() : record.ended) - record.started);
    const time = isRunning ? ticking(took) : duration(took);
    const [sign, name, timeElement] = chip.children;
    if (!sign || !name || !timeElement) return;
    if (chip.dataset.status !== String(record.status)) {
      chip.dataset.status = String(record.status);
      chip.className = `td-lanechip is-${STATUS_NAMES[record.status] ?? ""}`;
      fill(sign, glyph(record.status));
    }
    const full = plain(store.nameOf(record.index));
    setText(name, middle(full, LONGEST_NAME));
    setText(timeElement, time);
    const values = { name: middle(full, 300), time, status: STATUS_WORDS[record.status] ?? "" };
    set(chip, { title: say(isRunning ? "lanes.running" : "lanes.ended", values) });
  }

  private point(node: number): void {
    if (node === this.pointed) return;
    this.pointed = node;
    this.events.point(node);
    this.focus.set({ hovered: node });
  }

  /** The chips of what is pointed at or selected elsewhere. */
  private mark(): void {
    if (!this.isOn) return;
    const { hovered, nodes } = this.focus.state;
    const chosen = new Set(nodes.slice(0, 50));
    for (const { chips } of this.rows)
      for (const chip of chips.values()) {
        const node = Number(chip.dataset.node);
        set(chip, { "data-hot": node === hovered, "data-chosen": chosen.has(node) });
      }
  }
}
