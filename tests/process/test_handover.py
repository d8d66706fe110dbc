from __future__ import annotations

import os
import socket
from pathlib import Path

from gunicorn.config import Config

from greenproxy.config.settings import Address, ListenerSettings
from greenproxy.process.handover import Arbiter, adopt, hand_over
from greenproxy.process.listening import close_sockets, open_doors


class Cfg:
    """What open_doors reads of gunicorn's configuration."""

    backlog, umask, uid, gid = 5, 0o077, os.geteuid(), os.getegid()


def test_sockets_that_were_handed_over_are_at_hand_in_the_next_program(tmp_path: Path) -> None:
    addresses = (Address(host="127.0.0.1"), Address(path=str(tmp_path / "s")))
    doors = open_doors([ListenerSettings(name="a", bind=addresses)], Cfg())
    environ = {"HOME": "/"}
    hand_over(doors, environ, 77)
    assert all(os.get_inheritable(sock.fileno()) for sock in doors[0].sockets)
    copies = {sock.fileno(): os.dup(sock.fileno()) for sock in doors[0].sockets}
    for number, copy in copies.items():  # as another process sees them: the same number, another descriptor
        os.dup2(copy, number)
        os.close(copy)
    found = adopt(environ, 77)
    assert environ == {"HOME": "/"}
    assert list(found) == list(addresses)
    sockets = [sock for each in found.values() for sock in each]
    assert not any(os.get_inheritable(sock.fileno()) for sock in sockets)
    assert [sock.sock.family for sock in sockets] == [socket.AF_INET, socket.AF_UNIX]
    for sock in doors[0].sockets:
        sock.sock.detach()
    close_sockets(sockets)
    assert not (tmp_path / "s").exists()


def test_sockets_of_another_master_are_not_taken() -> None:
    environ: dict[str, str] = {}
    hand_over([], environ, 77)
    assert adopt(environ, 78) == {}
    assert environ == {}


def test_hooks_of_the_user_are_called_too() -> None:
    called: list[str] = []
    cfg = Config()

    def pre_fork(_server: object, _worker: object) -> None:
        called.append("pre_fork")

    def pre_exec(_server: object) -> None:
        called.append("pre_exec")

    cfg.set("pre_fork", pre_fork)
    cfg.set("pre_exec", pre_exec)
    cfg.set("child_exit", lambda _server, worker: called.append(f"child_exit {worker}"))
    arbiter = Arbiter(lambda: called.append("stopping"))
    arbiter.watch(cfg, lambda _server: called.append("ours"), lambda worker: called.append(f"buried {worker}"))

    class Server:
        reexec_pid, master_pid = 0, 7

        def stop(self, graceful: bool = True) -> None:
            called.append(f"stop {graceful}")

    server = Server()
    cfg.pre_fork(server, None)
    cfg.pre_fork(server, None)
    cfg.pre_exec(server)
    cfg.child_exit(server, 9)
    server.stop(False)
    assert called == ["pre_fork", "pre_fork", "pre_exec", "ours", "buried 9", "child_exit 9", "stopping", "stop False"]
    assert arbiter.is_one_of_two
