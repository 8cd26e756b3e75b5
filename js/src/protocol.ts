// Made by js/make_protocol.py from view/messages.py, core/snapshot.py and core/states.py. Not to be edited.

export const PROTOCOL = 1;
export const CONTROL_TYPE = "tiledag_command";
export const CONTROL_REPLY = "tiledag_reply";
export const CHUNK_BYTES = 240000;
export const FIRST_BYTES = 256000;
export const ERROR_CUT = 300;
export const LOG_CUT = 4000;
export const MERGE_S = 0.1;
export const MERGE_BUSY_S = 0.15;
export const HIDDEN_S = 1;
export const HEARTBEAT_S = 2;
export const ARRANGING_S = 1;
export const PROGRESS_S = 1;
export const MOST_PROGRESS = 1000;
export const MOST_CYCLIC = 200;
export const QUIET_S = 6;
export const BUSY_S = 1;

export type MarkKind = "card" | "stack" | "chain" | "band";

export type Action = "retry" | "retry_failed" | "retry_from" | "cancel" | "cancel_graph" | "stop";

export type Question = "node" | "preview" | "rich" | "pace_0" | "pace_250" | "pace_1000" | "pace_3000" | "errors" | "tape" | "export_html" | "export_mermaid" | "export_dot" | "log_lines" | "log_line" | "log_find" | "log_file";

export type Housekeeping = "open" | "resync" | "tidy" | "plain" | "visible" | "ping" | "withdraw" | "log_follow" | "code";

/**
 * Columns over the marks: what is drawn together.
 *
 * ``slot`` is the position across in card units, ``rank`` the column of the flow, ``order`` the place within the
 * rank; ``size`` the number of members, ``first`` the index of the lowest member, ``group`` the number of the function
 * or stage that all members have, -1 where they may have several.
 */
export interface Marks {
  kind: MarkKind[];
  name: string[];
  size: number[];
  first: number[];
  rank: number[];
  order: number[];
  slot: number[];
  group: number[];
}

/**
 * Columns over the edges between marks; ``count`` is the number of node edges it stands for, ``bends`` the slots
 * in the ranks that it crosses between its ends.
 */
export interface MarkEdges {
  source: number[];
  target: number[];
  count: number[];
  bends: number[][];
}

/**
 * The run as a whole. ``status`` is a number of `Status`; ``counts[status]`` nodes have that status; ``started``
 * and ``ended`` are Unix times or null; ``stale_since`` is the time of the last word of the server that runs the
 * graph, while it does not answer; ``is_record`` says that it can be read only, not steered; ``pace`` is the slow
 * motion in seconds (0 for none), null where nobody here can slow the run down; ``now`` is the kernel's time when it
 * sent this.
 */
export interface Run {
  status: number;
  counts: number[];
  is_ended: boolean;
  started: number | null;
  ended: number | null;
  slots: number;
  can_stop: boolean;
  stale_since: number | null;
  is_record: boolean;
  pace: number | null;
  now: number;
}

/**
 * First message of an epoch. ``title`` is the graph's name, ``reference`` the Python expression for it; ``groups``
 * names the functions and stages by number (as text) that `Marks` speaks of and no stack is called by;
 * ``folded`` says what was drawn together, or why nothing could be arranged: then ``trouble`` is the traceback;
 * ``is_interim`` tells that the graph is being arranged, which takes longer than `ARRANGING_S`, and that another
 * picture follows; the request ``plain`` ends that.
 * ``cycle`` says of a record from elsewhere that its nodes wait for each other, and ``cyclic`` numbers the edges
 * between marks, `MOST_CYCLIC` at most, by which they do.
 */
export interface Picture {
  type: "picture";
  protocol: number;
  version: string;
  epoch: number;
  revision: number;
  graph_id: string;
  title: string;
  reference: string;
  total: number;
  encoding: "raw" | "deflate";
  marks: Marks;
  edges: MarkEdges;
  groups: Record<string, string>;
  folded: string;
  trouble: string;
  is_interim: boolean;
  cycle: string;
  cyclic: number[];
  run: Run;
}

/** One part of a column. */
export interface ColumnChunk {
  type: "columns";
  epoch: number;
  column: "records" | "names" | "edges" | "groups" | "tape" | "file";
  part: number;
  of: number;
  revision: number;
}

/** Changes from ``since`` to ``revision``. ``run`` is there when it says more than the records do. */
export interface PatchHead {
  type: "patch";
  epoch: number;
  since: number;
  revision: number;
  encoding: "raw" | "deflate";
  run: Run | null;
}

