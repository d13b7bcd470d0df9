"""The files of a data directory: locks, the record, where the socket goes, and which directories are refused."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from durable_async.errors import ConfigurationError
from durable_async.server import supervisor
from durable_async.server.embedded import prepare_directory
from durable_async.server.home import READY, SOCKET_PATH_BYTES, Home, Record, release
from durable_async.server.sockets import choose_socket, remove_socket


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(str(tmp_path))


def test_the_record_survives_and_a_damaged_one_is_none(home: Home, tmp_path: Path) -> None:
    assert home.read() == Record()
    record = Record(READY, "1", "/somewhere\udcff", 2, "3", 4, "5", "6")
    home.write(record)
    assert home.read() == record
    for damaged in ("", "[]", "{}", '{"state": "ready"'):
        (tmp_path / "server.json").write_text(damaged)
        assert home.read() == Record()


def test_one_supervisor(home: Home) -> None:
    lock = home.lock_supervisor()
    assert lock is not None
    assert home.lock_supervisor() is None
    release(lock)
    again = home.lock_supervisor()
    assert again is not None
    release(again)


def test_a_removed_or_replaced_directory_is_lost(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    home = Home(str(tmp_path / "a"))
    lock = home.lock_supervisor()
    assert lock is not None
    assert not home.is_lost(lock)
    (tmp_path / "a").rename(tmp_path / "b")
    assert home.is_lost(lock)
    (tmp_path / "a").mkdir()
    other = home.lock_supervisor()
    assert other is not None
    assert home.is_lost(lock)
    release(other)
    release(lock)


def test_using_and_deciding_exclude_each_other(home: Home) -> None:
    with home.using() as one, home.using() as two, home.deciding() as decides:
        assert (one, two, decides) == (True, True, False)
    used = home.last_use()
    with home.deciding() as decides, home.using() as uses:
        assert (decides, uses) == (True, False)
    assert home.last_use() == used
    os.utime(home._last_use, ns=(1, 1))
    with home.using():
        pass
    assert home.last_use() > 1


def test_a_long_log_is_set_aside(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("durable_async.server.home.LOG_BYTES", 3)
    (tmp_path / "server.log").write_text("abc")
    home.rotate_log()
    assert home.log_size() == 3
    (tmp_path / "server.log").write_text("abcd")
    home.rotate_log()
    assert home.log_size() == 0
    assert (tmp_path / "server.log.1").read_text() == "abcd"


def test_somebody_elses_server_lock_ends_in_a_reason(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "SHUTDOWN_SECONDS", 0.01)
    lock = home.lock_server()
    assert lock is not None
    bell = supervisor.Bell.__new__(supervisor.Bell)
    monkeypatch.setattr(supervisor.Bell, "wait", lambda self, seconds: None)
    with pytest.raises(supervisor.GiveUp, match="end it first"):
        supervisor.wait_for_server_lock(home, 0, bell)
    with pytest.raises(supervisor.GiveUp, match="end it by hand"):
        supervisor.end_leftover(home, Record(), bell)
    release(lock)


def test_a_short_path_holds_its_own_socket(tmp_path: Path) -> None:
    directory = "/" + "d" * (SOCKET_PATH_BYTES - len("//server.sock"))
    assert choose_socket(directory) == f"{directory}/server.sock"
    assert len(choose_socket(directory)) == SOCKET_PATH_BYTES


def test_a_long_path_has_its_socket_in_a_private_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    directory = "/" + str(tmp_path).replace("/", "x" * SOCKET_PATH_BYTES)
    path = choose_socket(directory)
    parent = Path(path).parent
    assert len(path) <= SOCKET_PATH_BYTES
    assert stat.S_IMODE(parent.stat().st_mode) == 0o700
    assert choose_socket(directory) == path
    parent.chmod(0o755)
    with pytest.raises(PermissionError, match="only this user may enter"):
        choose_socket(directory)
    remove_socket(path, directory)
    assert not parent.exists()
    parent.symlink_to(tmp_path)
    with pytest.raises(PermissionError, match="only this user may enter"):
        choose_socket(directory)
    parent.unlink()


def test_a_new_data_directory_is_private_and_ignored_by_git(tmp_path: Path) -> None:
    made = prepare_directory(tmp_path / "a" / "b")
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    assert (made / ".gitignore").read_text() == "*\n"


def test_two_names_are_one_directory(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert prepare_directory(tmp_path / "b") == prepare_directory(tmp_path / "a")
    assert not (tmp_path / "a" / ".gitignore").exists()


@pytest.mark.parametrize("below", ["", "below"])
def test_a_file_in_the_way_is_named(below: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"file is a file; remove it, or choose another"):
        prepare_directory(tmp_path / "file" / below)


def test_a_directory_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(ConfigurationError, match=r"belongs to another user.*choose another data directory"):
        prepare_directory(tmp_path)


def test_an_unwritable_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ConfigurationError, match=r"not writable.*choose another data directory"):
        prepare_directory(tmp_path)


def test_an_impossible_directory_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be created.*choose another data directory"):
        prepare_directory("/proc/nothing/here")
