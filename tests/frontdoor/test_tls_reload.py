"""Certificates and masters: what a check says of them, and how new ones come into force without a failed request."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.authorities import Authority, Pair, openssl
from tests.client import RawClient, get
from tests.frontdoor.guests import BREATH_S, Gunicorn
from tests.processes import ROOT, Proxy, is_running, wait_until
from tests.tls_client import SecureClient, client_context

INI = """
[greenproxy]
workers = 2
access-log = off

[listener:web]
bind = 127.0.0.1:0
tls-certificate = web.pem
tls-key = web.key

[route:everything]
path = /
status = 404
"""


class Site:
    """A folder with a configuration and a pair that can be replaced."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority(folder)
        self.pair = self.authority.issue("localhost")
        self.install(self.pair)

    def install(self, pair: Pair) -> None:
        """Put a pair where the configuration names it, as certificate clients do: key first, each in one step."""
        for source, name in ((pair.key, "web.key"), (pair.certificate, "web.pem")):
            shutil.copy(source, self.folder / "new")
            (self.folder / "new").chmod(0o600)
            os.replace(self.folder / "new", self.folder / name)

    def serial(self, port: int) -> str:
        """Return the serial number of the certificate that is served."""
        with SecureClient(("127.0.0.1", port), client_context(str(self.authority.file))) as client:
            assert client.ask(get("/")).status == 404
            return client.serial

    def renew(self) -> Pair:
        """Install a new pair, which is returned."""
        self.pair = self.authority.issue("localhost")
        self.install(self.pair)
        return self.pair

    def check(self, ini: str = INI) -> tuple[int, list[str]]:
        """Return what --check says of a configuration: its status and its lines, without the folder."""
        (self.folder / "greenproxy.ini").write_text(ini.lstrip("\n"))
        command = [sys.executable, "-m", "greenproxy", "-c", "greenproxy.ini", "--check"]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=self.folder, env=environ, capture_output=True, text=True, timeout=30)
        lines = (done.stdout + done.stderr).replace(f"{self.folder}/", "").splitlines()
        return done.returncode, lines


def serial_of(pair: Pair) -> str:
    return openssl("x509", "-noout", "-serial", "-in", pair.certificate).strip().removeprefix("serial=")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@contextmanager
def load(site: Site, port: int) -> Iterator[list[str]]:
    """Ask on new and on kept connections meanwhile; yields the list of what failed."""
    failures: list[str] = []
    end = threading.Event()

    def ask(*, keeps: bool) -> None:
        context = client_context(str(site.authority.file))
        while not end.wait(BREATH_S):
            try:
                with SecureClient(("127.0.0.1", port), context) as client:
                    for _ in range(50 if keeps else 1):
                        answer = client.ask(get("/"))
                        if answer.status != 404:
                            failures.append(str(answer.status))
                        if answer.says_close or end.is_set():
                            break
            except Exception as error:
                failures.append(repr(error))

    threads = [threading.Thread(target=ask, kwargs={"keeps": keeps}) for keeps in (True, False)]
    for thread in threads:
        thread.start()
    try:
        yield failures
    finally:
        end.set()
        for thread in threads:
            thread.join()


# ------------------------------------------------------------------ new certificates


def test_hup_brings_new_certificates_without_a_failed_request(site: Site) -> None:
    with Proxy(INI, site.folder) as proxy:
        port = proxy.port()
        with load(site, port) as failures:
            for count in (1, 2):
                wanted = serial_of(site.renew())
                proxy.send(signal.SIGHUP)
                wait_until(lambda count=count: proxy.log().count("info: reloaded:") >= count, "the reload")  # type: ignore[misc]
                # Old workers hear of it in this moment, and may have accepted somebody in the one before.
                wait_until(lambda wanted=wanted: site.serial(port) == wanted, "the new certificate", 2.0)  # type: ignore[misc]
        assert failures == []
        assert proxy.stop() == 0


def test_changed_files_are_noticed_without_a_failed_request(site: Site) -> None:
    with Proxy(INI, site.folder) as proxy:
        port = proxy.port()
        with load(site, port) as failures:
            wanted = serial_of(site.renew())
            wait_until(lambda: site.serial(port) == wanted, "the new certificate")
        assert failures == []
        assert proxy.log().count("the certificates have changed: reloading") == 1
        assert proxy.stop() == 0


