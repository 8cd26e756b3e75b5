// What stands where a graph would be: there is none yet, it has no nodes, or it waits to be started.
import { say } from "../model/words.ts";
import { Status } from "../protocol.ts";
import type { Source } from "../sources/source.ts";
import { button, copyText, element, fill, set } from "./dom.ts";
import type { Pane } from "./pane.ts";

export class EmptyNote {
  private readonly root = element("div.td-empty", { hidden: true });
  private readonly source: Source;
  private readonly room: HTMLElement;
  private readonly signal: AbortSignal;
  private said = "";

  constructor(source: Source, room: HTMLElement, signal: AbortSignal) {
    this.source = source;
    this.room = room;
    this.signal = signal;
    room.append(this.root);
  }

  show(pane: Pane | null): void {
    const key = this.key();
    const { picture, total } = this.source.store;
    const said = `${key} ${picture?.epoch}`;
    if (this.said === said) return;
    this.said = said;
    set(this.root, {
      hidden: key === "",
      "data-place": { ready: "corner", arranging: "line", trouble: "line", cycle: "line" }[key] ?? "middle",
    });
    this.place(pane);
    const reference = picture?.reference || "dag";
    if (key === "arranging") {
      const stop = button(say("empty.stop"), () => this.source.stopArranging?.(), this.signal, {
        className: "is-small",
      });
      const words = element("span", { role: "status" }, say("empty.arranging", { n: total }));
      fill(this.root, element("p.td-row", {}, words, stop.root));
    } else if (key === "trouble") {
      const [reason, trace] = [picture?.folded ?? "", element("pre.td-pre", { tabindex: 0 }, picture?.trouble ?? "")];
      const summary = element("summary", {}, element("span", { role: "alert" }, reason), ` ${say("empty.details")}`);
      fill(this.root, element("details", {}, summary, trace));
    } else if (key === "cycle") fill(this.root, element("p", { role: "status" }, picture?.cycle ?? ""));
    else if (key === "loading" || key === "none")
      fill(this.root, element("p", {}, say(key === "none" ? "connection.none" : "empty.loading")));
    else if (key === "nodes") {
      const code = say("empty.no_nodes_code", { reference });
      const copy = button(say("empty.copy"), () => void copyText(code, copy.root, this.signal), this.signal, {
        icon: "copy",
        className: "is-small",
      });
      const line = element("p.td-row", {}, element("code.td-code", {}, code), copy.root);
      fill(this.root, element("p", {}, say("empty.no_nodes")), line);
    } else if (key === "ready") {
      const [before, after] = say("empty.ready", { n: total, code: "\u0000" }).split("\u0000");
      const code = element("code.td-code", {}, `${reference}.compute()`);
      fill(this.root, element("p", {}, before ?? "", code, after ?? ""));
    }
  }

  /** "Ready" stands in the graph's corner, or in a line under another pane; what is said instead of a graph, over it. */
  place(pane: Pane | null): void {
    const corner = this.root.dataset.place === "corner" ? this.room.querySelector(".td-corner") : null;
    (corner && pane?.name === "graph" ? corner : this.room).append(this.root);
  }

  private key(): string {
    const { picture, total, run, counts } = this.source.store;
    if (!picture) return this.source.connection.state === "detached" ? "none" : "loading";
    if (picture.is_interim) return "arranging";
    if (total === 0) return "nodes";
    if (picture.trouble) return "trouble";
    if (picture.cycle) return "cycle";
    return run?.started == null && counts[Status.NOT_STARTED] === total ? "ready" : "";
  }
}
