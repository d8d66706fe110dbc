from __future__ import annotations

from greenproxy.config.settings import Address, ProcessSettings, Settings
from greenproxy.process.admin_listener import admin_listener

HERE = Address(host="127.0.0.1", port=9901)


def test_admin_asks_for_a_listener_of_its_own() -> None:
    listener = admin_listener(Settings(process=ProcessSettings(admin=HERE)))
    assert listener is not None
    assert (listener.name, listener.protocol, listener.bind) == ("admin", "admin", (HERE,))


def test_without_admin_there_is_none() -> None:
    assert admin_listener(Settings()) is None
