from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from gunicorn.config import Config

from greenproxy.config.settings import Address, ListenerSettings, ProcessSettings, Settings
from greenproxy.process.admin_listener import admin_listener
from greenproxy.process.listening import CannotListen, Door, bound_address, close, open_doors, shown

ANY = Address(host="127.0.0.1")


@pytest.fixture
def doors() -> Iterator[ExitStack]:
    """Doors that are closed at the end of the test."""
    with ExitStack() as stack:
        yield stack


def opened(stack: ExitStack, *listeners: ListenerSettings) -> tuple[Door, ...]:
    """Open doors until the end of the test."""
    found = open_doors(listeners, Config())
    for door in found:
        stack.callback(close, door)
    return found


def listener(*bind: Address, name: str = "web") -> ListenerSettings:
    return ListenerSettings(name=name, bind=bind)


def test_sockets_stand_in_the_order_of_bind(doors: ExitStack, tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    (door,) = opened(doors, listener(ANY, Address(host="::1"), Address(path=path)))
    assert [sock.family for sock in door.raw()[1]] == [socket.AF_INET, socket.AF_INET6, socket.AF_UNIX]
    assert all(sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) for sock in door.raw()[1])


def test_port_zero_is_shown_as_the_real_port(doors: ExitStack) -> None:
    (door,) = opened(doors, listener(ANY))
    port = door.sockets[0].getsockname()[1]
    assert port
    assert shown(door.sockets[0]) == f"http://127.0.0.1:{port}"
    assert bound_address(door.sockets[0]) == Address(host="127.0.0.1", port=port)


def test_ipv6_address_is_shown_in_brackets(doors: ExitStack) -> None:
    (door,) = opened(doors, listener(Address(host="::1")))
    assert shown(door.sockets[0]).startswith("http://[::1]:")


def test_no_host_is_every_ipv4_address(doors: ExitStack) -> None:
    (door,) = opened(doors, listener(Address()))
    assert bound_address(door.sockets[0]).host == "0.0.0.0"


def test_wildcards_of_both_families_share_a_port(doors: ExitStack) -> None:
    (first,) = opened(doors, listener(Address()))
    port = bound_address(first.sockets[0]).port
    (second,) = opened(doors, listener(Address(host="::", port=port)))
    assert bound_address(second.sockets[0]).port == port


def test_children_do_not_inherit_the_sockets(doors: ExitStack) -> None:
    (door,) = opened(doors, listener(ANY))
    assert not os.get_inheritable(door.sockets[0].fileno())


def test_close_removes_the_file_of_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    (door,) = open_doors([listener(Address(path=str(path)))], Config())
    assert path.is_socket()
    close(door)
    assert not path.exists()


def test_every_address_that_failed_is_named_and_nothing_stays_open(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    path = str(tmp_path / "good")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = Address(host="127.0.0.1", port=taken.getsockname()[1])
        wrong = [listener(busy, Address(path=path)), listener(Address(path=str(tmp_path / "file")), name="other")]
        with pytest.raises(CannotListen) as failed:
            open_doors(wrong, Config())
    lines = str(failed.value).splitlines()
    assert lines[0] == f"cannot listen on {busy} (web): Address already in use"
    assert lines[1].startswith(f"cannot listen on unix:{tmp_path}/file (other): ")
    assert len(lines) == 2
    assert not os.path.exists(path)


def test_start_that_fails_leaves_the_socket_of_somebody_else_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.socket(socket.AF_UNIX) as running:
        running.bind(str(path))
        running.listen(1)
        busy = Address(host="127.0.0.1", port=taken.getsockname()[1])
        with pytest.raises(CannotListen) as failed:
            open_doors([listener(busy, Address(path=str(path)))], Config())
        lines = str(failed.value).splitlines()
        assert path.is_socket()
    assert lines[1] == f"cannot listen on unix:{path} (web): Address already in use"


def test_close_leaves_what_somebody_else_has_put_there_and_misses_nothing(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    (door,) = open_doors([listener(Address(path=str(first)), Address(path=str(second)))], Config())
    first.unlink()
    second.unlink()
    second.write_text("precious")
    close(door)
    close(door)
    assert second.read_text() == "precious"


def test_socket_that_is_open_already_is_taken_and_survives_a_failure(doors: ExitStack, tmp_path: Path) -> None:
    path = Address(path=str(tmp_path / "s"))
    (door,) = opened(doors, listener(path))
    at_hand = {path: [door.sockets[0]]}
    (tmp_path / "file").write_text("precious")
    with pytest.raises(CannotListen):
        open_doors([listener(path, Address(path=str(tmp_path / "file")))], Config(), at_hand)
    assert (tmp_path / "s").is_socket()
    (again,) = open_doors([listener(ANY, path)], Config(), {path: [door.sockets[0]]})
    doors.callback(close, again)
    assert again.sockets[1] is door.sockets[0]


def test_the_socket_of_the_admin_is_for_its_user_and_group_alone(doors: ExitStack, tmp_path: Path) -> None:
    path = tmp_path / "admin.sock"
    asked = admin_listener(Settings(process=ProcessSettings(admin=Address(path=str(path)))))
    assert asked is not None
    opened(doors, asked)
    assert path.stat().st_mode & 0o777 == 0o660


def test_file_that_cannot_be_removed_is_told_and_the_sockets_are_closed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (door,) = open_doors([listener(Address(path=str(tmp_path / "first")), Address(path=str(tmp_path / "second")))], Config())

    class Immovable:
        path = "/read/only"

        def remove(self) -> None:
            raise OSError(30, "Read-only file system")

    door.sockets[0].file = Immovable()
    monkeypatch.setattr(logging.getLogger("greenproxy"), "propagate", True)
    close(door)
    assert [sock.fileno() for sock in door.sockets] == [-1, -1]
    assert "/read/only cannot be removed: Read-only file system" in caplog.text
    assert not (tmp_path / "second").exists()


def test_ports_that_want_rights_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("greenproxy.process.listening._listen", forbidden)
    with pytest.raises(CannotListen, match=r"Permission denied \(ports below 1024 want root, or CAP_NET_BIND_SERVICE\)"):
        open_doors([listener(Address(port=80))], Config())
