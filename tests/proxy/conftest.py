"""Fixtures of the proxy room."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from greenproxy.messages import Handler
from greenproxy.net.resolver import Resolver
from tests.conftest import MakeBackend
from tests.fakes import memory_logger
from tests.fronts import LoneFront, MakeFront
from tests.proxy.edge import Edge, MakeEdge
from tests.scripted import ScriptedBackend


@pytest.fixture
def edge(scripted: MakeBackend) -> Iterator[MakeEdge]:  # noqa: ARG001  # backends stop behind those who use them
    """Return a function that makes an Edge for backends. At the end every lease must be back."""
    with ExitStack() as edges:
        log, _ = memory_logger()
        resolver = Resolver(0.0, log)
        edges.callback(resolver.stop)

        def make(*backends: ScriptedBackend, **changes: Any) -> Edge:
            built = Edge(resolver, log, *backends, **changes)
            edges.callback(built.stop)
            return built

        yield make


@pytest.fixture
def front(edge: MakeEdge) -> Iterator[MakeFront]:  # noqa: ARG001  # clients leave before the backends do
    """Return a function that makes a LoneFront for a handler."""
    with ExitStack() as fronts:

        def make(handler: Handler, **settings: Any) -> LoneFront:
            return fronts.enter_context(LoneFront(handler, **settings))

        yield make
