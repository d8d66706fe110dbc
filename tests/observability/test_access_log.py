"""How lines of the access log get to a file, a pipe, or nowhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest

from greenproxy.exchange import Exchange
from greenproxy.observability import access_log as module
from greenproxy.observability.access_log import AccessLog
from tests.fakes import memory_logger
from tests.observability.exchanges import exchange, request

LOG, MESSAGES = memory_logger()
PATIENCE_S = 5.0


@pytest.fixture(autouse=True)
def messages() -> list[str]:
    MESSAGES.clear()
    return MESSAGES


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[tuple[Path, int]]:
    """A named pipe, and the descriptor that reads from it."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    yield path, reader
    os.close(reader)


def numbered(n: int) -> Exchange:
    return exchange(request(f"/{n}"))


def until(holds: Callable[[], object]) -> None:
    """Let the hub run until something holds."""
    with gevent.Timeout(PATIENCE_S, AssertionError("it never came to that")):
        while not holds():
            gevent.sleep(0.001)


def test_lines_are_there_when_the_log_is_closed(tmp_path: Path) -> None:
    log = AccessLog(str(tmp_path / "access.log"), "combined", LOG)
    log.start()
    for n in range(1000):
        log.write(numbered(n))
    log.close()
    lines = (tmp_path / "access.log").read_text().splitlines()
    assert len(lines) == 1000
    assert '"GET /999 HTTP/1.1"' in lines[-1]


def test_log_that_was_never_started_is_written_when_closed(tmp_path: Path) -> None:
    log = AccessLog(str(tmp_path / "access.log"), "json", LOG)
    log.write(numbered(1))
    log.close()
    assert (tmp_path / "access.log").read_text().startswith('{"time": ')


def test_lines_are_written_after_a_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FLUSH_EVERY_S", 0.01)
    file = tmp_path / "access.log"
    log = AccessLog(str(file), "combined", LOG)
    log.start()
    log.write(numbered(1))
    assert file.read_bytes() == b""
    until(file.read_bytes)
    log.close()


