"""The master's note on the board: who it is, whether it stops, and how its last reload went. It writes, workers read."""

from __future__ import annotations

import struct
from dataclasses import dataclass

#: How a reload stands. A file or address that cannot be used is refused, workers that do not boot are undone.
RELOAD_STATES = ("none", "running", "done", "refused", "undone")
MESSAGE_BYTES = 4000
_FORM = struct.Struct("=dqqqqqqq")  # the number of changes is before it, alone
_BEGIN = struct.Struct("=q")
NOTE_BYTES = 4096
_TRIES = 100


@dataclass(frozen=True)
class MasterNote:
    """`started_at` is the time of day in seconds, `generation` the one that serves, `reload_number` counts the reloads.

    `is_one_of_two`: when this master stops another one goes on, on the same sockets (USR2).
    """

    started_at: float = 0.0
    pid: int = 0
    generation: int = 0
    is_stopping: bool = False
    is_one_of_two: bool = False
    reload_number: int = 0
    reload_state: str = "none"
    reload_message: str = ""


def write_note(memory: memoryview, note: MasterNote) -> None:
    """Store a note. The number in front of it is odd meanwhile, so that nobody takes half of it for the whole."""
    text = note.reload_message.encode("utf-8", "backslashreplace")[:MESSAGE_BYTES]
    text = text.decode("utf-8", "ignore").encode()  # no half character at the end
    (changes,) = _BEGIN.unpack_from(memory)
    _BEGIN.pack_into(memory, 0, changes + 1)
    state = RELOAD_STATES.index(note.reload_state)
    numbers = (note.pid, note.generation, note.is_stopping, note.is_one_of_two, note.reload_number, state, len(text))
    _FORM.pack_into(memory, _BEGIN.size, note.started_at, *numbers)
    start = _BEGIN.size + _FORM.size
    memory[start : start + len(text)] = text
    _BEGIN.pack_into(memory, 0, changes + 2)


def read_note(memory: memoryview) -> MasterNote:
    """Return the note as it was between two changes of it. Never waits: after many tries half a note must do."""
    for _ in range(_TRIES):
        (before,) = _BEGIN.unpack_from(memory)
        note = _read(memory)
        if before % 2 == 0 and _BEGIN.unpack_from(memory) == (before,):
            break
    return note


def _read(memory: memoryview) -> MasterNote:
    started_at, pid, generation, is_stopping, is_one_of_two, number, state, length = _FORM.unpack_from(memory, _BEGIN.size)
    start = _BEGIN.size + _FORM.size
    text = bytes(memory[start : start + min(length, MESSAGE_BYTES)]).decode("utf-8", "replace")
    return MasterNote(started_at, pid, generation, bool(is_stopping), bool(is_one_of_two), number, RELOAD_STATES[state], text)
