from __future__ import annotations

from pathlib import Path

import pytest

from greenproxy.config.settings import ListenerSettings, Settings
from greenproxy.process.certificate_watch import AGAIN_EVERY_S, EVERY_S, CertificateWatch, files_of, marks_of


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "web.pem"
    file.write_text("one")
    return file


class Looking:
    """A watch whose clock goes on to the next look with every question."""

    def __init__(self, file: Path) -> None:
        self._clock = Clock()
        self._watch = CertificateWatch(self._clock)
        self._loaded = marks_of([str(file)])

    def __call__(self, after_s: float = EVERY_S, source: str = "") -> bool:
        self._clock.now_s += after_s
        return self._watch.have_changed(self._loaded, source)

    @property
    def is_again(self) -> bool:
        return self._watch.is_again


def test_files_that_stay_have_not_changed(file: Path) -> None:
    look = Looking(file)
    assert [look() for _ in range(3)] == [False] * 3


def test_change_is_told_once_when_it_has_lasted(file: Path) -> None:
    look = Looking(file)
    file.write_text("two!")
    assert [look() for _ in range(4)] == [False, True, False, False]


def test_change_that_goes_on_is_waited_for(file: Path) -> None:
    look = Looking(file)
    for count in range(3):
        file.write_text("x" * (10 + count))
        assert not look()
    assert look()


def test_change_that_is_not_in_force_is_told_again_after_a_minute(file: Path) -> None:
    look = Looking(file)
    file.write_text("two!")
    assert [look(), look(), look.is_again] == [False, True, False]
    assert [look(), look(AGAIN_EVERY_S - EVERY_S), look.is_again, look()] == [False, True, True, False]


def test_change_that_is_not_in_force_is_told_again_when_the_configuration_changes(file: Path) -> None:
    look, ini = Looking(file), file.parent / "greenproxy.ini"
    ini.write_text("wrong")
    file.write_text("two!")
    assert [look(source=str(ini)) for _ in range(3)] == [False, True, False]
    ini.write_text("mended")
    assert [look(source=str(ini)) for _ in range(3)] == [False, True, False]
    assert not look.is_again


def test_change_of_the_configuration_alone_is_none(file: Path) -> None:
    look, ini = Looking(file), file.parent / "greenproxy.ini"
    for text in ("one", "two!"):
        ini.write_text(text)
        assert [look(source=str(ini)) for _ in range(2)] == [False, False]


def test_next_change_is_told_again(file: Path) -> None:
    look = Looking(file)
    file.write_text("two!")
    assert [look(), look()] == [False, True]
    file.write_text("three")
    assert [look(), look(), look()] == [False, True, False]


def test_file_that_went_away_has_changed(file: Path) -> None:
    look = Looking(file)
    file.unlink()
    assert [look(), look(), look()] == [False, True, False]


def test_file_that_was_replaced_by_another_of_its_size_has_changed(file: Path) -> None:
    look = Looking(file)
    (file.parent / "new").write_text("two")
    (file.parent / "new").replace(file)
    assert [look(), look()] == [False, True]


def test_it_looks_no_more_often_than_it_should(file: Path) -> None:
    clock = Clock()
    watch, loaded = CertificateWatch(clock), marks_of([str(file)])
    watch.have_changed(loaded)
    file.write_text("two!")
    assert [watch.have_changed(loaded) for _ in range(5)] == [False] * 5


def test_files_of_all_listeners_are_looked_at() -> None:
    web = ListenerSettings(name="web", tls_certificate=("a", "b"), tls_key=("c", "c"), tls_client_ca="d")
    plain = ListenerSettings(name="plain")
    assert files_of(Settings(listeners=(web, plain))) == ["a", "b", "c", "c", "d"]
