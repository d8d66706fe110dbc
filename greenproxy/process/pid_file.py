"""The pid file of our master: gunicorn's, with our words."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from gunicorn.pidfile import Pidfile


class PidFileTaken(Exception):
    """The pid file is another process's, or cannot be used. `str()` is one line for the log."""


class OwnPidfile(Pidfile):
    """Holds the master's process id, from `create` to `unlink`."""

    def validate(self) -> int | None:
        """Return the process that the file names, if that runs. One that has ended and was not reaped yet does not."""
        pid: int | None = super().validate()
        return None if pid and _has_ended(pid) else pid

    def create(self, pid: int) -> None:
        """Write the file. Raises PidFileTaken; a file that names a dead process, or nothing, is replaced."""
        try:
            if os.path.exists(self.fname) and not os.path.isfile(self.fname):  # a pipe would let us wait for who fills it
                raise PidFileTaken(f"pid-file {self.fname} cannot be used: it is no ordinary file")
            running = self.validate()
            if running and running != pid:
                raise PidFileTaken(
                    f"pid-file {self.fname} names process {running}, which is running: "
                    "stop it first, or remove the file if that is another program"
                )
            self._write(pid)
        except OSError as error:
            raise PidFileTaken(f"pid-file {self.fname} cannot be used: {error.strerror}") from None
        self.pid = pid

    def _write(self, pid: int) -> None:
        """Put the file in its place as a whole; nothing is left of it when the disk is full."""
        file, name = tempfile.mkstemp(dir=os.path.dirname(self.fname) or ".")
        try:
            with open(file, "w") as text:
                text.write(f"{pid}\n")
            os.chmod(name, 0o644)
            os.rename(name, self.fname)
        except BaseException:
            os.unlink(name)
            raise


def _has_ended(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:  # gone since, or nobody may look: what a signal showed counts
        return False
    return stat.rpartition(")")[2].split()[0] in ("Z", "X")
