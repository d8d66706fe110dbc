"""Fixtures of the end-to-end tests: the shared house, and a target that nobody else asks for."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from tests.client import RawClient
from tests.e2e.house import House, build
from tests.scripted import ScriptedBackend

NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def shared_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One proxy for all tests that need no configuration of their own."""
    backend, refusing, silent = ScriptedBackend(), ScriptedBackend(), ScriptedBackend()
    try:
        backend.start()
        silent.never_accept()
        with build(tmp_path_factory.mktemp("house"), backend, refusing, silent) as proxy:
            yield House(proxy, backend)
    finally:
        for each in (backend, refusing, silent):
            each.stop()


@pytest.fixture
def house(shared_house: House) -> Iterator[House]:
    """The shared house with a backend that has met nobody yet and echoes until told otherwise."""
    shared_house.backend.begin_again()
    yield shared_house
    shared_house.backend.begin_again()
    assert shared_house.proxy.exit_status is None, shared_house.proxy.log()


@pytest.fixture
def backend(house: House) -> ScriptedBackend:
    """The backend of the shared house."""
    return house.backend


@pytest.fixture
def client(house: House) -> Iterator[RawClient]:
    """A connection to the plain listener of the shared house."""
    with house.client() as connection:
        yield connection


@pytest.fixture
def token() -> Callable[[], str]:
    """Return a function that makes words which occur nowhere else, to be found again in the log."""
    return lambda: f"token-{next(NUMBERS):04d}-x"
