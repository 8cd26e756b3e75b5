// Predict mode: what a node becomes is not shown before somebody has said it, or asked for it.
//
// The columns are held back by the view's own lens (`model/veil.ts`), so no tab, count or search shows them. Here are the
// signs over the marks, the question, and the score.
import type { Focus } from "../model/focus.ts";
import type { Lens } from "../model/lens.ts";
import { Veil } from "../model/veil.ts";
import { middle, plain, say } from "../model/words.ts";
import { STATUS_WORDS, Status } from "../protocol.ts";
import type { SceneMark } from "../render/scene.ts";
import { STATUS_NAMES } from "../render/theme.ts";
import type { Details } from "./details.ts";
import { button, element, fill, glyph, on, set, setText } from "./dom.ts";
import { describeNode } from "./mirror.ts";
import type { MarkLayer } from "./pane.ts";

const CHOICES = [
  Status.NOT_STARTED,
  Status.RUNNING,
  Status.COMPLETED,
  Status.FAILED,
  Status.CANCELLED,
  Status.PARENT_FAILED,
];
const LONGEST_NAME = 40;
/** Marks narrower than this get no sign: it would cover them. */
const LEAST_WIDTH = 20;

export interface PredictEvents {
  /** Select a node and bring it into view. */
  reveal(node: number): void;
  /** Rows came or went; or what is kept over a reload is another one. */
  changed(): void;
  /** Somebody does not want to go on. */
  off(): void;
}

export class Predict implements MarkLayer {
  /** Over the marks of the graph. */
  readonly root = element("div.td-asks");
  readonly bar = element("div.td-predict", { role: "toolbar", "aria-label": say("predict.title"), hidden: true });
  readonly veil: Veil;
  private readonly lens: Lens;
  private readonly focus: Focus;
  private readonly details: Details;
  private readonly events: PredictEvents;
  private readonly signal: AbortSignal;
  /** The node that is asked about, -1 for none. */
  private node = -1;
  private byMark = new Map<number, number[]>();
  private readonly signs = new Map<number, HTMLElement>();
  private readonly score = element("span.td-score");
  private readonly said = element("span.td-said", { role: "status" });
  private readonly body = element("span.td-slot");
  private shown = "";

  constructor(lens: Lens, focus: Focus, details: Details, events: PredictEvents, signal: AbortSignal) {
    this.lens = lens;
    this.focus = focus;
    this.details = details;
    this.events = events;
    this.signal = signal;
    this.veil = new Veil(lens);
    const off = button(say("teaching.off"), () => events.off(), signal, { icon: "close", isIconOnly: true });
    fill(
      this.bar,
      element("span.td-barname", {}, say("predict.title")),
      this.said,
      this.body,
      element("span.td-space"),
      this.score,
      off.root,
    );
    on(this.root, "click", signal, ({ target }) => {
      const sign = target instanceof Element ? target.closest<HTMLElement>(".td-ask") : null;
      const [first = -1] = this.byMark.get(Number(sign?.dataset.mark)) ?? [];
      if (first >= 0) this.ask(first);
    });
    focus.subscribe((changed) => {
      if (this.isOn && changed.has("nodes") && this.veil.hidden.has(focus.node)) this.question(focus.node);
    }, signal);
  }

  get isOn(): boolean {
    return !this.bar.hidden;
  }

  /** How the replay goes on. */
  goes(): "on" | "by step" | "later" {
    if (!this.isOn) return "on";
    return this.veil.hidden.size > 0 ? "later" : "by step";
  }

  setOn(isOn: boolean): void {
    set(this.bar, { hidden: !isOn });
    this.node = -1;
    setText(this.said, "");
    this.lens.veil = isOn ? this.veil.cover : null;
    if (!isOn) this.veil.forget();
    this.lens.show(this.lens.moment);
    this.update();
  }

  /** The columns are others now. */
  update(): void {
    const { hidden } = this.veil;
    const marks = new Map<number, number[]>();
    if (this.isOn)
      for (const node of hidden) {
        const mark = this.lens.markOf[node] ?? 0;
        const list = marks.get(mark);
        if (list) list.push(node);
        else marks.set(mark, [node]);
      }
    this.byMark = marks;
    if (this.node >= 0 && !hidden.has(this.node)) this.node = -1;
    this.show();
  }

  /** Ask about a node, and give the answer the keyboard. */
  ask(node: number): void {
    this.question(node);
    this.body.querySelector("button")?.focus();
  }

