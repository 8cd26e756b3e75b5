"""Which server is used: login, environment, file, and nothing at all."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

import tiledag_widget
from tiledag_widget import settings
from tiledag_widget.settings import BadSettings, data_folder, server_settings, settings_file

VARIABLES = (
    "TILEDAG_SERVER",
    "TILEDAG_DATA_DIR",
    "TILEDB_REST_HOST",
    "TILEDB_REST_TOKEN",
    "TILEDB_REST_USERNAME",
    "TILEDB_REST_PASSWORD",
    "TILEDB_REST_IGNORE_SSL_VALIDATION",
    "TILEDB_SSL_CA_FILE",
    "XDG_DATA_HOME",
)


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    yield
    settings.remember_login(None)


def write_file(**content: object) -> None:
    settings_file().parent.mkdir(exist_ok=True)
    settings_file().write_text(json.dumps(content))


def test_nothing_configured_means_the_embedded_server() -> None:
    """The first graph of a new user must run."""
    assert server_settings().host is None


def test_a_token_alone_means_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has an account set only that."""
    monkeypatch.setenv("TILEDB_REST_TOKEN", "t")

    assert server_settings().host == "https://api.tiledb.com"


def test_the_environment_goes_before_the_file_for_host_and_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in TileDB's client."""
    write_file(host="http://file/", api_key={"X-TILEDB-REST-API-KEY": "of-file"}, username="file", verify_ssl=False)
    monkeypatch.setenv("TILEDB_REST_USERNAME", "environment")

    found = server_settings()
    assert (found.host, found.token, found.username, found.verify_ssl) == ("http://file", "of-file", "file", False)

    monkeypatch.setenv("TILEDB_REST_HOST", "http://environment/")
    monkeypatch.setenv("TILEDB_REST_TOKEN", "of-environment")
    found = server_settings()
    assert (found.host, found.token) == ("http://environment", "of-environment")


def test_the_embedded_server_can_be_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    """To try something without the account."""
    write_file(host="http://file", api_key={})
    monkeypatch.setenv("TILEDAG_SERVER", "embedded")

    assert server_settings().host is None
    monkeypatch.setenv("TILEDAG_SERVER", "cloud")
    with pytest.raises(BadSettings, match="'embedded'"):
        server_settings()


@pytest.mark.parametrize("host", ["api.tiledb.com", "127.0.0.1:8080", "ftp://there"])
def test_a_host_without_http_is_refused_with_what_it_needs(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """What requests says of it names neither the setting nor the way out."""
    monkeypatch.setenv("TILEDB_REST_HOST", host)
    monkeypatch.setenv("TILEDB_REST_TOKEN", "t")

    with pytest.raises(BadSettings, match=f"{host}.* of the environment must begin with https://"):
        server_settings()


@pytest.mark.parametrize("host", ["http://", "https:///", "http://:8080", "http://there:80b", "http://[::1"])
def test_a_host_without_a_name_is_refused(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """As an empty variable inside another one makes it."""
    monkeypatch.setenv("TILEDB_REST_HOST", host)
    monkeypatch.setenv("TILEDB_REST_TOKEN", "t")

    with pytest.raises(BadSettings, match="of the environment names no server"):
        server_settings()
    with pytest.raises(BadSettings, match="of login names no server"):
        tiledag_widget.login(token="t", host=host)


def test_a_host_in_the_file_that_is_no_text_is_named() -> None:
    """It would be taken for none, and the run for one on the embedded server."""
    write_file(host=5, api_key={})

    with pytest.raises(BadSettings, match=r"host in .*cloud\.json must be a text, got 5"):
        server_settings()


def test_blanks_around_a_token_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that holds a token ends with a line end."""
    monkeypatch.setenv("TILEDB_REST_HOST", "http://there")
    monkeypatch.setenv("TILEDB_REST_TOKEN", " token\n")
    of_environment = server_settings().token

    tiledag_widget.login(token="token\r\n", host="example.com")

    assert (of_environment, server_settings().token) == ("token", "token")


@pytest.mark.parametrize("token", ["se\ncret", "se\x7fcret", "secr\u00e9t", "secret\u200b"])
def test_a_token_that_no_header_carries_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    """What the HTTP library says of it quotes it, in an error that the view shows and the record keeps."""
    monkeypatch.setenv("TILEDB_REST_HOST", "http://there")
    monkeypatch.setenv("TILEDB_REST_TOKEN", token)

    with pytest.raises(BadSettings, match="token of the environment") as of_environment:
        server_settings()
    with pytest.raises(BadSettings, match="token of login") as of_login:
        tiledag_widget.login(token=token, host="example.com")

    assert "sec" not in f"{of_environment.value!r} {of_login.value!r}"


@pytest.mark.parametrize("text", ["{", "[1]"])
def test_a_broken_file_is_named(text: str) -> None:
    """It would be taken for no file, and the run for a run on the account."""
    settings_file().parent.mkdir()
    settings_file().write_text(text)

    with pytest.raises(BadSettings, match=r"cloud\.json"):
        server_settings()


@pytest.mark.parametrize("word", ["true", "1", "ON"])
def test_certificates_are_checked_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    """The variable says what *not* to do."""
    monkeypatch.setenv("TILEDB_REST_HOST", "https://x")
    assert server_settings().verify_ssl is True

    monkeypatch.setenv("TILEDB_REST_IGNORE_SSL_VALIDATION", word)
    assert server_settings().verify_ssl is False


def test_login_is_used_and_kept_where_its_owner_alone_reads_it() -> None:
    """A token that others read is theirs too."""
    tiledag_widget.login(token="secret", host="example.com/")

    assert server_settings().host == "https://example.com"
    assert server_settings().token == "secret"
    assert "secret" not in repr(server_settings())
    assert stat.S_IMODE(settings_file().stat().st_mode) == 0o600
    settings.remember_login(None)
    assert (server_settings().host, server_settings().token) == ("https://example.com", "secret")
    assert json.loads(settings_file().read_text()) == {
        "api_key": {"X-TILEDB-REST-API-KEY": "secret"},
        "host": "https://example.com",
        "verify_ssl": True,
    }


def test_login_needs_something_to_log_in_with() -> None:
    """An empty login would hide the one that works."""
    with pytest.raises(ValueError, match="token"):
        tiledag_widget.login(username="me")


def test_the_data_folder_can_be_moved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Tests and small disks need it."""
    assert data_folder().is_relative_to(tmp_path)
    monkeypatch.setenv("TILEDAG_DATA_DIR", str(tmp_path / "x"))
    assert data_folder() == tmp_path / "x"
