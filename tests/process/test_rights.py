from __future__ import annotations

import os
import pwd

import pytest

from greenproxy.process.rights import group_of, may_become


def test_group_of_a_user_is_found_by_name_and_by_number() -> None:
    own = pwd.getpwuid(os.getuid())
    assert group_of(own.pw_name) == group_of(str(own.pw_uid)) == own.pw_gid


def test_user_that_does_not_exist_has_no_group() -> None:
    assert group_of("no-such-user") is None
    assert group_of("3999999999") is None


def test_everybody_may_stay_who_they_are() -> None:
    assert may_become(os.geteuid(), os.getegid())


def test_only_root_may_run_workers_as_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert not may_become(1001, os.getegid())
    assert not may_become(1000, os.getegid() + 1)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert may_become(1001, 1001)