def test_broken_new_files_keep_the_old_ones_and_are_told_of_once_and_in_the_status(site: Site) -> None:
    with Proxy(INI.replace("workers = 2", "workers = 2\nadmin = unix:admin.sock"), site.folder) as proxy:
        port, served = proxy.port(), serial_of(site.pair)
        shutil.copy(site.authority.issue("localhost").key, site.folder / "web.key")
        told = "the certificates have changed and cannot be used, those of before stay: [listener:web] the key in"
        proxy.wait_for_log(re.escape(told))
        with RawClient(str(site.folder / "admin.sock")) as client:
            reload = client.ask(get("/api/status")).json()["reload"]
        assert (reload["number"], reload["state"], told in reload["message"]) == (1, "refused", True)
        assert f"does not belong to the certificate in {site.folder}/web.pem" in proxy.log()
        assert site.serial(port) == served
        wanted = serial_of(site.renew())
        wait_until(lambda: site.serial(port) == wanted, "the new certificate")
        assert (proxy.log().count(told), proxy.log().count(" error: ")) == (1, 1)
        assert proxy.stop() == 0


def test_renewal_that_a_mistake_in_the_configuration_kept_out_comes_with_its_mending(site: Site) -> None:
    with Proxy(INI, site.folder) as proxy:
        good = proxy.file.read_text()
        proxy.file.write_text(good + "colour = red\n")
        wanted = serial_of(site.renew())
        proxy.wait_for_log("reload refused: the previous configuration stays")
        proxy.file.write_text(good)
        wait_until(lambda: site.serial(proxy.port()) == wanted, "the new certificate")
        assert proxy.stop() == 0


def test_hup_with_a_broken_pair_is_refused_with_the_line(site: Site) -> None:
    with Proxy(INI, site.folder) as proxy:
        (site.folder / "web.pem").write_text("nonsense")
        proxy.send(signal.SIGHUP)
        proxy.wait_for_log("reload refused: the previous configuration stays")
        assert f"{proxy.file}:8: [listener:web] tls-certificate: {site.folder}/web.pem has no certificate in PEM" in proxy.log()
        assert site.serial(proxy.port()) == serial_of(site.pair)
        assert proxy.stop() == 0


def test_another_program_takes_over_without_a_failed_request(site: Site) -> None:
    with Proxy(INI.replace("access-log = off", "access-log = off\npid-file = proxy.pid"), site.folder) as proxy:
        port = proxy.port()
        with load(site, port) as failures:
            wanted = serial_of(site.renew())
            proxy.send(signal.SIGUSR2)
            successor = int(proxy.wait_for_log(r"the new program starts \(pid (\d+)\)")[1])
            proxy.wait_for_log("the new program is ready")
            assert proxy.stop() == 0
            proxy.wait_for_log(rf"goes on alone \(pid {successor}\)")
            assert site.serial(port) == wanted
        assert failures == []
        os.kill(successor, signal.SIGTERM)
        wait_until(lambda: not is_running(successor), "the successor has stopped")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run workers as somebody else")
def test_keys_are_read_by_the_master_alone(site: Site) -> None:
    (site.folder / "web.key").chmod(0o600)
    ini = INI.replace("workers = 2", "workers = 1\nuser = nobody\nmax-requests = 1")
    with Proxy(ini, site.folder) as proxy:
        assert site.serial(proxy.port()) == serial_of(site.pair)
        wait_until(lambda: "is replaced" in proxy.log(), "another worker")
        assert site.serial(proxy.port()) == serial_of(site.pair)
        wanted = serial_of(site.renew())
        assert (site.folder / "web.key").stat().st_mode & 0o077 == 0
        wait_until(lambda: site.serial(proxy.port()) == wanted, "the new certificate")
        assert proxy.stop() == 0


# ------------------------------------------------------------------ the check


def test_good_pair_is_ok(site: Site) -> None:
    assert site.check() == (0, ["greenproxy.ini: ok"])


