"""Fixtures for every room: backends on cue, a real proxy with a configuration of its own, and the count at the end."""

from __future__ import annotations

import gc
import itertools
import resource
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.leaks import Census
from tests.ledger import ALLOWANCE
from tests.running import RUNNING, RunningProxy
from tests.scripted import ScriptedBackend


def pytest_configure(config: pytest.Config) -> None:
    """Let crowds of clients open as many sockets as this process may have."""
    told = "replaces_workers(reason): there are other workers at the end, which are compared with themselves from then on"
    config.addinivalue_line("markers", told)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    gc.disable()  # of what is collected nothing goes away again, and to look for it is a quarter of the time


def pytest_collection_finish() -> None:
    """Look for garbage from now on."""
    gc.enable()


MakeBackend = Callable[..., ScriptedBackend]
StartProxy = Callable[..., RunningProxy]


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    """Fail a test that leaves threads, child processes, sockets or greenlets behind."""
    census = Census()
    yield
    left = census.left_behind()
    assert not left, f"the test left behind: {left}"


@pytest.fixture(autouse=True)
def workers_have_everything_back(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test behind which the workers of a proxy that goes on hold more than before; see `tests.ledger`."""
    marker = request.node.get_closest_marker("replaces_workers")
    ALLOWANCE.reason = marker.args[0] if marker is not None else ""
    yield
    for proxy in RUNNING:
        proxy.has_everything_back()


@pytest.fixture
def scripted() -> Iterator[MakeBackend]:
    """Return a function that makes a ScriptedBackend, listening unless `is_listening=False`."""
    with ExitStack() as backends:

        def make(*scripts: object, is_listening: bool = True, **options: str) -> ScriptedBackend:
            backend = ScriptedBackend(*scripts, **options)  # type: ignore[arg-type]
            backends.callback(backend.stop)
            return backend.start() if is_listening else backend

        yield make


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[StartProxy]:
    """Return a function that writes a configuration and starts a real proxy with it; keywords are further files."""
    numbers = itertools.count(1)
    with ExitStack() as proxies:

        def start(ini: str, *flags: str, **options: object) -> RunningProxy:
            folder = tmp_path / f"proxy{next(numbers)}"
            folder.mkdir()
            return proxies.enter_context(RunningProxy(folder, ini, *flags, **options))  # type: ignore[arg-type]

        yield start
