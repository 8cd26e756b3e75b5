// What a view stands on: a store that is kept up to date, and somebody who answers.
import type { Store } from "../model/store.ts";
import type { Action, LogAsk, LogLines, Question } from "../protocol.ts";

/**
 * `connecting`: nothing has come yet. `live`: messages come or nothing runs. `quiet`: a run is active but says nothing.
 * `still`: shows a past state by wish. `detached`: nobody is there.
 */
export type ConnectionState = "connecting" | "live" | "quiet" | "still" | "detached";

export interface Connection {
  state: ConnectionState;
  /** Page time (ms) of the last message, 0 before the first. */
  heard: number;
  /** Page time (ms) since when the state holds. */
  since: number;
  /** For `detached`: what happened. */
  why: "restarted" | "gone" | "lost" | "closed" | "saved" | "none";
}

/** An action that was asked for, until a while after its answer. */
export interface Pending {
  readonly id: string;
  readonly action: Action;
  readonly nodes: readonly number[];
  /** Page time (ms). */
  readonly asked: number;
  state: "requested" | "busy" | "done" | "refused";
  message: string;
  count: number;
  answered: number;
  isWithdrawn: boolean;
}

export interface Source {
  readonly store: Store;
  readonly connection: Readonly<Connection>;
  /** Newest last. Answered ones stay for a few seconds. */
  readonly pending: readonly Pending[];
  /** Calls `listener` when `connection` or `pending` changed, until `signal` fires. */
  subscribe(listener: () => void, signal: AbortSignal): void;
  /** Begin to receive. Does nothing the second time. */
  open(): void;
  /** Ask for something to be done. Resolves with the answer, refused ones too; never rejects. */
  act(action: Action, nodes: readonly number[]): Promise<Pending>;
  /** Take back an action that has no answer yet: it is refused, also by the kernel if that has not begun with it. */
  withdraw(pending: Pending): void;
  /** Ask about a node. Rejects with words for people, or with an AbortError. */
  ask(question: Question, node: number, signal?: AbortSignal, log?: LogAsk): Promise<Record<string, unknown>>;
  /** Hear of new lines of the log until `signal` fires; asking again under the same name changes what is heard. */
  follow?(view: string, log: LogAsk, hear: (lines: LogLines) => void, signal: AbortSignal): void;
  /** Whether somebody can see this view: what is not seen is told less often. */
  setVisible(view: string, isVisible: boolean): void;
  /** Ask for everything again. */
  refresh(): void;
  /** Have the graph arranged as a fresh display would be; absent where nobody can. */
  tidy?(): void;
  /** Show the graph without arranging it, where that takes long. */
  stopArranging?(): void;
  /** Nothing of it remains. What is unanswered is refused. */
  close(): void;
}