@pytest.mark.parametrize(
    ("start", "end", "complaint"),
    [
        ("", "20210101000000Z", "has expired on 2021-01-01 00:00 UTC"),
        ("20900101000000Z", "", "is not valid before 2090-01-01 00:00 UTC"),
    ],
)
def test_dates_fail_the_check_and_only_warn_at_a_start(site: Site, start: str, end: str, complaint: str) -> None:
    site.install(site.authority.issue("localhost", start=start, end=end))
    line = f"greenproxy.ini:7: [listener:web] tls-certificate: web.pem {complaint}"
    assert site.check() == (2, [line])
    with Proxy(INI, site.folder) as proxy:
        assert f"[listener:web] tls-certificate: {site.folder}/web.pem {complaint}" in proxy.log()
        with SecureClient(("127.0.0.1", proxy.port())) as client:
            assert client.ask(get("/")).status == 404
        assert proxy.stop() == 0


def test_what_cannot_be_used_is_told_with_its_line(site: Site) -> None:
    other = site.authority.issue("other.example.com")
    shutil.copy(other.key, site.folder / "other.key")
    openssl("pkey", "-in", other.key, "-aes256", "-passout", "pass:secret", "-out", site.folder / "locked.key")
    openssl("ec", "-in", other.key, "-aes256", "-passout", "pass:secret", "-out", site.folder / "old.key")
    shutil.copy(other.certificate, site.folder / "other.pem")
    (site.folder / "torn.pem").write_text((site.folder / "other.pem").read_text()[:300] + "\n-----END CERTIFICATE-----\n")
    expected = {
        ("missing.pem", "web.key"): "7: [listener:web] tls-certificate: cannot read missing.pem: no such file or directory",
        ("web.pem", "missing.key"): "8: [listener:web] tls-key: cannot read missing.key: no such file or directory",
        ("web.pem", "other.key"): "8: [listener:web] tls-key: the key in other.key does not belong to the certificate",
        ("web.pem", "web.pem"): "8: [listener:web] tls-key: web.pem has no private key in PEM",
        ("web.key", "web.key"): "7: [listener:web] tls-certificate: web.key has no certificate in PEM",
        ("other.pem", "locked.key"): "8: [listener:web] tls-key: locked.key needs a password",
        ("other.pem", "old.key"): "8: [listener:web] tls-key: old.key needs a password",
        ("torn.pem", "other.key"): "7: [listener:web] tls-certificate: torn.pem and its key cannot be used",
    }
    for (certificate, key), line in expected.items():
        status, told = site.check(INI.replace("= web.pem", f"= {certificate}").replace("= web.key", f"= {key}"))
        assert (status, len(told)) == (2, 1)
        assert told[0].startswith(f"greenproxy.ini:{line}")


def test_certificate_without_its_key_is_told(site: Site) -> None:
    status, told = site.check(INI.replace("tls-key = web.key\n", ""))
    line = "greenproxy.ini:7: [listener:web] tls-certificate: web.pem has no private key, and tls-key names none"
    assert (status, told) == (2, [line])


# ------------------------------------------------------------------ under gunicorn


def test_gunicorn_serves_tls_with_the_keys_of_the_file_and_its_own(tmp_path: Path) -> None:
    site = Site(tmp_path)
    gunicorn = Gunicorn(tmp_path, "--certfile", str(site.pair.certificate), "--keyfile", str(site.pair.key))
    file, last = tmp_path / "greenproxy.ini", "    unix:second.sock\n"
    file.write_text(file.read_text().replace(last, f"{last}tls-certificate = web.pem\ntls-key = web.key\n"))
    with gunicorn:
        ports = [gunicorn.port(), gunicorn.second_port()]
        context = client_context(str(site.authority.file))
        for port in ports:
            with SecureClient(("127.0.0.1", port), context) as client:
                assert client.ask(get("/")).status
                assert client.serial == serial_of(site.pair)
        wanted = serial_of(site.renew())
        gunicorn.send(signal.SIGHUP)

        def is_renewed() -> bool:
            with SecureClient(("127.0.0.1", ports[1]), context) as client:
                return client.serial == wanted

        wait_until(is_renewed, "the new certificate")
        assert gunicorn.stop() == 0
