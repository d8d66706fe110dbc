from __future__ import annotations

import signal

import pytest

from greenproxy.process.endings import how_it_ended


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "ended with status 0"),
        (3 << 8, "ended with status 3"),
        (signal.SIGTERM, "was killed by SIGTERM"),
        (signal.SIGKILL, "was killed by SIGKILL (out of memory?)"),
        (signal.SIGSEGV | 0x80, "was killed by SIGSEGV"),  # with a core dump
        (signal.SIGRTMIN + 3, f"was killed by signal {signal.SIGRTMIN + 3}"),
    ],
)
def test_wait_status_is_told_in_words(status: int, words: str) -> None:
    assert how_it_ended(status) == words