  /** About the one that is shown first; false if nothing is hidden. */
  askNext(): boolean {
    const [first] = this.veil.hidden;
    if (!this.isOn || first === undefined) return false;
    const isChosen = this.veil.hidden.has(this.focus.node);
    if (!isChosen) this.events.reveal(first);
    this.ask(isChosen ? this.focus.node : first);
    return true;
  }

  /** Signs stand where the marks are. */
  place(marks: readonly SceneMark[]): void {
    const seen = new Set<number>();
    if (this.byMark.size > 0)
      for (const { mark, x, y, width, height, size } of marks) {
        const hidden = this.byMark.get(mark);
        if (!hidden || width < LEAST_WIDTH) continue;
        seen.add(mark);
        const sign = this.signs.get(mark) ?? this.addSign(mark);
        setText(sign, size > 1 ? say("predict.mark_many", { n: hidden.length }) : say("predict.mark"));
        const { offsetWidth } = sign;
        const left = size > 1 ? x + width / 2 : x + width - 4;
        sign.style.transform = `translate(${Math.round(left - offsetWidth / 2)}px, ${Math.round(Math.max(0, y - 12))}px)`;
        set(sign, { "data-low": height < 24 });
      }
    for (const [mark, sign] of this.signs) {
      if (seen.has(mark)) continue;
      sign.remove();
      this.signs.delete(mark);
    }
  }

  private addSign(mark: number): HTMLElement {
    // For the pointer: who uses the keyboard has the bar, which asks about the same nodes.
    const sign = element("span.td-ask", { "data-mark": mark, "aria-hidden": "true", title: say("predict.mark_title") });
    this.signs.set(mark, sign);
    this.root.append(sign);
    return sign;
  }

  private question(node: number): void {
    this.node = node;
    setText(this.said, "");
    this.show();
  }

  private guess(node: number, status: number): void {
    const isRight = this.veil.guess(node, status);
    this.after(node, isRight ? "predict.right" : "predict.wrong");
  }

  private tell(nodes: readonly number[]): void {
    this.veil.reveal(nodes);
    this.after(nodes.length === 1 ? (nodes[0] ?? -1) : -1, "predict.told");
  }

  private after(node: number, how: "predict.right" | "predict.wrong" | "predict.told"): void {
    const hadFocus = this.bar.contains(document.activeElement);
    this.node = -1;
    this.lens.show(this.lens.moment);
    if (node >= 0) {
      const words = describeNode(this.lens, this.details, node);
      setText(this.said, say(how, { name: this.nameOf(node), words }));
      set(this.said, { "data-how": how.slice(8) });
    }
    this.update();
    if (hadFocus) this.bar.querySelector("button")?.focus();
    this.events.changed();
  }

  private nameOf(node: number): string {
    return middle(plain(this.lens.nameOf(node)), LONGEST_NAME);
  }

  private show(): void {
    const { veil, node, signal } = this;
    const { asked, right, hidden } = veil;
    const words = this.isOn && asked > 0 ? say("predict.score", { right, asked }) : "";
    setText(this.score, words);
    const status = this.lens.status[node] ?? 0;
    const key = `${this.isOn}|${node}|${status}|${hidden.size}|${this.said.textContent}`;
    if (key === this.shown) return;
    this.shown = key;
    const hadFocus = this.body.contains(document.activeElement);
    if (!this.isOn) fill(this.body);
    else if (node >= 0) {
      const values = { name: this.nameOf(node), status: STATUS_WORDS[status] ?? "" };
      fill(
        this.body,
        element("span.td-question", {}, say("predict.ask", values)),
        ...CHOICES.map((choice) => this.choice(node, choice)),
        button(say("predict.tell"), () => this.tell([node]), signal, { className: "is-small" }).root,
      );
    } else if (hidden.size > 0)
      fill(
        this.body,
        element("span.td-question", {}, say("predict.changed", { n: hidden.size })),
        button(say("predict.next"), () => this.askNext(), signal, { className: "td-do is-small" }).root,
        button(say("predict.all"), () => this.tell([...hidden]), signal, {
          className: "is-small",
          title: say("predict.all_title"),
        }).root,
      );
    else
      fill(this.body, this.said.textContent ? null : element("span.td-question.td-quiet", {}, say("predict.nothing")));
    if (hadFocus) this.bar.querySelector("button")?.focus();
    this.events.changed();
  }

  private choice(node: number, status: number): HTMLElement {
    const made = element(
      "button.td-button.td-choice",
      { type: "button", class: `td-button td-choice is-${STATUS_NAMES[status] ?? ""}`, "data-status": status },
      glyph(status),
      STATUS_WORDS[status] ?? "",
    );
    on(made, "click", this.signal, () => this.guess(node, status));
    return made;
  }
}
