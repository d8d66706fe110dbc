"""Work: what code does, counted in bytecode instructions, so that a test can hold how the cost grows and no clock is asked.

    with Work() as work:
        roster.choose(())
    assert work.count < 200

Loops in C (`min`, `in` on a list) count as one instruction: where they matter, give them objects that count comparisons.
"""

from __future__ import annotations

import sys
from types import FrameType, TracebackType
from typing import Any


class Work:
    """Counts the instructions of Python code that this thread runs inside the block, in functions that are called there."""

    def __init__(self) -> None:
        self.count = 0
        self._before: Any = None

    def _called(self, frame: FrameType, _event: str, _arg: object) -> Any:
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._step

    def _step(self, _frame: FrameType, event: str, _arg: object) -> Any:
        self.count += event == "opcode"
        return self._step

    def __enter__(self) -> Work:
        self._before = sys.gettrace()
        sys.settrace(self._called)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        sys.settrace(self._before)
