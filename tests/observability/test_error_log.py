"""The error log and standing conditions."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenproxy.observability.error_log import Condition, ErrorLog, set_up
from tests.fakes import memory_logger


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    found = logging.getLogger("greenproxy")
    before = found.level, found.propagate, found.handlers[:]
    yield found
    for handler in [each for each in found.handlers if each not in before[2]]:
        found.removeHandler(handler)
        handler.close()
    found.level, found.propagate, found.handlers[:] = before


def test_line_has_time_process_level_and_message(logger: logging.Logger, tmp_path: Path) -> None:
    file = tmp_path / "error.log"
    set_up(str(file), "info")
    logger.info("ready: %s", "yes")
    logging.getLogger("greenproxy.middleware").warning("slow")
    logger.debug("not wanted")
    first, second = file.read_text().splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} \[\d+\] info: ready: yes", first)
    assert second.endswith("] warning: slow")


def test_control_characters_in_a_message_cannot_forge_a_line(logger: logging.Logger, tmp_path: Path) -> None:
    file = tmp_path / "error.log"
    set_up(str(file), "info")
    logger.error("path %s", "/x\r\n2026-01-01 00:00:00,000 [1] info: forged\x1b[31m\x85\u2028")
    [line] = file.read_text().splitlines()
    assert line.endswith(r"path /x\r\n2026-01-01 00:00:00,000 [1] info: forged\x1b[31m\x85\u2028")


def test_traceback_keeps_its_lines(logger: logging.Logger, tmp_path: Path) -> None:
    file = tmp_path / "error.log"
    set_up(str(file), "info")
    try:
        raise ValueError("bug")
    except ValueError:
        logger.exception("it failed")
    assert len(file.read_text().splitlines()) > 2


def test_dash_is_standard_error(logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    set_up("-", "warning")
    logger.warning("seen")
    assert capsys.readouterr().err.endswith("] warning: seen\n")


def test_set_up_again_replaces_the_file(logger: logging.Logger, tmp_path: Path) -> None:
    set_up(str(tmp_path / "one"), "info")
    set_up(str(tmp_path / "two"), "info")
    logger.info("here")
    assert (tmp_path / "one").read_text() == ""
    assert (tmp_path / "two").read_text().endswith("here\n")


@pytest.mark.usefixtures("logger")
def test_file_that_cannot_be_opened_changes_nothing(tmp_path: Path) -> None:
    handler = set_up(str(tmp_path / "one"), "info")
    with pytest.raises(OSError, match="nowhere"):
        set_up(str(tmp_path / "nowhere" / "two"), "info")
    assert handler in logging.getLogger("greenproxy").handlers


def test_reopened_log_follows_a_file_that_was_moved(logger: logging.Logger, tmp_path: Path) -> None:
    file = tmp_path / "error.log"
    handler = set_up(str(file), "info")
    logger.info("before")
    file.rename(tmp_path / "error.log.1")
    logger.info("still the old one")
    handler.reopen()
    logger.info("after")
    assert len((tmp_path / "error.log.1").read_text().splitlines()) == 2
    assert file.read_text().endswith("] info: after\n")


def test_log_that_cannot_be_reopened_stays(logger: logging.Logger, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    handler = set_up(str(folder / "error.log"), "info")
    folder.rename(tmp_path / "old")
    handler.reopen()
    logger.info("after")
    lines = (tmp_path / "old" / "error.log").read_text().splitlines()
    assert "cannot reopen the error log" in lines[0]
    assert lines[1].endswith("after")


def test_full_disk_does_not_disturb(logger: logging.Logger, capsys: pytest.CaptureFixture[str]) -> None:
    set_up("/dev/full", "info")
    logger.info("lost")
    assert capsys.readouterr().err == ""


def test_standard_error_is_not_closed(capsys: pytest.CaptureFixture[str]) -> None:
    handler = ErrorLog("-")
    handler.reopen()
    handler.close()
    print("still open")
    assert capsys.readouterr().out == "still open\n"


def test_condition_is_told_when_it_begins_and_when_it_ends() -> None:
    log, messages = memory_logger()
    condition = Condition(log)
    condition.end("never began")
    for _ in range(3):
        condition.begin("disk full")
    for _ in range(3):
        condition.end("disk free")
    condition.begin("disk full again")
    assert messages == ["disk full", "disk free", "disk full again"]


def test_percent_signs_in_a_condition_are_not_formats() -> None:
    log, messages = memory_logger()
    Condition(log).begin("100%s of the disk")
    assert messages == ["100%s of the disk"]


def test_a_named_pipe_that_nobody_reads_is_an_error_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="No such device or address"):
        ErrorLog(str(tmp_path / "pipe"))
