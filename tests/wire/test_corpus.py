"""The corpus itself: nothing stands twice, and every case says why."""

from __future__ import annotations

from collections import Counter

from tests.wire import responses
from tests.wire.requests import ALL
from tests.wire.requests.pipelines import PIPELINES


def _twice(keys: list[object]) -> list[object]:
    return [key for key, count in Counter(keys).items() if count > 1]


def test_every_name_stands_once() -> None:
    assert _twice([case.name for case in ALL]) == []
    assert _twice([case.name for case in PIPELINES]) == []


def test_every_request_stands_once() -> None:
    assert _twice([(case.data, case.listener) for case in ALL]) == []
    assert _twice([case.data for case in PIPELINES]) == []


def test_every_case_names_its_rule() -> None:
    assert [case.name for case in ALL if not case.rule] == []
    assert [case.name for case in PIPELINES if not case.rule] == []


def test_every_answer_stands_once_and_names_its_rule() -> None:
    assert _twice([case.name for case in responses.ALL]) == []
    assert _twice([(case.data, *case[4:]) for case in responses.ALL]) == []
    assert [case.name for case in responses.ALL if not case.rule] == []
