// A run that was saved into the page: everything is there, nobody answers.
import { inflate, Store } from "../model/store.ts";
import { say } from "../model/words.ts";
import type { Action, ColumnChunk, Picture, Question } from "../protocol.ts";
import type { Connection, Pending, Source } from "./source.ts";

/** What `view/export.py` writes; binary parts are deflated, in base64. */
export interface Saved {
  saved: number;
  picture: Picture;
  buffers: string[];
  columns: { records: string; names: string; edges: string; groups?: string; tape: string };
  /** `Errors` as JSON. */
  errors: string;
  /** Nodes in one entry of `details`. */
  block: number;
  details: Record<string, string>;
}

const TAPE = 1;
const ERRORS = 2;

export class RecordedSource implements Source {
  readonly store = new Store();
  readonly connection: Connection;
  readonly pending: readonly Pending[] = [];
  private readonly saved: Saved;
  private readonly blocks = new Map<string, Promise<Record<string, Record<string, unknown>>>>();
  private isOpen = false;
  private isClosed = false;

  constructor(saved: Saved) {
    this.saved = saved;
    const at = saved.saved * 1000;
    this.connection = { state: "detached", heard: at, since: at, why: "saved" };
  }

  /** What never changes needs no listeners. */
  subscribe(): void {}

  open(): void {
    if (this.isOpen) return;
    this.isOpen = true;
    const { picture, buffers, columns } = this.saved;
    const { epoch, revision } = picture;
    // The clocks are those of then: what ran when it was saved has run until then.
    this.store.heardTime(picture.run.now);
    this.store.receive(picture, buffers.map(viewOf));
    for (const column of ["records", "names", "edges", "groups", "tape"] as const) {
      const number = column === "tape" ? TAPE : revision;
      const chunk: ColumnChunk = { type: "columns", epoch, column, part: 0, of: 1, revision: number };
      this.store.receive(chunk, [viewOf(columns[column] ?? "")]);
    }
  }

  act(action: Action, nodes: readonly number[]): Promise<Pending> {
    const now = Date.now();
    const message = say("connection.cannot");
    const answer = { id: "", action, nodes, asked: now, answered: now, count: 0, isWithdrawn: false, message };
    return Promise.resolve({ ...answer, state: "refused" as const });
  }

  withdraw(): void {}

  async ask(question: Question, node: number): Promise<Record<string, unknown>> {
    if (question === "tape") return { number: TAPE, name: "" };
    if (question === "errors") {
      const { epoch } = this.store;
      const chunk: ColumnChunk = { type: "columns", epoch, column: "file", part: 0, of: 1, revision: ERRORS };
      this.store.receive(chunk, [viewOf(this.saved.errors)]);
      return { number: ERRORS, name: "" };
    }
    const detail = question === "node" ? (await this.block(node))[String(node)] : undefined;
    if (!detail || this.isClosed) throw new Error(say("connection.saved_ask"));
    return detail;
  }

  follow(): void {}

  setVisible(): void {}

  refresh(): void {}

  close(): void {
    this.isClosed = true;
  }

  private block(node: number): Promise<Record<string, Record<string, unknown>>> {
    const number = String(Math.floor(node / this.saved.block));
    let block = this.blocks.get(number);
    if (!block) {
      const text = this.saved.details[number] ?? "";
      block = inflate(bytesOf(text)).then((bytes) =>
        bytes.byteLength > 0 ? JSON.parse(new TextDecoder().decode(bytes)) : {},
      );
      this.blocks.set(number, block);
    }
    return block;
  }
}

function bytesOf(text: string): Uint8Array {
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}

function viewOf(text: string): DataView {
  return new DataView(bytesOf(text).buffer);
}
