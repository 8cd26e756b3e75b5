// A result as its class draws it, in a frame that can do nothing: no script, no form, no network, no way out.
//
// Three things stand between what a result holds and the page, each of which would do for most of it: the sandbox without
// a single permission (no scripts, no forms, no popups, an origin of its own), a policy that lets in nothing but inline
// styles and data images, and that whatever links, loads or refreshes is taken out before the frame gets the text. What
// leaves its frame all the same is closed.
import { asideOf } from "../model/aside.ts";
import { say } from "../model/words.ts";
import type { RichPreview as Head } from "../protocol.ts";
import type { Source } from "../sources/source.ts";
import { button, element, fill, on } from "./dom.ts";

const POLICY =
  "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; frame-src 'none'";
const SLOW_MS = 50;
const MOST_KEPT = 8;
/** Elements that load, lead away, run, or hide others from the look that is taken here. */
const AWAY =
  "script, meta, base, link, iframe, frame, frameset, object, embed, portal, fencedframe, template, audio, video, source, track, animate, animatetransform, animatemotion, set";
/** Attributes with an address; one that stays within the text, or holds an image, is left. */
const ADDRESSES = new Set([
  "href",
  "xlink:href",
  "src",
  "srcset",
  "poster",
  "background",
  "data",
  "action",
  "formaction",
]);
const NEVER = new Set(["ping", "srcdoc", "autofocus", "target", "http-equiv", "is", "popovertarget", "commandfor"]);

interface Kept {
  words: string;
  /** The whole text of the frame, empty for none. */
  page: string;
}

export class Rich {
  readonly root = element("div.td-rich");
  private readonly source: Source;
  private readonly signal: AbortSignal;
  private readonly kept = new Map<string, Kept>();
  private key = "";
  private node = -1;

  constructor(source: Source, signal: AbortSignal) {
    this.source = source;
    this.signal = signal;
  }

  /**
   * For the node's result, `key` says of which attempt. What is shown already stays, unless `isMoved`: a frame that was
   * taken out of the page and put back loads once more, as one does that leaves.
   */
  show(node: number, key: string, isOffered: boolean, isMoved: boolean): void {
    const own = isOffered ? `${key}|${this.kept.has(key)}` : "";
    this.node = node;
    if (own === this.key && !isMoved) return;
    this.key = own;
    if (own) this.draw(key);
    else fill(this.root);
  }

  private draw(key: string): void {
    const { signal, node } = this;
    const kept = this.kept.get(key);
    if (!kept) {
      const show = button(say("rich.show"), () => void this.ask(node, key), signal, {
        className: "is-small",
        title: say("rich.show_title"),
      });
      if (this.source.connection.state === "detached") show.setBlocked(say("blocked.detached"));
      fill(this.root, show.root);
      return;
    }
    const hide = button(say("rich.hide"), () => this.forget(key), signal, { className: "is-small" });
    fill(
      this.root,
      element("div.td-row", {}, hide.root),
      kept.page ? this.frame(kept) : null,
      kept.words ? element("p.td-quiet", { role: "status" }, kept.words) : null,
    );
  }

  private forget(key: string): void {
    this.kept.delete(key);
    this.redraw(key);
    this.root.querySelector("button")?.focus();
  }

  private put(key: string, kept: Kept, isNew = false): void {
    // Hidden again before it came: then it is not wanted.
    if (this.signal.aborted || (!isNew && !this.kept.has(key))) return;
    this.kept.delete(key);
    this.kept.set(key, kept);
    const [oldest] = this.kept.keys();
    if (this.kept.size > MOST_KEPT && oldest !== undefined) this.kept.delete(oldest);
    this.redraw(key);
  }

  private redraw(key: string): void {
    if (!this.key.startsWith(`${key}|`)) return;
    const hadFocus = this.root.contains(document.activeElement);
    this.key = `${key}|${this.kept.has(key)}`;
    this.draw(key);
    if (hadFocus) this.root.querySelector("button")?.focus();
  }