/**
 * Nothing has changed for `HEARTBEAT_S` while a run is active and a view visible, or running nodes got on.
 * ``progress`` is how far they say they are: pairs of node and whole percents, of `MOST_PROGRESS` nodes at most.
 */
export interface Beat {
  type: "beat";
  epoch: number;
  revision: number;
  progress: number[];
}

/**
 * An action was carried out (``ok``) or refused; ``message`` says what happened, in words; ``count`` the nodes it
 * touched.
 */
export interface Ack {
  type: "ack";
  id: string;
  ok: boolean;
  message: string;
  count: number;
}

/** Answer to a question; ``error`` is set instead of ``body`` where there is none. */
export interface Reply {
  type: "reply";
  id: string;
  body: Record<string, unknown> | null;
  error: string | null;
}

/** Answer on the control channel where the `Ack` is still to come. */
export interface Queued {
  id: string;
  queued: boolean;
}

/** A part of the front end's second part: number ``part`` (from 0) of ``of``, for the request ``id``. */
export interface CodePart {
  type: "code";
  id: string;
  part: number;
  of: number;
}

/** Body of the reply to ``ping``: the kernel's Unix time, to join the clocks by. */
export interface Pong {
  now: number;
}

/**
 * Rows of a log: the lines that a scope leaves, numbered from 0. ``first`` is the oldest that is kept, ``end`` the
 * one that the next line will have. A line is ``[row, Unix time, node, attempt, level, text]``, and its whole length
 * where the text was cut at `LOG_CUT`; ``level`` is 1 for stdout, 2 for stderr, else a level of `logging`.
 */
export interface LogLines {
  first: number;
  end: number;
  start: number;
  lines: unknown[][];
}

/**
 * New lines for the views that asked for them by ``log_follow``; those of a view that does not follow are only
 * counted.
 */
export interface LogPush {
  type: "log";
  views: Record<string, LogLines>;
}

/**
 * Body of the reply to ``log_find``: match number ``at`` of ``count`` is in ``row`` (-1 for none); ``marks`` are
 * the places with matches, of 240 over the whole log.
 */
export interface LogFound {
  count: number;
  at: number;
  row: number;
  marks: number[];
  first: number;
  end: number;
}

/**
 * Which lines: ``nodes`` as pairs of first and last-but-one, all if not there; ``attempt``, 0 for all; ``least``, a
 * level; ``stream``, 1 stdout, 2 stderr, 3 log records, 0 all; ``filter``, what a filter says about lines.
 */
export interface LogScope {
  nodes?: number[];
  attempt?: number;
  least?: number;
  stream?: number;
  filter?: string;
}

/**
 * Goes with the requests named ``log_...``. ``start`` and ``stop`` are rows; ``step`` is 1 for the next
 * match after ``start``, -1 for the one before, 0 for the first from there on.
 */
export interface LogAsk {
  scope?: LogScope;
  start?: number;
  stop?: number;
  follow?: boolean;
  text?: string;
  is_case?: boolean;
  is_regex?: boolean;
  is_error?: boolean;
  step?: number;
}

/**
 * What a page may ask. ``id`` is unique and repeated on each channel.
 *
 * ``graph`` is the `Picture`'s ``graph_id``, needed on the control channel; ``nodes`` are indices (actions; the first
 * one for questions); ``visible`` goes with ``visible``; ``view`` names the view that asks; ``of`` goes with
 * ``withdraw`` and is the id of the action that is not to be done; ``asked`` goes with actions and is the kernel's
 * Unix time, as the page reckons it, when somebody pressed.
 */
export interface Request {
  id?: string;
  graph?: string;
  kind?: Action | Question | Housekeeping;
  nodes?: number[];
  visible?: boolean;
  view?: string;
  of?: string;
  asked?: number;
  log?: LogAsk | null;
}

/** A line of a traceback. ``mine`` tells the user's code from libraries'; ``cell`` is the notebook cell's number. */
export interface Frame {
  file: string;
  line: number;
  function: string;
  code: string;
  mine: boolean;
  cell: number | null;
}

/** An argument on one line; ``node`` is the index of the node that it stands for, where it is one. */
export interface Argument {
  name: string;
  type: string;
  value: string;
  node: number | null;
}

/** One attempt; times are Unix times or null. */
export interface Attempt {
  number: number;
  status: number;
  started: number | null;
  ended: number | null;
  error: string;
}

