"""Rights: the user and the groups that workers run as. The master keeps its own, to listen and to watch."""

from __future__ import annotations

import os
import pwd


def group_of(user: str) -> int | None:
    """Return the primary group of a user, given by name or number; None if there is no such user."""
    try:
        return (pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)).pw_gid
    except KeyError:
        return None


def may_become(uid: int, gid: int) -> bool:
    """Return whether this process may run workers as that user and group."""
    return os.geteuid() == 0 or (uid, gid) == (os.geteuid(), os.getegid())


def leave_groups(uid: int, gid: int) -> None:
    """Take on a user's groups. gunicorn leaves the worker in those of root, and sets the user afterwards."""
    if os.geteuid() != 0 or (uid, gid) == (0, 0):
        return
    try:
        os.initgroups(pwd.getpwuid(uid).pw_name, gid)
    except KeyError:  # a number without a name
        os.setgroups([gid])
    os.setgid(gid)
