// Files of what is shown: pictures are made in the page, the rest by the kernel.
import { say } from "../model/words.ts";
import type { Question } from "../protocol.ts";
import type { Source } from "../sources/source.ts";
import { button, element, fill, set, setText } from "./dom.ts";

const WAIT_MS = 60_000;
const SCALE = 2;
const MOST_PIXELS = 120e6;
const LONGEST = 16_000;
const TYPES = { svg: "image/svg+xml", png: "image/png", html: "text/html", mermaid: "text/plain", dot: "text/plain" };
type Format = keyof typeof TYPES;

export class ExportBox {
  readonly root = element("div.td-keys", { role: "dialog", hidden: true, "aria-label": say("export.title") });
  private readonly source: Source;
  private readonly does: { toSvg(isWhole: boolean): string; closed(): void };
  private readonly signal: AbortSignal;
  private readonly note = element("p.td-note", { "aria-live": "polite" });
  private isWhole = false;

  constructor(source: Source, does: { toSvg(isWhole: boolean): string; closed(): void }, signal: AbortSignal) {
    this.source = source;
    this.does = does;
    this.signal = signal;
  }

  get isOpen(): boolean {
    return !this.root.hidden;
  }

  open(isOpen: boolean): void {
    set(this.root, { hidden: !isOpen });
    if (!isOpen) {
      this.does.closed();
      return;
    }
    setText(this.note, "");
    const close = button(say("inspector.close"), () => this.open(false), this.signal, {
      icon: "close",
      isIconOnly: true,
    });
    const choice = (isWhole: boolean): HTMLElement => {
      const made = element("input", { type: "radio", name: "td-export", checked: this.isWhole === isWhole });
      made.addEventListener("change", () => (this.isWhole = isWhole), { signal: this.signal });
      return element("label.td-row", {}, made, say(isWhole ? "export.whole" : "export.shown"));
    };
    const make = (format: Format): HTMLElement =>
      button(say(`export.${format}`), () => void this.make(format), this.signal, { className: "td-format" }).root;
    // A saved page is itself the HTML form, and has no kernel to make the others.
    const isLive = this.source.connection.why !== "saved";
    fill(
      this.root,
      element("div.td-titlerow", {}, element("h3.td-title", {}, say("export.title")), close.root),
      element("div.td-row", { role: "radiogroup", "aria-label": say("export.what") }, choice(false), choice(true)),
      element("div.td-formats", {}, make("svg"), make("png")),
      isLive ? element("div.td-formats", {}, make("html"), make("mermaid"), make("dot")) : null,
      this.note,
    );
    close.root.focus();
  }

  private async make(format: Format): Promise<void> {
    const stem = (this.source.store.picture?.title ?? "").replace(/[^\p{L}\p{N}_.-]+/gu, "-").slice(0, 60) || "graph";
    let name = `${stem}.${format}`;
    setText(this.note, say("export.working", { name }));
    try {
      let data: Blob | string;
      if (format === "svg") data = this.does.toSvg(this.isWhole);
      else if (format === "png") data = await this.png(this.does.toSvg(this.isWhole));
      else [name, data] = await this.ask(`export_${format}`);
      save(name, data instanceof Blob ? data : new Blob([data], { type: TYPES[format] }));
      setText(this.note, say("export.made", { name }));
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      setText(this.note, say("export.failed", { reason }));
    }
  }

  private async ask(question: Question): Promise<[string, string]> {
    const body = await this.source.ask(question, 0, this.signal);
    const number = Number(body.number);
    const { asides } = this.source.store;
    const until = Date.now() + WAIT_MS;
    while (!asides.has(number)) {
      if (Date.now() > until || this.signal.aborted) throw new Error(say("connection.no_answer"));
      await new Promise((done) => setTimeout(done, 30));
    }
    const text = new TextDecoder().decode(asides.get(number));
    asides.delete(number);
    return [String(body.name), text];
  }

  private async png(svg: string): Promise<Blob> {
    const picture = new Image();
    picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svg)}`;
    await picture.decode();
    const canvas = document.createElement("canvas");
    canvas.width = picture.naturalWidth * SCALE;
    canvas.height = picture.naturalHeight * SCALE;
    const isFitting = canvas.width * canvas.height <= MOST_PIXELS && Math.max(canvas.width, canvas.height) <= LONGEST;
    if (!isFitting) throw new Error(say("export.too_large"));
    canvas.getContext("2d")?.drawImage(picture, 0, 0, canvas.width, canvas.height);
    const blob = await new Promise<Blob | null>((done) => canvas.toBlob(done, "image/png"));
    if (!blob) throw new Error(say("export.too_large"));
    return blob;
  }
}

function save(name: string, data: Blob): void {
  const link = element("a", { download: name, href: URL.createObjectURL(data) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