  private async ask(node: number, key: string): Promise<void> {
    this.put(key, { words: "…", page: "" }, true);
    const slow = setTimeout(() => this.put(key, { words: say("inspector.computing"), page: "" }), SLOW_MS);
    try {
      const head = (await this.source.ask("rich", node, this.signal)) as unknown as Head;
      const bytes = head.kind ? await asideOf(this.source.store, head.number, this.signal) : new Uint8Array(0);
      clearTimeout(slow);
      const page = head.kind ? pageOf(head.kind, bytes, this.root) : "";
      this.put(key, { words: page || head.note ? head.note : say("rich.closed"), page });
      // It stands last, and may be below what can be seen.
      const panel = this.root.closest(".td-panel");
      if (panel && page) panel.scrollTop = panel.scrollHeight;
    } catch (error) {
      clearTimeout(slow);
      if (this.signal.aborted) return;
      this.put(key, { words: error instanceof Error ? error.message : String(error), page: "" });
    }
  }

  private frame(kept: Kept): HTMLElement {
    // The order matters: a frame that gets its text before its sandbox would run it.
    const frame = element("iframe.td-richframe", {
      sandbox: "",
      referrerpolicy: "no-referrer",
      title: say("rich.frame"),
      allow: "",
      tabindex: 0,
    });
    let loads = 0;
    on(frame, "load", this.signal, () => {
      loads += 1;
      if (loads === 1 || !frame.isConnected) return;
      frame.replaceWith(element("p.td-quiet", { role: "status" }, say("rich.left")));
    });
    try {
      frame.srcdoc = kept.page;
    } catch {
      // A page with trusted types takes no text of others into a frame.
      return element("p.td-quiet", { role: "status" }, say("rich.closed"));
    }
    return frame;
  }
}

/** The text of the frame; empty where the page does not even let one be read. */
export function pageOf(kind: string, bytes: Uint8Array, near: Element): string {
  const body = kind === "text/html" ? quieted(new TextDecoder().decode(bytes)) : imageOf(kind, bytes);
  if (!body) return "";
  const view = near.closest<HTMLElement>(".tiledag") ?? document.body;
  const { color, backgroundColor, fontFamily } = getComputedStyle(view);
  const scheme = view.dataset.scheme === "dark" ? "dark" : "light";
  const style = `:root{color-scheme:${scheme};color:${color};background:${backgroundColor};font:12px/1.45 ${fontFamily}}
body{margin:8px}img,svg{max-width:100%;height:auto}table{border-collapse:collapse}
th,td{padding:3px 8px;border:1px solid color-mix(in srgb,currentColor 22%,transparent);text-align:right}`;
  const head = `<meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="${POLICY}">`;
  return `<!doctype html><html><head>${head}<style>${style.replaceAll("<", "")}</style></head>${body}</html>`;
}

/** A picture is drawn as a picture: what an SVG of its own could load or lead to is dead there. */
function imageOf(kind: string, bytes: Uint8Array): string {
  if (!/^image\/(png|jpeg|svg\+xml)$/.test(kind)) return "";
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return `<body><img alt="" src="data:${kind};base64,${btoa(text)}"></body>`;
}

/** HTML without what loads, leads away or runs. Read by a parser whose documents do none of that. */
export function quieted(html: string): string {
  let page: Document;
  try {
    page = new DOMParser().parseFromString(html, "text/html");
  } catch {
    return "";
  }
  for (const each of page.querySelectorAll(AWAY)) each.remove();
  for (const each of page.querySelectorAll("*")) {
    for (const name of each.getAttributeNames()) {
      const value = (each.getAttribute(name) ?? "").trim();
      const isInside = value.startsWith("#") || /^data:image\/(png|jpeg|gif|webp)[;,]/i.test(value);
      const isAddress = ADDRESSES.has(name) && (!isInside || name === "srcset");
      if (name.startsWith("on") || NEVER.has(name) || isAddress) each.removeAttribute(name);
    }
  }
  page.body.prepend(...page.head.querySelectorAll("style"));
  return page.body.outerHTML;
}
