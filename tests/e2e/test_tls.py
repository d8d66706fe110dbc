"""TLS termination with real clients: certificates by name, versions, resumption, client certificates, ends, and abuse."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.authorities import Authority, openssl
from tests.client import Cut, RawClient, get, post
from tests.e2e.programs import needs
from tests.e2e.test_upgrade import AGREE, ASK, say_it_back
from tests.processes import wait_until
from tests.running import RunningProxy
from tests.scripted import ScriptedBackend
from tests.scripts import Connection, answer, expect_head, expect_request, hang, send
from tests.tls_client import SecureClient, TlsPeer, client_context

INI = """
[greenproxy]
workers = 2
log-level = debug

[listener:web]
bind = 127.0.0.1:0
tls-certificate =
    first.pem
    second.pem
    wild.pem
tls-key =
    first.key
    second.key
    wild.key

[listener:plain]
bind = 127.0.0.1:0

[listener:hasty]
bind = 127.0.0.1:0
tls-certificate = both.pem
header-timeout = 300ms
idle-timeout = 400ms

[listener:counted]
bind = 127.0.0.1:0
tls-certificate = both.pem

[listener:strict]
bind = 127.0.0.1:0
tls-certificate = both.pem
tls-client-ca = people.pem

[listener:lenient]
bind = 127.0.0.1:0
tls-certificate = both.pem
tls-client-ca = people.pem
tls-client = optional
trusted-proxies = 127.0.0.1

[listener:trusting]
bind = 127.0.0.1:0
tls-certificate = both.pem
trusted-proxies = 127.0.0.1

