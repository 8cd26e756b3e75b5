// Which mark comes next when somebody walks the graph with the arrow keys. Pure.
import type { Store } from "../model/store.ts";

type IsHidden = (mark: number) => boolean;

/** Along: to a child (1) or parent (-1); across: to a sibling in the same rank. -1 where there is none. */
export function neighbour(store: Store, own: number, along: number, across: number, isHidden: IsHidden): number {
  const picture = store.picture;
  if (!picture) return -1;
  const { marks, edges } = picture;
  let found: number[] = [];
  if (along !== 0) {
    edges.source.forEach((source, edge) => {
      const target = edges.target[edge] ?? 0;
      if (along > 0 && source === own) found.push(target);
      if (along < 0 && target === own) found.push(source);
    });
  } else {
    found = marks.rank.flatMap((rank, mark) => (rank === marks.rank[own] && mark !== own ? [mark] : []));
    found = found.filter((mark) => ((marks.slot[mark] ?? 0) - (marks.slot[own] ?? 0)) * across > 0);
  }
  const distance = (mark: number): number => Math.abs((marks.slot[mark] ?? 0) - (marks.slot[own] ?? 0));
  found = found.filter((mark) => !isHidden(mark));
  found.sort((a, b) => distance(a) - distance(b));
  return found[0] ?? -1;
}

/** First root or last leaf. */
export function edgeMark(store: Store, isLast: boolean, isHidden: IsHidden): number {
  const marks = store.picture?.marks;
  let best = -1;
  for (let mark = 0; marks && mark < marks.kind.length; mark++) {
    if (isHidden(mark)) continue;
    if (best < 0) best = mark;
    const byRank = (marks.rank[mark] ?? 0) - (marks.rank[best] ?? 0);
    const bySlot = (marks.slot[mark] ?? 0) - (marks.slot[best] ?? 0);
    const isBefore = byRank < 0 || (byRank === 0 && bySlot < 0);
    if (isLast ? !isBefore : isBefore) best = mark;
  }
  return best;
}
