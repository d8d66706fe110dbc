"""New certificates: good ones are loaded by a reload, bad ones are refused like one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from greenproxy.config.settings import ListenerSettings, Settings
from greenproxy.process.certificate_watch import AGAIN_EVERY_S, EVERY_S, CertificateWatch, files_of, marks_of
from greenproxy.process.reload import Reload
from greenproxy.process.renewal import Renewal
from tests.authorities import Authority
from tests.fakes import HandClock, memory_logger
from tests.process.test_reload import Master


class Scene:
    """A pair in files, a renewal that looks at them, and the reload that it asks for."""

    def __init__(self, folder: Path) -> None:
        self._authority = Authority(folder)
        self._certificate, self._key = folder / "web.pem", folder / "web.key"
        self.renew()
        web = ListenerSettings(name="web", tls_certificate=(str(self._certificate),), tls_key=(str(self._key),))
        self._settings = Settings(listeners=(web,))
        self._loaded = marks_of(files_of(self._settings))
        self._clock, self.master = HandClock(), Master()
        logger, self.log = memory_logger()
        self._renewal = Renewal(Reload(self.master, logger), logger, CertificateWatch(self._clock))

    def renew(self) -> None:
        """Put a new pair in place."""
        pair = self._authority.issue("localhost")
        shutil.copy(pair.certificate, self._certificate)
        shutil.copy(pair.key, self._key)

    def spoil(self) -> None:
        """Leave half of a certificate."""
        self._certificate.write_text("-----BEGIN CERTIFICATE-----\n")

    def look(self, after_s: float = EVERY_S) -> None:
        """Look once more, after a while."""
        self._clock.turn(after_s)
        self._renewal.look(self._settings, self._loaded)


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_files_that_stay_ask_for_nothing(scene: Scene) -> None:
    for _ in range(2):
        scene.look()
    assert (scene.master.told, scene.log) == ([], [])


def test_new_pair_asks_for_a_reload(scene: Scene) -> None:
    scene.renew()
    for _ in range(2):
        scene.look()
    assert scene.master.told == [("running", "")]
    assert scene.log == ["the certificates have changed: reloading the same flags"]


def test_pair_that_cannot_be_used_is_a_refused_reload(scene: Scene) -> None:
    scene.spoil()
    for _ in range(2):
        scene.look()
    assert [state for state, _ in scene.master.told] == ["running", "refused"]
    assert scene.log[0].startswith("the certificates have changed and cannot be used, those of before stay: ")


def test_pair_that_still_cannot_be_used_is_told_of_once(scene: Scene) -> None:
    scene.spoil()
    for _ in range(3):
        scene.look(AGAIN_EVERY_S)
    assert len(scene.log) == 1
