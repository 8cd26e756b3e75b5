// Beside the zoom buttons, in words: how much of the graph is seen, what was folded, and the way to see the rest.
import type { Store } from "../model/store.ts";
import { middle, plain, say } from "../model/words.ts";
import type { Picture } from "../protocol.ts";
import type { Scene } from "../render/scene.ts";
import { element, fill, on, set } from "./dom.ts";

const NAME_LENGTH = 40;

export interface Chipped {
  readonly store: Store;
  /** The node beside whose relatives nothing is shown, -1 for none. */
  readonly isolated: number;
  /** Marks that are not left out; null for all. */
  readonly shown: ReadonlySet<number> | null;
  readonly canTidy: boolean;
  showAll(): void;
  fitAll(): void;
  tidy(): void;
}

export class Chip {
  readonly root = element("div.td-chip", { hidden: true });
  private readonly of: Chipped;
  private readonly signal: AbortSignal;
  private key = "";
  private picture: Picture | null = null;
  private isLooped = false;

  constructor(of: Chipped, signal: AbortSignal) {
    this.of = of;
    this.signal = signal;
  }

  show(scene: Scene): void {
    const { of } = this;
    const { store } = of;
    const isPart = scene.shown < (of.shown?.size ?? store.markCount);
    const isIsolated = of.isolated >= 0;
    let text = store.picture?.folded ?? "";
    if (isIsolated) text = this.isolatedWords();
    else if (isPart && scene.level !== "cell") {
      text = say("graph.showing", { shown: nodesIn(scene), total: store.total });
    }
    const drawn = scene.edges.length;
    if (scene.left > 0) {
      const edges = say("graph.edges", { shown: drawn, total: drawn + scene.left });
      text = text ? `${text} · ${edges}` : edges;
    }
    const isUntidy = of.canTidy && this.hasLoopBack();
    const key = `${text}|${isPart}|${isIsolated}|${isUntidy}`;
    if (this.key === key) return;
    this.key = key;
    set(this.root, { hidden: text === "" && !isUntidy });
    const button = (label: string, chosen: () => void, title = ""): HTMLElement => {
      const made = element("button.td-link", { type: "button", title: title || null }, label);
      on(made, "click", this.signal, chosen);
      return made;
    };
    fill(
      this.root,
      element("span.td-chiptext", {}, text),
      isIsolated ? button(say("graph.show_all"), () => of.showAll()) : null,
      isPart && text ? button(say("graph.fit_all"), () => of.fitAll()) : null,
      isUntidy ? button(say("graph.tidy"), () => of.tidy(), say("graph.tidy_title")) : null,
    );
  }

  private isolatedWords(): string {
    const { store, shown, isolated } = this.of;
    let members = 0;
    for (const mark of shown ?? []) members += store.picture?.marks.size[mark] ?? 0;
    const name = middle(plain(store.nameOf(isolated)), NAME_LENGTH);
    return say("graph.isolated", { name, shown: members, total: store.total });
  }

  /** An edge against the flow: nodes were added since the graph was arranged. Looked for once in each picture. */
  private hasLoopBack(): boolean {
    const { picture } = this.of.store;
    if (picture && picture !== this.picture) {
      const { source, target } = picture.edges;
      const { rank } = picture.marks;
      this.picture = picture;
      this.isLooped = source.some((from, edge) => (rank[from] ?? 0) >= (rank[target[edge] ?? 0] ?? 0));
    }
    return this.isLooped;
  }
}

/** Nodes of the marks that are seen, wholly or in part. */
function nodesIn({ marks, width, height }: Scene): number {
  let nodes = 0;
  for (const { x, y, width: wide, height: high, size } of marks) {
    if (x < width && y < height && x + wide > 0 && y + high > 0) nodes += size;
  }
  return nodes;
}
