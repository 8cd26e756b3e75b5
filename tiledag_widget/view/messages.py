"""Requests and replies between a page and the kernel. ``js/src/protocol.ts`` is made from this module.

**Kernel to page** (``msg:custom``; ``content`` is the JSON below, binary parts are its buffers):

``picture``
    All that the first drawing needs, at most `FIRST_BYTES`. ``content`` is a `Picture`; buffer 0 is the table of
    node -> mark (u32 each), buffer 1 the statuses (u8 each), both deflated (zlib) where ``encoding`` says so. Where
    there is a buffer 2, ``edges`` is empty and a `MarkEdges` as deflated JSON is there. Long names are cut in the
    middle; the columns bring them whole. Sent on ``open`` and on a resync (then with the ``epoch`` that the page knows;
    it replaces what the page has), and, with the next ``epoch``, whenever nodes were added. What follows names its
    epoch; a page drops what names another than its own.
``columns``
    What may come later: ``content`` is a `ColumnChunk`, buffer 0 its bytes: ``records`` (`RECORD`s as they are),
    ``names`` (UTF-8, one per line break ``\\n``; a line break in a name is sent as U+2028) and ``edges`` (u32 pairs:
    parent, child). A column is deflated whole (zlib) and cut into ``of`` parts of at most `CHUNK_BYTES`: the page
    joins them by ``part`` (from 0) and inflates once. A picture is always followed by all three, empty ones too;
    a ``part`` 0 begins that column anew. Where a mark holds nodes of several functions, or a name was cut, a fourth
    follows, ``groups``: the length of the names (u32), the names of the groups like those of nodes, the group of each
    node (u32 each).
    ``records`` hold every node's attempts up to ``revision``: when its last part is there they replace every attempt
    that the page knows, and the page is at ``revision``. They come before any patch that follows the picture, and in
    the place of a patch that would be too large. Two more columns come only when they were asked
    for, of any epoch: ``tape`` (`core.tape`) and ``file`` (an export, UTF-8); their ``revision`` is a number of their
    own, by which the reply to the question (a `Sent`) names them.
``patch``
    ``content`` is a `PatchHead`; buffer 0 holds its `RECORD`s, deflated (zlib) where ``encoding`` says so. Applies to
    revision ``since`` only: on any other the page asks to ``resync``. One with no record says what ``run`` says.
``beat``
    ``content`` is a `Beat`, no buffer: nothing has changed, the kernel is there. On another revision than the page's
    the page asks to ``resync``.
``ack`` and ``reply``
    Answers to a request, by its ``id``. Actions get an ``ack``; questions and ``ping`` (``body`` is a `Pong`) get a
    ``reply``; ``open``, ``resync`` and ``tidy`` (which arranges the graph as a fresh display would) are answered by a
    picture, ``plain`` by one that shows the graph as one stack if it has not been arranged yet, ``visible`` and
    ``withdraw`` by nothing (the action that was withdrawn is refused, unless it was already begun).
``code``
    Answer to the request ``code``: the second part of the front end. ``content`` is a `CodePart`, buffer 0 a part of
    its deflated (zlib) UTF-8 text.

**Page to kernel**: a `Request`, sent by the comm and on the control channel (message type
`CONTROL_TYPE`, ``content`` is the `Request` with ``graph``) at the same time under the same ``id``. The first one that
arrives is carried out, the other dropped. An action that waited for a busy kernel rests for a moment before it is
carried out: a ``withdraw`` may stand right behind it. The control channel answers at once with `CONTROL_REPLY`:
``content`` is the `Ack` where it is there already, else a `Queued`; the ``ack`` comes by the comm in any case.
Everything else goes both ways too, so that a view opened while a cell blocks gets its picture.

**Traits** of the widget are few and small, since notebooks save them: ``graph_id`` (a page cannot see the id of its own
model, and needs a name for the graph on the control channel before the first picture) and ``auto_update`` (False:
nothing is sent until a page asks to ``resync``).
"""

from __future__ import annotations

from typing import Any, Final, Literal, TypedDict

PROTOCOL: Final = 1
"""Raised when an older page could misread what a newer kernel sends."""
CONTROL_TYPE: Final = "tiledag_command"
CONTROL_REPLY: Final = "tiledag_reply"
CHUNK_BYTES: Final = 240_000
FIRST_BYTES: Final = 256_000
ERROR_CUT: Final = 300
"""Characters of an error by which nodes are found and put together."""
LOG_CUT: Final = 4_000
"""Characters of a line of a log that are sent before somebody asks for all of it."""
MERGE_S: Final = 0.1
"""Changes are sent at once if this long has passed since the last message, else when it has."""
MERGE_BUSY_S: Final = 0.15
"""The same at more than 2,000 changes a second."""
HIDDEN_S: Final = 1.0
"""The same while no view is visible."""
HEARTBEAT_S: Final = 2.0
ARRANGING_S: Final = 1.0
PROGRESS_S: Final = 1.0
"""How far running nodes are is told this often at most."""
MOST_PROGRESS: Final = 1_000
MOST_CYCLIC: Final = 200
QUIET_S: Final = 6.0
BUSY_S: Final = 1.0

