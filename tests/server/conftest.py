"""Fixtures of the server room."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from greenproxy.messages import Handler
from tests.fronts import LoneFront, MakeFront


@pytest.fixture
def front() -> Iterator[MakeFront]:
    """Return a function that makes a LoneFront for a handler; keywords are settings of the listener."""
    with ExitStack() as fronts:

        def make(handler: Handler, **settings: Any) -> LoneFront:
            return fronts.enter_context(LoneFront(handler, **settings))

        yield make
