"""Fixtures of the upstream room: houses on fakes and on loopback, torn down at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from greenproxy.config.settings import BackendSettings
from greenproxy.net.resolver import Resolver
from greenproxy.upstream.group import Upstream
from tests.fakes import memory_logger
from tests.upstream.fakes import Harbour, House, real_upstream

MakeHouse = Callable[..., House]
MakeUpstream = Callable[..., Upstream]


@pytest.fixture
def house() -> Iterator[MakeHouse]:
    """Return a function that builds a `House` and starts it."""
    with ExitStack() as houses:

        def make(*backends: BackendSettings, **options: Any) -> House:
            built = House(*backends, **options)
            houses.callback(built.stop)
            return built

        yield make


@pytest.fixture
def harbour() -> Iterator[Harbour]:
    """Return a loopback server in the hub."""
    server = Harbour()
    yield server
    server.stop()


@pytest.fixture
def upstream() -> Iterator[MakeUpstream]:
    """Return a function that builds and starts an upstream with real sockets."""
    with ExitStack() as upstreams:
        log, _ = memory_logger()
        resolver = Resolver(0.0, log)
        upstreams.callback(resolver.stop)

        def make(*backends: BackendSettings, **changes: Any) -> Upstream:
            built = real_upstream(resolver, log, *backends, **changes)
            upstreams.callback(built.stop)
            return built

        yield make
