"""What a task printed, read back from its file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tiledag_widget.run.output import MARK
from tiledag_widget.server import output


def marked(code: str, text: str) -> bytes:
    return MARK + code.encode() + b"\0" + text.encode() + MARK + b"1\0"


PRINTED = (
    b"one\n" + marked("2", "two\n") + marked("30", "three\n") + marked("e", "WARNING three\n") + "vier ü\n".encode()
)


def test_text_is_read_without_marks_and_a_record_once(tmp_path: Path) -> None:
    """A handler prints what its record says already."""
    (tmp_path / "output").write_bytes(PRINTED)

    assert output.read(tmp_path / "output", 0, 1000) == ("one\ntwo\nthree\nvier ü\n", len(PRINTED))


def test_levels_tell_streams_and_records_apart(tmp_path: Path) -> None:
    """The log pane colours and filters by them."""
    (tmp_path / "output").write_bytes(PRINTED)

    pieces, _ = output.read_lines(tmp_path / "output", 0, 1000)

    assert pieces == [(1, "one\n"), (2, "two\n"), (30, "three\n"), (1, "vier ü\n")]


@pytest.mark.parametrize("size", range(14, 40))
def test_reading_in_pieces_gives_the_same_text(tmp_path: Path, size: int) -> None:
    """A piece may end within a mark or a character."""
    path = tmp_path / "output"
    plain = b"one\n" + marked("2", "two\n") + marked("30", "three\n") + "vier üüü\n".encode()
    path.write_bytes(plain)

    position, text = 0, ""
    while position < len(plain):
        piece, after = output.read(path, position, size)
        assert after > position
        text, position = text + piece, after

    assert text == "one\ntwo\nthree\nvier üüü\n"


@pytest.mark.parametrize("size", range(14, 60))
def test_levels_and_records_stay_what_they_are_wherever_a_piece_ends(tmp_path: Path, size: int) -> None:
    """A task that runs is read up to wherever it has come: the text of a record would come twice."""
    path = tmp_path / "output"
    path.write_bytes(PRINTED)

    position, text, levels = 0, "", ""
    while position < len(PRINTED):
        pieces, after = output.read_lines(path, position, size)
        assert output.read(path, position, size)[1] == after > position
        text += output.read(path, position, size)[0]
        levels += "".join(f"{level}" * len(piece) for level, piece in pieces)
        position = after

    assert text == "one\ntwo\nthree\nvier ü\n"
    assert levels == "1" * 4 + "2" * 4 + "30" * 6 + "1" * 7


def test_bytes_that_only_look_like_a_mark_are_kept(tmp_path: Path) -> None:
    """A function may print what it likes."""
    (tmp_path / "output").write_bytes(b"\0 \0tile \0tiledag:x\0 end \xff\n")

    assert output.read(tmp_path / "output", 0, 1000)[0] == "\0 \0tile \0tiledag:x\0 end \ufffd\n"


def test_no_file_is_no_text(tmp_path: Path) -> None:
    """A task that waits has printed nothing yet."""
    assert output.read(tmp_path / "output", 7, 10) == ("", 7)


def test_a_file_that_grows_too_large_keeps_its_begin_and_says_so(tmp_path: Path) -> None:
    """One endless loop of prints must not fill the disk."""
    path = tmp_path / "output"
    path.write_bytes(b"x" * 100_000)

    output.keep_below(path, 1000)
    output.keep_below(path, 1000)
    kept = path.read_bytes()

    assert kept.startswith(b"x" * 1000)
    assert kept.endswith(b"was left out ...\n")
    assert len(kept) < 1200
