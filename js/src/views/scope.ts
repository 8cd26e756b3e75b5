// Which part of the graph is shown: all of it, what a filter means, what one node depends on and what depends on it.
import { reach } from "../model/derive.ts";
import type { Store } from "../model/store.ts";
import { reachMarks, type SceneInput } from "../render/scene.ts";

type Marks = ReadonlySet<number> | null;

export class Scope {
  /** The node beside whose ancestors and descendants nothing is shown; -1 for none. */
  isolated = -1;
  /** What the filter means; null for no filter. */
  wanted: NonNullable<SceneInput["wanted"]> | null = null;
  /** What it does not mean is left out, not only paler. */
  private isHiding = false;

  /** True if other marks are left out than before. */
  setFilter(store: Store, mask: Uint8Array | null, isHiding: boolean): boolean {
    const before = this.meant();
    this.wanted = mask ? { marks: marksOf(store, mask), mask } : null;
    // A filter that means nothing would leave nothing to look at.
    this.isHiding = isHiding && (this.wanted?.marks.size ?? 0) > 0;
    return !isSameSet(before, this.meant());
  }

  /** Null for all of them. */
  marks(store: Store): Marks {
    const tied = this.tied(store);
    const meant = this.meant();
    if (!tied || !meant) return tied ?? meant;
    return new Set([...tied].filter((mark) => meant.has(mark)));
  }

  private meant(): Marks {
    return this.isHiding && this.wanted ? this.wanted.marks : null;
  }

  private tied(store: Store): Marks {
    const { isolated } = this;
    if (isolated < 0) return null;
    const own = store.markOf[isolated] ?? 0;
    if (!store.parents) return new Set([...reachMarks(store, own, false), ...reachMarks(store, own, true)]);
    const nodes = [...reach(store, [isolated], false), ...reach(store, [isolated], true)];
    return new Set([own, ...nodes.map((node) => store.markOf[node] ?? 0)]);
  }
}

/** Marks with at least one node that a mask holds. */
function marksOf(store: Store, mask: Uint8Array): ReadonlySet<number> {
  const found = new Set<number>();
  for (let node = 0; node < mask.length; node++) if (mask[node] === 1) found.add(store.markOf[node] ?? 0);
  return found;
}

function isSameSet(a: Marks, b: Marks): boolean {
  if (!a || !b) return a === b;
  return a.size === b.size && [...a].every((each) => b.has(each));
}