MarkKind = Literal["card", "stack", "chain", "band"]


class Marks(TypedDict):
    """Columns over the marks: what is drawn together.

    ``slot`` is the position across in card units, ``rank`` the column of the flow, ``order`` the place within the
    rank; ``size`` the number of members, ``first`` the index of the lowest member, ``group`` the number of the function
    or stage that all members have, -1 where they may have several.
    """

    kind: list[MarkKind]
    name: list[str]
    size: list[int]
    first: list[int]
    rank: list[int]
    order: list[int]
    slot: list[float]
    group: list[int]


class MarkEdges(TypedDict):
    """Columns over the edges between marks; ``count`` is the number of node edges it stands for, ``bends`` the slots
    in the ranks that it crosses between its ends."""

    source: list[int]
    target: list[int]
    count: list[int]
    bends: list[list[float]]


class Run(TypedDict):
    """The run as a whole. ``status`` is a number of `Status`; ``counts[status]`` nodes have that status; ``started``
    and ``ended`` are Unix times or null; ``stale_since`` is the time of the last word of the server that runs the
    graph, while it does not answer; ``is_record`` says that it can be read only, not steered; ``pace`` is the slow
    motion in seconds (0 for none), null where nobody here can slow the run down; ``now`` is the kernel's time when it
    sent this."""

    status: int
    counts: list[int]
    is_ended: bool
    started: float | None
    ended: float | None
    slots: int
    can_stop: bool
    stale_since: float | None
    is_record: bool
    pace: float | None
    now: float


class Picture(TypedDict):
    """First message of an epoch. ``title`` is the graph's name, ``reference`` the Python expression for it; ``groups``
    names the functions and stages by number (as text) that `Marks` speaks of and no stack is called by;
    ``folded`` says what was drawn together, or why nothing could be arranged: then ``trouble`` is the traceback;
    ``is_interim`` tells that the graph is being arranged, which takes longer than `ARRANGING_S`, and that another
    picture follows; the request ``plain`` ends that.
    ``cycle`` says of a record from elsewhere that its nodes wait for each other, and ``cyclic`` numbers the edges
    between marks, `MOST_CYCLIC` at most, by which they do."""

    type: Literal["picture"]
    protocol: int
    version: str
    epoch: int
    revision: int
    graph_id: str
    title: str
    reference: str
    total: int
    encoding: Literal["raw", "deflate"]
    marks: Marks
    edges: MarkEdges
    groups: dict[str, str]
    folded: str
    trouble: str
    is_interim: bool
    cycle: str
    cyclic: list[int]
    run: Run


class ColumnChunk(TypedDict):
    """One part of a column."""

    type: Literal["columns"]
    epoch: int
    column: Literal["records", "names", "edges", "groups", "tape", "file"]
    part: int
    of: int
    revision: int


class PatchHead(TypedDict):
    """Changes from ``since`` to ``revision``. ``run`` is there when it says more than the records do."""

    type: Literal["patch"]
    epoch: int
    since: int
    revision: int
    encoding: Literal["raw", "deflate"]
    run: Run | None


class Beat(TypedDict):
    """Nothing has changed for `HEARTBEAT_S` while a run is active and a view visible, or running nodes got on.
    ``progress`` is how far they say they are: pairs of node and whole percents, of `MOST_PROGRESS` nodes at most."""

    type: Literal["beat"]
    epoch: int
    revision: int
    progress: list[int]


class Ack(TypedDict):
    """An action was carried out (``ok``) or refused; ``message`` says what happened, in words; ``count`` the nodes it
    touched."""

    type: Literal["ack"]
    id: str
    ok: bool
    message: str
    count: int


class Reply(TypedDict):
    """Answer to a question; ``error`` is set instead of ``body`` where there is none."""

    type: Literal["reply"]
    id: str
    body: dict[str, Any] | None
    error: str | None


class Queued(TypedDict):
    """Answer on the control channel where the `Ack` is still to come."""

    id: str
    queued: bool


class CodePart(TypedDict):
    """A part of the front end's second part: number ``part`` (from 0) of ``of``, for the request ``id``."""

    type: Literal["code"]
    id: str
    part: int
    of: int


class Pong(TypedDict):
    """Body of the reply to ``ping``: the kernel's Unix time, to join the clocks by."""

    now: float


class LogLines(TypedDict):
    """Rows of a log: the lines that a scope leaves, numbered from 0. ``first`` is the oldest that is kept, ``end`` the
    one that the next line will have. A line is ``[row, Unix time, node, attempt, level, text]``, and its whole length
    where the text was cut at `LOG_CUT`; ``level`` is 1 for stdout, 2 for stderr, else a level of `logging`."""

    first: int
    end: int
    start: int
    lines: list[list[Any]]