def test_full_batch_is_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FLUSH_EVERY_S", 60.0)
    monkeypatch.setattr(module, "_BATCH_BYTES", 1000)
    file = tmp_path / "access.log"
    log = AccessLog(str(file), "combined", LOG)
    log.start()
    for n in range(20):
        log.write(numbered(n))
    until(file.read_bytes)
    log.close()
    assert len(file.read_bytes().splitlines()) == 20


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What goes to the kernel from now on, write by write."""
    pieces: list[bytes] = []
    real_write = os.write

    def write(descriptor: int, data: memoryview) -> int:
        pieces.append(bytes(data))
        return real_write(descriptor, data)

    monkeypatch.setattr(os, "write", write)
    return pieces


def test_a_thousand_lines_are_one_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: list[bytes]) -> None:
    monkeypatch.setattr(module, "_FLUSH_EVERY_S", 0.01)
    log = AccessLog(str(tmp_path / "access.log"), "json", LOG)
    log.start()
    for n in range(1000):
        log.write(numbered(n))
    until(lambda: written)
    log.close()
    assert len(written) == 1


def test_existing_file_is_appended_to(tmp_path: Path) -> None:
    file = tmp_path / "access.log"
    file.write_text("before\n")
    log = AccessLog(str(file), "combined", LOG)
    log.write(numbered(1))
    log.close()
    assert len(file.read_text().splitlines()) == 2


def test_dash_is_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    log = AccessLog("-", "combined", LOG)
    log.start()
    log.write(numbered(7))
    log.reopen()
    log.close()
    os.write(1, b"still open\n")
    first, second = capfd.readouterr().out.splitlines()
    assert '"GET /7 HTTP/1.1"' in first
    assert second == "still open"


def test_reopened_log_follows_a_file_that_was_moved(tmp_path: Path) -> None:
    file, moved = tmp_path / "access.log", tmp_path / "access.log.1"
    log = AccessLog(str(file), "combined", LOG)
    log.start()
    log.write(numbered(1))
    file.rename(moved)
    log.reopen()
    until(file.exists)
    log.write(numbered(2))
    log.close()
    assert '"GET /1 ' in moved.read_text()
    assert '"GET /2 ' in file.read_text()


def test_log_that_cannot_be_reopened_stays(tmp_path: Path, messages: list[str]) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    log = AccessLog(str(folder / "access.log"), "combined", LOG)
    log.start()
    folder.rename(tmp_path / "old")
    log.reopen()
    until(lambda: messages)
    log.write(numbered(1))
    log.close()
    assert "cannot be reopened, the old file is kept" in messages[0]
    assert '"GET /1 ' in (tmp_path / "old" / "access.log").read_text()


def test_file_that_cannot_be_opened_is_an_error_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        AccessLog(str(tmp_path / "nowhere" / "access.log"), "combined", LOG)


def test_pipe_that_nobody_reads_is_an_error_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    with pytest.raises(OSError, match="No such device or address"):
        AccessLog(str(path), "combined", LOG)


def test_full_disk_is_one_line_and_no_error(monkeypatch: pytest.MonkeyPatch, messages: list[str]) -> None:
    monkeypatch.setattr(module, "_FLUSH_EVERY_S", 0.005)
    log = AccessLog("/dev/full", "combined", LOG)
    log.start()
    for n in range(5):
        log.write(numbered(n))
        gevent.sleep(0.01)
    log.close()
    assert messages == ["the access log /dev/full cannot be written, lines are lost: [Errno 28] No space left on device"]


def test_end_of_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, messages: list[str]) -> None:
    link = tmp_path / "access.log"
    link.symlink_to("/dev/full")
    log = AccessLog(str(link), "combined", LOG)
    monkeypatch.setattr(module, "_FLUSH_EVERY_S", 0.005)
    log.start()
    log.write(numbered(1))
    until(lambda: messages)
    link.unlink()
    log.reopen()
    until(link.exists)
    log.write(numbered(2))
    log.close()
    assert messages[1] == f"the access log {link} can be written again"
    assert '"GET /2 ' in link.read_text()


def test_pipe_gets_whole_lines_in_pieces_that_cannot_be_mixed(pipe: tuple[Path, int], written: list[bytes]) -> None:
    path, reader = pipe
    log = AccessLog(str(path), "combined", LOG)
    for n in range(200):
        log.write(numbered(n))
    log.close()
    assert len(written) > 3
    assert all(len(piece) <= 4096 and piece.endswith(b"\n") for piece in written)
    assert os.read(reader, 1 << 20) == b"".join(written)


def test_reader_that_does_not_read_holds_nobody_up_and_costs_lines_in_the_end(
    pipe: tuple[Path, int], monkeypatch: pytest.MonkeyPatch, messages: list[str]
) -> None:
    path, reader = pipe
    monkeypatch.setattr(module, "_BATCH_BYTES", 4096)
    monkeypatch.setattr(module, "_MAX_WAITING_BYTES", 100_000)
    log = AccessLog(str(path), "combined", LOG)
    log.start()
    for n in range(5000):  # much more than a pipe holds
        log.write(numbered(n))
        if n % 100 == 0:
            gevent.sleep(0)
    assert messages == [f"the access log {path} takes no lines: they are lost"]
    read = b""

    def drained() -> bool:
        nonlocal read
        try:
            read += os.read(reader, 1 << 16)
        except BlockingIOError:
            pass
        return len(messages) > 1

    until(drained)
    log.close()
    assert messages[1] == f"the access log {path} takes lines again"
    assert all(line.endswith(b" -") for line in read.splitlines()[:-1])


def test_closing_does_not_wait_for_a_reader_that_never_reads(
    pipe: tuple[Path, int], monkeypatch: pytest.MonkeyPatch, messages: list[str]
) -> None:
    path, reader = pipe
    monkeypatch.setattr(module, "_CLOSE_WITHIN_S", 0.05)
    log = AccessLog(str(path), "combined", LOG)
    log.start()
    for n in range(2000):
        log.write(numbered(n))
    with gevent.Timeout(PATIENCE_S):
        log.close()
    assert messages == [f"the access log {path} takes no lines: the last ones are lost"]
    for _ in range(100):  # let its thread end
        try:
            if not os.read(reader, 1 << 16):
                break
        except BlockingIOError:
            gevent.sleep(0.001)


def test_pipe_that_is_full_is_waited_for(pipe: tuple[Path, int], messages: list[str]) -> None:
    path, reader = pipe
    log = AccessLog(str(path), "combined", LOG)
    log.start()
    for n in range(2000):
        log.write(numbered(n))
    read = b""

    def drained() -> bool:
        nonlocal read
        try:
            read += os.read(reader, 1 << 16)
        except BlockingIOError:
            pass
        return read.count(b"\n") == 2000

    until(drained)
    log.close()
    assert messages == []