[upstream:shop]
backends = {backend} name=blue
health-interval = 0
max-fails = 0
response-timeout = 5s
"""
VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


class SecureHouse:
    """The shared proxy of this module, its backend, and the authorities that clients believe in."""

    def __init__(self, proxy: RunningProxy, backend: ScriptedBackend, servers: Authority, people: Authority) -> None:
        self.proxy, self.backend, self.servers, self.people = proxy, backend, servers, people

    def address(self, listener: str = "web") -> tuple[str, int]:
        return "127.0.0.1", self.proxy.port(listener)

    def client(self, listener: str = "web", **given: Any) -> SecureClient:
        return SecureClient(self.address(listener), **given)

    def named(self, name: str) -> list[str]:
        """Return the names of the certificate that somebody gets who asks for `name`."""
        context = client_context(str(self.servers.file))
        context.check_hostname = False
        with self.client(context=context, name=name) as client:
            return client.names


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecureHouse]:
    folder = tmp_path_factory.mktemp("tls")
    servers, people = Authority(folder), Authority(folder, "people")
    for stem, names in {
        "first": ("first.example.com", "localhost"),
        "second": ("second.example.com",),
        "wild": ("*.wild.example.com", "second.example.com"),
    }.items():
        pair = servers.issue(*names)
        shutil.copy(pair.certificate, folder / f"{stem}.pem")
        shutil.copy(pair.key, folder / f"{stem}.key")
    (folder / "both.pem").write_text((folder / "first.pem").read_text() + (folder / "first.key").read_text())
    shutil.copy(people.file, folder / "people.pem")
    with ScriptedBackend() as backend, RunningProxy(folder, INI.format(backend=backend.url)) as proxy:
        yield SecureHouse(proxy, backend, servers, people)


@pytest.fixture
def house(shared: SecureHouse) -> Iterator[SecureHouse]:
    shared.backend.begin_again()
    yield shared
    shared.backend.begin_again()


# ------------------------------------------------------------------ what is spoken


@pytest.mark.parametrize("version", VERSIONS)
def test_both_versions_are_served(house: SecureHouse, version: ssl.TLSVersion) -> None:
    with house.client(context=client_context(version=version)) as client:
        assert client.ask(get("/")).status == 200
        assert client.ask(get("/again")).status == 200


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_older_versions_are_not(house: SecureHouse) -> None:
    with pytest.raises(ssl.SSLError, match=r"(?i)version"):
        house.client(context=client_context(version=ssl.TLSVersion.TLSv1_1, ciphers="ALL:@SECLEVEL=0"))


def test_ciphers_without_forward_secrecy_are_not(house: SecureHouse) -> None:
    with pytest.raises(ssl.SSLError):
        house.client(context=client_context(version=ssl.TLSVersion.TLSv1_2, ciphers="AES128-SHA"))


@pytest.mark.parametrize(("asked", "expected"), [(["h2", "http/1.1"], "http/1.1"), (["h2"], None), ([], None)])
def test_http11_is_agreed_on_where_the_client_asks(house: SecureHouse, asked: list[str], expected: str | None) -> None:
    context = client_context()
    if asked:
        context.set_alpn_protocols(asked)
    with house.client(context=context) as client:
        assert client.sock.selected_alpn_protocol() == expected
        assert client.ask(get("/")).status == 200


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("first.example.com", "first.example.com"),
        ("second.example.com", "second.example.com"),
        ("SECOND.example.com", "second.example.com"),
        ("a.wild.example.com", "*.wild.example.com"),
        ("a.b.wild.example.com", "first.example.com"),
        ("wild.example.com", "first.example.com"),
        ("nobody.example.org", "first.example.com"),
    ],
)
def test_certificate_is_chosen_by_name(house: SecureHouse, name: str, expected: str) -> None:
    assert house.named(name)[0] == expected


def test_who_asks_for_no_name_gets_the_first_certificate(house: SecureHouse) -> None:
    context = client_context(str(house.servers.file))
    context.check_hostname = False
    with house.client(context=context, name=None) as client:
        assert client.names[0] == "first.example.com"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("listener", ["web", "strict"])
def test_session_is_resumed_by_either_worker(house: SecureHouse, version: ssl.TLSVersion, listener: str) -> None:
    pair = house.people.issue(subject="/CN=alice")
    mine = (str(pair.certificate), str(pair.key)) if listener == "strict" else None
    context = client_context(version=version, pair=mine)
    session, path = None, f"/resumed/{listener}/{version.name}/"
    for number in range(24):
        with house.client(listener, context=context, session=session, name="second.example.com") as client:
            assert client.sock.session_reused == (number > 0)
            assert client.ask(get(path)).status == 200
            session = client.sock.session

    def are_logged() -> bool:
        house.proxy.send(signal.SIGUSR1)
        return len(house.proxy.entries(path)) == 24

    wait_until(are_logged, "all requests in the log")
    assert len({entry["worker"] for entry in house.proxy.entries(path)}) == 2


# ------------------------------------------------------------------ real programs


@needs("curl")
def test_curl_verifies_and_is_told_http11(house: SecureHouse) -> None:
    port = house.address()[1]
    words = ["curl", "-sS", "--cacert", str(house.servers.file), "--resolve", f"second.example.com:{port}:127.0.0.1", "-o", "-"]
    done = subprocess.run(
        [*words, "-w", "%{http_version} %{http_code}", f"https://second.example.com:{port}/curl"], capture_output=True, timeout=30
    )
    assert (done.returncode, done.stdout.split(b"}")[-1].strip()) == (0, b"1.1 200"), done


def test_httpx_keeps_its_connection(house: SecureHouse) -> None:
    with httpx.Client(verify=client_context(str(house.servers.file)), trust_env=False) as client:
        for _ in range(3):
            assert client.get(f"https://localhost:{house.address()[1]}/httpx").status_code == 200


@pytest.mark.parametrize(("version", "letter", "word"), [("-tls1_3", "K", b"KEYUPDATE"), ("-tls1_2", "R", b"RENEGOTIATING")])
def test_key_update_is_answered_and_renegotiation_refused(house: SecureHouse, version: str, letter: str, word: bytes) -> None:
    command = ["openssl", "s_client", "-connect", "{}:{}".format(*house.address()), version, "-crlf"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        said = b""
        for line, awaited in ((letter, word), ("GET /after HTTP/1.1\nHost: x\nConnection: close\n", b"")):
            client.stdin.write(f"{line}\n".encode())
            client.stdin.flush()
            while awaited not in said:
                said += os.read(client.stdout.fileno(), 65536)
        said += client.stdout.read()
        client.stdin.close()
    assert (b"HTTP/1.1 200" in said) == (letter == "K"), said
    assert (b"no renegotiation" in said) == (letter == "R"), said


def test_websocket_goes_through(house: SecureHouse) -> None:
    house.backend.play([expect_head, send(AGREE), say_it_back])
    with house.client() as client:
        assert client.ask(ASK).status == 101
        for data in (b"\x00\xff", b"x" * 300_000):
            client.send(data)
            assert client.take(len(data)) == data
        client.sock.unwrap().close()


# ------------------------------------------------------------------ requests and answers


def test_backend_is_told_of_https(house: SecureHouse) -> None:
    with house.client() as client:
        client.ask(get("/told"))
    (seen,) = house.backend.requests
    assert (seen.get("x-forwarded-proto"), seen.get("x-forwarded-host")) == ("https", "shop.example.com")
    assert "proto=https" in (seen.get("forwarded") or "")


def test_pipelined_requests_are_answered_in_order(house: SecureHouse) -> None:
    with house.client() as client:
        client.send(b"".join(get(f"/pipelined/{number}") for number in range(20)))
        assert [client.answer().status for _ in range(20)] == [200] * 20
    assert [seen.target for seen in house.backend.requests] == [f"/pipelined/{number}" for number in range(20)]


def test_request_may_come_byte_by_byte(house: SecureHouse) -> None:
    with house.client() as client:
        client.send_byte_by_byte(get("/slow"))
        assert client.answer().status == 200


@pytest.mark.parametrize("size", [1, 16384, 16385, 10 * 1024 * 1024])
def test_download_arrives_whole(house: SecureHouse, size: int) -> None:
    body = bytes(range(251)) * (size // 251 + 1)
    house.backend.play([expect_request, send(answer(body[:size]))])
    with house.client() as client:
        assert client.ask(get("/download")).body == body[:size]


def test_upload_arrives_whole(house: SecureHouse) -> None:
    body = bytes(range(251)) * 20_000
    with house.client() as client:
        assert client.ask(post("/upload", body)).status == 200
        assert client.ask(get("/behind")).status == 200
    assert house.backend.requests[0].body == body


# ------------------------------------------------------------------ client certificates


def test_client_with_a_certificate_is_named_to_the_backend(house: SecureHouse) -> None:
    pair = house.people.issue(subject='/O=Example, Inc./CN=Älice "A"')
    context = client_context(pair=(str(pair.certificate), str(pair.key)))
    with house.client("strict", context=context) as client:
        client.ask(get("/named", "X-SSL-Client-S-DN: CN=root", "X_SSL_Client_Verify: SUCCESS", "x-ssl-client-extra: 1"))
    (seen,) = house.backend.requests
    assert seen.get("x-ssl-client-verify") == "SUCCESS"
    assert seen.get("x-ssl-client-s-dn") == 'CN=\\C3\\84lice \\"A\\",O=Example\\, Inc.'
    assert seen.get("x-ssl-client-i-dn") == "CN=people"
    assert len(seen.get("x-ssl-client-fingerprint") or "") == 64
    assert int(seen.get("x-ssl-client-serial") or "", 16) >= 0x1000
    assert [name for name, _ in seen.fields if "extra" in name.lower() or "_" in name] == []


def test_clients_that_ask_with_the_same_bytes_are_each_named_by_their_own_certificate(house: SecureHouse) -> None:
    pairs = [house.people.issue(subject=f"/CN={name}") for name in ("alice", "bob")]
    contexts = [client_context(pair=(str(pair.certificate), str(pair.key))) for pair in pairs]
    with (
        house.client("lenient", context=contexts[0]) as alice,
        house.client("lenient", context=contexts[1]) as bob,
        house.client("lenient") as nobody,
    ):
        for client in (alice, bob, nobody, alice, bob, nobody, bob, alice):
            assert client.ask(get("/same")).status == 200
    names = [seen.get("x-ssl-client-s-dn") for seen in house.backend.requests]
    assert names == ["CN=alice", "CN=bob", None, "CN=alice", "CN=bob", None, "CN=bob", "CN=alice"]


@pytest.mark.parametrize("version", VERSIONS)
def test_client_without_a_certificate_is_refused_where_one_is_required(house: SecureHouse, version: ssl.TLSVersion) -> None:
    with pytest.raises((ssl.SSLError, Cut)), house.client("strict", context=client_context(version=version)) as client:
        client.ask(get("/refused"))
    assert house.backend.requests == []


def test_client_without_a_certificate_is_told_of_where_one_is_required(house: SecureHouse) -> None:
    with pytest.raises((ssl.SSLError, Cut)), house.client("strict") as client:
        client.ask(get("/refused"))
    house.proxy.wait_for_log("no TLS with 127.0.0.1 on listener strict: peer did not return a certificate")


def test_certificate_of_a_stranger_is_refused(house: SecureHouse) -> None:
    pair = house.servers.issue(subject="/CN=mallory")
    context = client_context(pair=(str(pair.certificate), str(pair.key)))
    for listener in ("strict", "lenient"):
        with pytest.raises((ssl.SSLError, Cut)), house.client(listener, context=context) as client:
            client.ask(get("/stranger"))
        why = "the client's certificate was refused: unable to get local issuer certificate"
        house.proxy.wait_for_log(f"no TLS with 127.0.0.1 on listener {listener}: {why}")
    assert house.backend.requests == []


def test_client_without_a_certificate_is_served_where_it_is_optional(house: SecureHouse) -> None:
    with house.client("lenient") as client:
        client.ask(get("/nobody", "X-SSL-Client-Verify: SUCCESS", "X-SSL-Client-S-DN: CN=root"))
    (seen,) = house.backend.requests
    assert [(name, value) for name, value in seen.fields if "ssl" in name.lower()] == [("X-SSL-Client-Verify", "NONE")]


@pytest.mark.parametrize(("listener", "expected"), [("plain", []), ("web", []), ("trusting", ["SUCCESS"])])
def test_what_clients_say_of_certificates_is_dropped_unless_they_are_trusted(
    house: SecureHouse, listener: str, expected: list[str]
) -> None:
    client = RawClient(house.address("plain")) if listener == "plain" else house.client(listener)
    with client:
        client.ask(get("/forged", "X-SSL-Client-Verify: SUCCESS", "X_SSL_CLIENT_VERIFY: SUCCESS"))
    (seen,) = house.backend.requests
    assert [value for name, value in seen.fields if "verify" in name.lower()] == expected


# ------------------------------------------------------------------ ends


def test_close_is_announced(house: SecureHouse) -> None:
    with house.client() as client:
        assert client.ask(get("/", "Connection: close")).status == 200
        assert client.until_closed() == b""


def test_idle_connection_is_closed_with_a_goodbye(house: SecureHouse) -> None:
    with house.client("hasty") as client:
        client.ask(get("/"))
        assert client.until_closed() == b""


def test_half_a_head_gets_408_and_a_goodbye(house: SecureHouse) -> None:
    with house.client("hasty") as client:
        client.send(b"GET / HTTP/1.1\r\nHo")
        assert client.answer().status == 408
        assert client.until_closed() == b""


@pytest.mark.parametrize("head", [b"Content-Length: 100\r\n", b"Transfer-Encoding: chunked\r\n", b""])
def test_answer_that_is_cut_ends_without_a_goodbye(house: SecureHouse, head: bytes) -> None:
    framed = b"5\r\nhello\r\n" if b"chunked" in head else b"hello"

    def break_off(connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n" + framed)
        connection.reset()

    house.backend.play([expect_request, break_off])
    with house.client() as client:
        client.send(get("/cut"))
        with pytest.raises(Cut) as cut:
            client.answer()
        if not cut.value.was_reset:
            pytest.fail("the end was announced")


def test_client_that_leaves_in_its_upload_is_logged_as_gone(house: SecureHouse) -> None:
    house.backend.play([expect_head, hang])
    with house.client() as client:
        client.send(post("/leaves", b"x" * 100)[:-50])
        wait_until(lambda: house.backend.requests, "the head at the backend")
    assert house.proxy.entry("/leaves")["reason"] == "client-gone"


def half_closed(house: SecureHouse, request: bytes, version: ssl.TLSVersion | None = None) -> TlsPeer:
    """Return a client that has asked and ended its half with a close_notify; the connection itself stays open."""
    sock: Any = socket.create_connection(house.address(), 15.0)
    peer = TlsPeer(sock, client_context(version=version))
    peer.shake_hands()
    sock.sendall(peer.encrypt(request) + peer.goodbye())
    return peer


@pytest.mark.parametrize("version", VERSIONS)
def test_client_that_ends_its_half_is_answered(house: SecureHouse, version: ssl.TLSVersion) -> None:
    peer = half_closed(house, get("/half", "Connection: close"), version)
    with peer.sock:
        assert peer.read_all().startswith(b"HTTP/1.1 200")


def test_half_a_head_that_ends_with_a_close_notify_is_no_request(house: SecureHouse) -> None:
    peer = half_closed(house, b"GET / HT")
    with peer.sock:
        assert peer.read_all() == b""
    assert house.backend.requests == []


def test_half_a_body_that_ends_with_a_close_notify_is_a_client_that_left(house: SecureHouse) -> None:
    peer = half_closed(house, get("/half-a-body", "Content-Length: 9", method="PUT") + b"1234")
    with peer.sock:
        assert house.proxy.entry("/half-a-body")["reason"] == "client-gone"


# ------------------------------------------------------------------ abuse


def test_plain_http_gets_a_readable_400(house: SecureHouse) -> None:
    with RawClient(house.address()) as client:
        told = client.ask(get("/oops"))
    assert told.status == 400
    assert told.get("content-type") == "text/plain; charset=utf-8"
    assert b"https://" in told.body
    line = house.proxy.entry("/oops")
    assert (line["status"], line["reason"]) == (400, "bad-request")


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x00\x05hello", b"\x00" * 100, b"\x80\x2e\x01\x03\x01", b"\xff"])
def test_garbage_ends_the_connection_and_nothing_else(house: SecureHouse, garbage: bytes) -> None:
    with RawClient(house.address("hasty")) as client:
        client.send(garbage)
        try:
            client.until_closed()
        except Cut:
            pass
    with house.client() as another:
        assert another.ask(get("/")).status == 200


def test_silent_handshake_is_closed_after_header_timeout(house: SecureHouse) -> None:
    with RawClient(house.address("hasty")) as silent, RawClient(house.address("hasty")) as slow:
        slow.send(b"\x16\x03\x01")
        for client in (silent, slow):
            try:
                assert client.until_closed() == b""
            except Cut:
                pass  # bytes that nobody read


def test_handshake_that_comes_slowly_has_no_more_time(house: SecureHouse) -> None:
    with pytest.raises(ssl.SSLWantReadError):
        (peer := TlsPeer(None, client_context())).tls.do_handshake()  # type: ignore[arg-type]  # it sends nothing itself
    hello = peer._outgoing.read()
    with RawClient(house.address("hasty")) as client:
        client.sock.settimeout(0.02)
        for byte in hello:
            try:
                client.sock.sendall(bytes((byte,)))
                if not client.sock.recv(1):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        else:
            pytest.fail("it had time for all of it")


def test_waiting_handshakes_hold_no_greenlet(house: SecureHouse) -> None:
    def held() -> int:
        return sum(each["clients"]["reading"] for each in house.proxy.ledger._censuses())

    clients = [socket.create_connection(house.address()) for _ in range(50)]
    try:
        wait_until(lambda: held() == 50, "50 that greet")
        assert all(sum(each["greenlets"].values()) < 25 for each in house.proxy.ledger._censuses())
    finally:
        for client in clients:
            client.close()
    wait_until(lambda: held() == 0, "none that greets")


def test_certificates_in_force_are_told(house: SecureHouse) -> None:
    with RawClient(str(house.proxy.folder / "admin.sock")) as client:
        document = json.loads(client.ask(get("/api/status", host="localhost")).body)
    (web,) = [each["certificates"] for each in document["listeners"] if each["name"] == "web"]
    assert [Path(each["file"]).name for each in web] == ["first.pem", "second.pem", "wild.pem"]
    assert web[2]["names"] == ["*.wild.example.com", "second.example.com"]
    ends = openssl("x509", "-noout", "-enddate", "-in", house.proxy.folder / "first.pem").strip().removeprefix("notAfter=")
    assert datetime.fromisoformat(web[0]["not_after"]).timestamp() == ssl.cert_time_to_seconds(ends)


def test_handshakes_are_counted_by_how_they_end(house: SecureHouse) -> None:
    def told(listener: str = "counted") -> Any:
        with RawClient(str(house.proxy.folder / "admin.sock")) as client:
            document = json.loads(client.ask(get("/api/status", host="localhost")).body)
        (found,) = [each for each in document["listeners"] if each["name"] == listener]
        return found.get("tls")

    assert told("plain") is None
    context, session = client_context(), None
    for _ in range(3):
        with house.client("counted", context=context, session=session) as client:
            assert client.ask(get("/")).status == 200
            session = client.sock.session
    with RawClient(house.address("counted")):
        pass  # says nothing: no handshake
    with RawClient(house.address("counted")) as other:
        other.ask(get("/plain"))  # neither
    for start in (b"\x16\x03\x01", b"\x16\x03\x01\x00\x05hello"):
        with RawClient(house.address("counted")) as other:
            other.send(start)  # leaves in the middle, or says what makes no sense
    wait_until(lambda: sum(told().values()) == 7, "all of them")
    assert told() == {"handshakes": 3, "resumed": 2, "failures": 2}


def test_idle_connection_costs_no_more_than_16_kib(house: SecureHouse) -> None:
    clients: list[SecureClient] = []
    context = client_context()

    def more(count: int) -> int:
        for _ in range(count):
            clients.append(house.client(context=context))
            clients[-1].ask(get("/idle"))
        return house.proxy.memory_bytes()

    try:
        before = more(100)
        assert more(400) - before < 400 * 16 * 1024
    finally:
        for client in clients:
            client.sock.close()