/**
 * Body of the reply to ``node``. ``blocker`` is the first failed ancestor of a Parent Failed node; ``parents`` and
 * ``children`` are the first 1,000 (the page has them all in its edges); ``source`` is the code of the function, at
 * most 20,000 characters of it, empty where it is not known; ``rich`` says that the result may have a rich form.
 */
export interface NodeDetail {
  index: number;
  name: string;
  function: string;
  source: string;
  mode: string;
  resource_class: string;
  status: number;
  arguments: Argument[];
  parents: number[];
  children: number[];
  attempts: Attempt[];
  error_type: string;
  error_message: string;
  traceback: string;
  frames: Frame[];
  blocker: number | null;
  reference: string;
  result: string;
  rich: boolean;
}

/**
 * What the column ``file`` holds after ``errors``, as JSON: the failed ``nodes`` and, for each, ``of``, which of
 * ``texts`` (type and message, at most `ERROR_CUT` characters) it failed with. Where there are very many different
 * ones, some nodes are left out.
 */
export interface Errors {
  texts: string[];
  nodes: number[];
  of: number[];
}

/**
 * Body of the reply to ``errors``, ``tape`` and to exports: the number of the column that brings the rest, and how
 * a file should be called.
 */
export interface Sent {
  number: number;
  name: string;
}

/**
 * Body of the reply to ``rich``: what ``kind`` (a media type, empty for nothing to show) the column ``file`` of
 * that ``number`` holds. ``note`` says in words why there is nothing, or what was left out.
 */
export interface RichPreview {
  type: string;
  size: string;
  kind: string;
  note: string;
  number: number;
}

/**
 * Body of the reply to ``pace_...``, whose number is the slow motion in milliseconds: the one that holds now, in
 * seconds. Where nodes run elsewhere it is refused with words.
 */
export interface Paced {
  pace: number;
}

/** Body of the reply to ``preview``: type, size in words and a text cut to 2,000 characters. */
export interface Preview {
  type: string;
  size: string;
  text: string;
}

/** Numbers of the statuses. */
export const Status = {
  NOT_STARTED: 1,
  RUNNING: 2,
  COMPLETED: 3,
  FAILED: 4,
  CANCELLED: 5,
  PARENT_FAILED: 6,
} as const;

/** `str(Status)` by number; the first entry is unused. */
export const STATUS_WORDS: readonly string[] = ["", "Not Started", "Running", "Completed", "Failed", "Cancelled", "Parent Failed"];
export const TERMINAL: readonly number[] = [3, 4, 5, 6];
export const BAD: readonly number[] = [4, 5, 6];

/** [event, status, next status] of the machine; a next status of 0 means that nothing happens. */
export const TABLE: readonly (readonly [string, number, number])[] = [
  ["Began", 1, 2],
  ["Finished", 2, 3],
  ["Failed", 1, 4],
  ["Failed", 2, 4],
  ["Lost", 1, 4],
  ["Lost", 2, 4],
  ["Aborted", 2, 5],
  ["Cancel", 1, 5],
  ["Cancel", 2, 0],
  ["Cancel", 3, 0],
  ["Cancel", 4, 0],
  ["Cancel", 5, 0],
  ["Cancel", 6, 0],
  ["Stop", 1, 0],
  ["Stop", 2, 2],
  ["Stop", 3, 0],
  ["Stop", 4, 0],
  ["Stop", 5, 0],
  ["Stop", 6, 0],
  ["Retry", 1, 0],
  ["Retry", 2, 0],
  ["Retry", 3, 0],
  ["Retry", 4, 1],
  ["Retry", 5, 1],
  ["Retry", 6, 0],
  ["ParentTurnedBad", 1, 6],
  ["ParentTurnedBad", 5, 0],
  ["ParentTurnedBad", 6, 0],
  ["ParentsFineAgain", 5, 0],
  ["ParentsFineAgain", 6, 1],
];
export const RETRY_COMPLETED = 1;

export const RECORD_SIZE = 16;
export const NO_SLOT = 65535;

/** A change, 16 bytes little-endian; times are seconds since the run's zero, NaN for not yet. */
export interface NodeRecord {
  index: number;
  status: number;
  attempt: number;
  slot: number;
  started: number;
  ended: number;
}

export function readRecord(view: DataView, at: number): NodeRecord {
  return {
    index: view.getUint32(at + 0, true),
    status: view.getUint8(at + 4),
    attempt: view.getUint8(at + 5),
    slot: view.getUint16(at + 6, true),
    started: view.getFloat32(at + 8, true),
    ended: view.getFloat32(at + 12, true),
  };
}