class LogPush(TypedDict):
    """New lines for the views that asked for them by ``log_follow``; those of a view that does not follow are only
    counted."""

    type: Literal["log"]
    views: dict[str, LogLines]


class LogFound(TypedDict):
    """Body of the reply to ``log_find``: match number ``at`` of ``count`` is in ``row`` (-1 for none); ``marks`` are
    the places with matches, of 240 over the whole log."""

    count: int
    at: int
    row: int
    marks: list[int]
    first: int
    end: int


class LogScope(TypedDict, total=False):
    """Which lines: ``nodes`` as pairs of first and last-but-one, all if not there; ``attempt``, 0 for all; ``least``, a
    level; ``stream``, 1 stdout, 2 stderr, 3 log records, 0 all; ``filter``, what a filter says about lines."""

    nodes: list[int]
    attempt: int
    least: int
    stream: int
    filter: str


class LogAsk(TypedDict, total=False):
    """Goes with the requests named ``log_...``. ``start`` and ``stop`` are rows; ``step`` is 1 for the next
    match after ``start``, -1 for the one before, 0 for the first from there on."""

    scope: LogScope
    start: int
    stop: int
    follow: bool
    text: str
    is_case: bool
    is_regex: bool
    is_error: bool
    step: int


Action = Literal["retry", "retry_failed", "retry_from", "cancel", "cancel_graph", "stop"]
Question = Literal[
    "node",
    "preview",
    "rich",
    "pace_0",
    "pace_250",
    "pace_1000",
    "pace_3000",
    "errors",
    "tape",
    "export_html",
    "export_mermaid",
    "export_dot",
    "log_lines",
    "log_line",
    "log_find",
    "log_file",
]
Housekeeping = Literal["open", "resync", "tidy", "plain", "visible", "ping", "withdraw", "log_follow", "code"]


class Request(TypedDict, total=False):
    """What a page may ask. ``id`` is unique and repeated on each channel.

    ``graph`` is the `Picture`'s ``graph_id``, needed on the control channel; ``nodes`` are indices (actions; the first
    one for questions); ``visible`` goes with ``visible``; ``view`` names the view that asks; ``of`` goes with
    ``withdraw`` and is the id of the action that is not to be done; ``asked`` goes with actions and is the kernel's
    Unix time, as the page reckons it, when somebody pressed.
    """

    id: str
    graph: str
    kind: Action | Question | Housekeeping
    nodes: list[int]
    visible: bool
    view: str
    of: str
    asked: float
    log: LogAsk | None


class Frame(TypedDict):
    """A line of a traceback. ``mine`` tells the user's code from libraries'; ``cell`` is the notebook cell's number."""

    file: str
    line: int
    function: str
    code: str
    mine: bool
    cell: int | None


class Argument(TypedDict):
    """An argument on one line; ``node`` is the index of the node that it stands for, where it is one."""

    name: str
    type: str
    value: str
    node: int | None


class Attempt(TypedDict):
    """One attempt; times are Unix times or null."""

    number: int
    status: int
    started: float | None
    ended: float | None
    error: str


class NodeDetail(TypedDict):
    """Body of the reply to ``node``. ``blocker`` is the first failed ancestor of a Parent Failed node; ``parents`` and
    ``children`` are the first 1,000 (the page has them all in its edges); ``source`` is the code of the function, at
    most 20,000 characters of it, empty where it is not known; ``rich`` says that the result may have a rich form."""

    index: int
    name: str
    function: str
    source: str
    mode: str
    resource_class: str
    status: int
    arguments: list[Argument]
    parents: list[int]
    children: list[int]
    attempts: list[Attempt]
    error_type: str
    error_message: str
    traceback: str
    frames: list[Frame]
    blocker: int | None
    reference: str
    result: str
    rich: bool


class Errors(TypedDict):
    """What the column ``file`` holds after ``errors``, as JSON: the failed ``nodes`` and, for each, ``of``, which of
    ``texts`` (type and message, at most `ERROR_CUT` characters) it failed with. Where there are very many different
    ones, some nodes are left out."""

    texts: list[str]
    nodes: list[int]
    of: list[int]


class Sent(TypedDict):
    """Body of the reply to ``errors``, ``tape`` and to exports: the number of the column that brings the rest, and how
    a file should be called."""

    number: int
    name: str


class RichPreview(TypedDict):
    """Body of the reply to ``rich``: what ``kind`` (a media type, empty for nothing to show) the column ``file`` of
    that ``number`` holds. ``note`` says in words why there is nothing, or what was left out."""

    type: str
    size: str
    kind: str
    note: str
    number: int


class Paced(TypedDict):
    """Body of the reply to ``pace_...``, whose number is the slow motion in milliseconds: the one that holds now, in
    seconds. Where nodes run elsewhere it is refused with words."""

    pace: float


class Preview(TypedDict):
    """Body of the reply to ``preview``: type, size in words and a text cut to 2,000 characters."""

    type: str
    size: str
    text: str
