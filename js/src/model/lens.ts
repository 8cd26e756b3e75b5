// What one view sees: the store of its source, or a moment of the past in its place.
import type { NodeRecord, Run } from "../protocol.ts";
import type { Columns } from "./columns.ts";
import { type Changes, Store } from "./store.ts";

/** What can be seen of a graph at once. */
export interface Seen extends Columns {
  counts: Uint32Array;
  markCounts: Uint32Array;
  past: Map<number, NodeRecord[]>;
  run: Run | null;
}

/** What a store has of a moment. */
export interface Moment extends Columns {
  time: number;
  /** Of the whole run. */
  end: number;
  counts: Uint32Array;
  markCounts: Uint32Array;
  past: Map<number, NodeRecord[]>;
  run: Run;
}

/**
 * The store of one view: that of the source, or a moment of the past in its place. Other views of the source see
 * nothing of it.
 */
export class Lens extends Store {
  moment: Moment | null = null;
  /** Shows something else in the place of what is there; null for nothing of that kind. */
  veil: ((now: Seen, time: number) => Seen) | null = null;
  private readonly base: Store;

  constructor(base: Store, signal: AbortSignal) {
    super((run) => run());
    this.base = base;
    Object.assign(this, { asides: base.asides });
    this.follow();
    base.subscribe((changes) => this.baseChanged(changes), signal);
  }

  /** A moment in place of the present; null for the present. */
  show(moment: Moment | null): void {
    this.moment = moment;
    this.follow();
    this.changed({ statuses: true, run: true });
  }

  override get hasSecrets(): boolean {
    return this.veil !== null;
  }

  override isSecret(node: number): boolean {
    const { base } = this;
    return this.hasSecrets && (this.status[node] !== base.status[node] || this.attempt[node] !== base.attempt[node]);
  }

  override get present(): Store {
    return this.base;
  }

  override now(): number {
    const { moment } = this;
    return moment?.run.started != null ? moment.run.started + moment.time : this.base.now();
  }

  override horizon(): number {
    return this.moment ? this.moment.end : super.horizon();
  }

  private baseChanged(changes: Changes): void {
    if (changes.structure) this.moment = null;
    this.follow();
    this.changed(changes);
  }

  private follow(): void {
    const { base } = this;
    const {
      picture,
      revision,
      total,
      markCount,
      markOf,
      members,
      names,
      groups,
      parents,
      children,
      clockOffset,
      progress,
    } = base;
    Object.assign(this, {
      picture,
      revision,
      total,
      markCount,
      markOf,
      members,
      names,
      groups,
      parents,
      children,
      clockOffset,
      progress: this.moment ? new Map() : progress,
    });
    const shownAt = this.moment?.time ?? Number.NaN;
    const seen = this.moment ?? base;
    const { status, attempt, slot, started, ended, counts, markCounts, past, run } = this.veil?.(seen, shownAt) ?? seen;
    Object.assign(this, { status, attempt, slot, started, ended, counts, markCounts, past, run, shownAt });
  }
}
