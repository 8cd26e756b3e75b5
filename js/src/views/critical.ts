// The critical path on the graph: a casing round its marks and edges, and a line that says how much of the run it is.
import { criticalPath, criticalWords } from "../model/critical.ts";
import type { Store } from "../model/store.ts";
import type { SceneInput } from "../render/scene.ts";
import { element, set, setText } from "./dom.ts";

type Cased = NonNullable<SceneInput["cased"]>;

const EVERY_MS = 1000;

export class CriticalLayer {
  readonly caption = element("div.td-chip.td-critical", { hidden: true });
  private readonly store: Store;
  private readonly show: (cased: Cased | null) => void;
  private doneAt = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  isOn = false;

  constructor(store: Store, show: (cased: Cased | null) => void) {
    this.store = store;
    this.show = show;
  }

  toggle(): void {
    this.isOn = !this.isOn;
    this.doneAt = 0;
    this.update();
  }

  /** Reckons anew, once a second at most, and always once more after the last change. */
  update(): void {
    const wait = this.doneAt + EVERY_MS - performance.now();
    if (this.isOn && this.doneAt > 0 && wait > 0) {
      this.timer ??= setTimeout(() => {
        // A timer may ring a little early: then it is set once more.
        this.timer = undefined;
        this.update();
      }, wait);
      return;
    }
    clearTimeout(this.timer);
    this.timer = undefined;
    this.doneAt = performance.now();
    const path = this.isOn ? criticalPath(this.store) : null;
    set(this.caption, { hidden: path === null });
    if (!path) {
      this.show(null);
      return;
    }
    // Read out when it comes; not each time that it is reckoned anew.
    set(this.caption, { role: this.store.run?.is_ended ? "status" : null });
    setText(this.caption, criticalWords(path));
    const order = path.nodes.map((node) => this.store.markOf[node] ?? 0);
    const steps = new Set(order.slice(1).map((mark, at) => `${order[at]}>${mark}`));
    const edges = new Set<number>();
    const { source = [], target = [] } = this.store.picture?.edges ?? {};
    source.forEach((from, edge) => {
      if (steps.has(`${from}>${target[edge]}`)) edges.add(edge);
    });
    this.show({ marks: new Set(order), edges });
  }
}
