"""Asking an admin listener: what can go wrong is one line each."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from greenproxy.config.addresses import parse_bind
from greenproxy.control.admin_client import AdminClient, Refuses, Silent, Unheard
from greenproxy.control.refusal import CannotDo
from tests.control.stand_ins import Admin
from tests.scripted import ScriptedBackend
from tests.scripts import close, expect_request, send


def client(address: str, token: str = "", time_limit_s: float = 5.0) -> AdminClient:
    return AdminClient(parse_bind(address, Path("/")), token, time_limit_s)


def refusal(address: str, token: str = "", time_limit_s: float = 5.0) -> CannotDo:
    with pytest.raises(CannotDo) as refused:
        client(address, token, time_limit_s).status()
    return refused.value


def test_the_document_is_returned() -> None:
    with Admin(lambda _: (200, {"pid": 7})) as admin:
        assert client(admin.address).status() == {"pid": 7}


def test_a_unix_socket_is_asked_in_the_same_way(tmp_path: Path) -> None:
    with Admin(lambda _: (200, {"pid": 7}), path=str(tmp_path / "s")) as admin:
        assert client(admin.address).status() == {"pid": 7}


@pytest.mark.parametrize("everywhere", ["", "0.0.0.0"])
def test_an_admin_on_every_address_is_asked_on_loopback(everywhere: str) -> None:
    with Admin(lambda _: (200, {"pid": 7})) as admin:
        assert client(admin.address.replace("127.0.0.1", everywhere)).status() == {"pid": 7}


def test_the_token_is_sent() -> None:
    with Admin(lambda fields: (200, {"said": fields.get("Authorization")})) as admin:
        assert client(admin.address, "s3cret").status() == {"said": "Bearer s3cret"}


@pytest.mark.parametrize(("token", "expected"), [("", "wants an admin-token"), ("x", "does not know this admin-token")])
def test_a_wrong_token_is_told(token: str, expected: str) -> None:
    with Admin(lambda _: (401, b"no")) as admin:
        error = refusal(admin.address, token)
        assert isinstance(error, Refuses)
        assert str(error) == f"the admin at {admin.address} {expected}"


def test_nobody_at_the_address_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert str(refusal(f"127.0.0.1:{port}")) == f"nobody answers at 127.0.0.1:{port} (admin): Connection refused"
    assert str(refusal(f"unix:{tmp_path}/s")) == f"nobody answers at unix:{tmp_path}/s (admin): No such file or directory"


@pytest.mark.parametrize(("status", "page"), [(200, b"<html>"), (200, b"[]"), (404, b"{}"), (200, b"\xff"), (500, {"pid": 1})])
def test_somebody_else_at_the_address_is_told(status: int, page: Any) -> None:
    with Admin(lambda _: (status, page)) as admin:
        assert str(refusal(admin.address)) == f"what answers at {admin.address} is no admin of greenproxy (status {status})"


def test_who_does_not_answer_is_not_waited_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        error = refusal(address, time_limit_s=0.05)
        assert isinstance(error, Silent)
        assert str(error) == f"the admin at {address} did not answer within 0.05 s"


def test_who_has_a_full_queue_does_not_answer_either(tmp_path: Path) -> None:
    with (
        socket.socket(socket.AF_UNIX) as silent,
        socket.socket(socket.AF_UNIX) as first,
        socket.socket(socket.AF_UNIX) as second,
    ):
        silent.bind(str(tmp_path / "s"))
        silent.listen(0)
        first.connect(str(tmp_path / "s"))
        second.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            second.connect(str(tmp_path / "s"))
        assert isinstance(refusal(f"unix:{tmp_path}/s", time_limit_s=0.05), Silent)


def test_an_answer_that_is_not_http_is_told() -> None:
    with ScriptedBackend([expect_request, send(b"220 mail.example.com ESMTP\r\n"), close]) as backend:
        assert "cannot be asked: BadStatusLine" in str(refusal(f"127.0.0.1:{backend.port}"))


def test_a_worker_that_leaves_in_the_middle_is_told_so_that_another_can_be_asked() -> None:
    with ScriptedBackend([expect_request, close]) as backend:
        assert isinstance(refusal(f"127.0.0.1:{backend.port}"), Unheard)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_a_socket_of_somebody_else_is_told(tmp_path: Path) -> None:
    with Admin(lambda _: (200, {}), path=str(tmp_path / "s")) as admin:
        os.chmod(tmp_path / "s", 0o600)
        os.seteuid(65534)
        try:
            assert "no permission to connect" in str(refusal(admin.address))
        finally:
            os.seteuid(0)
