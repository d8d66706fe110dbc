"""gunicorn's own settings and hooks, with our workers."""

from __future__ import annotations

import http.client
import os
import pwd
import shutil
import signal
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import pytest

from tests.frontdoor.edge import MODULE, get
from tests.frontdoor.guests import INI, Gunicorn
from tests.processes import children_of, is_running, wait_until

HOOKS = """
from pathlib import Path

def told(name):
    with open(Path(__file__).parent / "hooks.log", "a") as log:
        log.write(name + "\\n")

def on_starting(server): told("on_starting")
def on_reload(server): told("on_reload")
def when_ready(server): told("when_ready")
def pre_fork(server, worker): told("pre_fork")
def post_fork(server, worker): told("post_fork")
def post_worker_init(worker): told(f"post_worker_init {worker.pid}")
def worker_int(worker): told(f"worker_int {worker.pid}")
def worker_abort(worker): told(f"worker_abort {worker.pid}")
def child_exit(server, worker): told(f"child_exit {worker.pid}")
def worker_exit(server, worker): told(f"worker_exit {worker.pid}")
def nworkers_changed(server, new, old): told(f"nworkers_changed {old} {new}")
def on_exit(server): told("on_exit")
def pre_request(worker, req): told("pre_request")
"""


def hooks(gunicorn: Gunicorn) -> list[str]:
    """Return the hooks that were called, in their order."""
    return (gunicorn.folder / "hooks.log").read_text().splitlines()


def wait_for_hook(gunicorn: Gunicorn, line: str) -> None:
    wait_until(lambda: line in hooks(gunicorn), f"{line} among {hooks(gunicorn)}")


def test_hooks_are_called_at_their_moments(tmp_path: Path) -> None:
    gunicorn = Gunicorn(tmp_path, "--timeout", "1")
    gunicorn.configure(HOOKS)
    with gunicorn:
        wait_until(lambda: len([line for line in hooks(gunicorn) if "post_worker_init" in line]) == 2, "both serve")
        first, second = gunicorn.workers()
        start = ["nworkers_changed None 2", "on_starting", "when_ready", "pre_fork"]
        assert hooks(gunicorn)[:4] == start
        os.kill(first, signal.SIGINT)
        wait_for_hook(gunicorn, f"child_exit {first}")
        assert hooks(gunicorn).index(f"worker_int {first}") < hooks(gunicorn).index(f"worker_exit {first}")
        gunicorn.renewed([first])
        before = gunicorn.workers()
        gunicorn.send(signal.SIGHUP)
        wait_for_hook(gunicorn, "on_reload")
        gunicorn.renewed(before)
        blocked = http.client.HTTPConnection("127.0.0.1", gunicorn.port())
        blocked.request("GET", "/block")
        wait_until(lambda: any("worker_abort" in line for line in hooks(gunicorn)), "a worker is ended")
        blocked.close()
        (aborted,) = [line.split()[1] for line in hooks(gunicorn) if "worker_abort" in line]
        wait_for_hook(gunicorn, f"child_exit {aborted}")
        assert f"worker_exit {aborted}" in hooks(gunicorn)
        gunicorn.stop()
    assert hooks(gunicorn)[-1] == "on_exit"
    assert f"worker_int {second}" not in hooks(gunicorn)
    assert "pre_request" not in hooks(gunicorn)
    assert re_warning(gunicorn) == ["pre_request"]


def re_warning(gunicorn: Gunicorn) -> list[str]:
    """Return what the one warning names, that is about settings of gunicorn that mean nothing; the same after each reload."""
    told = {line.split("): ")[1] for line in gunicorn.log().splitlines() if "mean nothing to greenproxy" in line}
    (names,) = told
    return names.split(", ")


def test_settings_of_gunicorn_beat_the_file_and_say_so(tmp_path: Path) -> None:
    gunicorn = Gunicorn(tmp_path, "--limit-request-line", "300", "--threads", "2", "--umask", "0o077")
    gunicorn.configure(
        "keepalive = 7\ntimeout = 20\nforwarded_allow_ips = '*'\nlimit_request_fields = 12\n"
        "wsgi_app = 'ignored.ini'\npreload_app = True\npidfile = 'gunicorn.pid'\nraw_env = ['GREENPROXY_SERVER_HEADER=mine']\n"
        "from greenproxy.worker import ProxyWorker\nworker_class = ProxyWorker\naccesslog = 'access.log'\nbacklog = 77\n"
    )
    gunicorn.write(INI.replace("bind = 127.0.0.1:1\n", "bind = 127.0.0.1:1\nidle-timeout = 5s\ntrusted-proxies = 10.0.0.0/8\n"))
    with gunicorn:
        for line in (
            "gunicorn's keepalive (7) beats idle-timeout = 5 of [listener:web] in greenproxy.ini",
            "gunicorn's forwarded_allow_ips (0.0.0.0/0, ::/0) beats trusted-proxies = 10.0.0.0/8 of [listener:web]",
            "gunicorn's accesslog (access.log) beats access-log = off in greenproxy.ini",
        ):
            assert line in gunicorn.log()
        assert re_warning(gunicorn) == ["threads"]
        assert (tmp_path / "gunicorn.pid").read_text().strip() == str(gunicorn.pid)
        assert stat.S_IMODE((tmp_path / "second.sock").stat().st_mode) == 0o700
        connection = http.client.HTTPConnection("127.0.0.1", gunicorn.port())
        connection.request("GET", "/" + "x" * 400)
        assert connection.getresponse().status == 414
        connection.close()
        wait_until(lambda: " 414 " in (tmp_path / "access.log").read_text(), "the access log has the line")
        (tmp_path / "access.log").rename(tmp_path / "access.log.1")
        gunicorn.send(signal.SIGUSR1)
        wait_until(lambda: get(gunicorn.port()) and "GET / " in _read(tmp_path / "access.log"), "the access log goes on there")
        assert gunicorn.stop() == 0
    assert not (tmp_path / "gunicorn.pid").exists()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """Yield a folder that everybody may enter."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can run workers as somebody else")
def test_user_folder_and_paths_of_gunicorn_hold_for_workers_and_sockets(open_folder: Path) -> None:
    (open_folder / "inner").mkdir()
    (open_folder / "lib").mkdir()
    gunicorn = Gunicorn(open_folder, "-c", str(open_folder / "gunicorn.conf.py"), app="../greenproxy.ini")
    (open_folder / "edge.py").rename(open_folder / "lib" / "edge.py")
    gunicorn.configure("chdir = 'inner'\npythonpath = '../lib'\nuser = 'nobody'\nworker_tmp_dir = '/dev/shm'\n")
    with gunicorn:
        assert get(gunicorn.second_port()) in gunicorn.workers()
        nobody = pwd.getpwnam("nobody")
        status = Path(f"/proc/{get(gunicorn.port())}/status").read_text()
        assert f"Uid:\t{nobody.pw_uid}\t" in status
        (groups,) = [line.split()[1:] for line in status.splitlines() if line.startswith("Groups:")]
        assert sorted(map(int, groups)) == sorted(os.getgrouplist("nobody", os.getegid()))
        assert (open_folder / "second.sock").stat().st_uid == nobody.pw_uid
        assert gunicorn.stop() == 0


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("certfile = __file__", "gunicorn.conf.py has no certificate in PEM"),
        ("proxy_protocol = 'auto'", "gunicorn's proxy_protocol: the PROXY protocol is not available in this version"),
    ],
)
def test_what_must_not_be_passed_over_is_refused(tmp_path: Path, setting: str, line: str) -> None:
    gunicorn = Gunicorn(tmp_path)
    gunicorn.configure(setting)
    gunicorn.start()
    assert gunicorn.wait() == 2
    assert line in gunicorn.log()
    assert "Traceback" not in gunicorn.log()


def test_reload_of_gunicorn_watches_our_file_and_user_code(tmp_path: Path) -> None:
    file, code = tmp_path / "greenproxy.ini", tmp_path / "edge.py"
    with Gunicorn(tmp_path, "--reload") as gunicorn:
        assert get(gunicorn.port())
        gunicorn.write("[listner]\n")
        change_until(file, lambda: "configuration is refused, the previous one stays" in gunicorn.log())
        assert get(gunicorn.port())
        gunicorn.write(INI + "\n[listener:third]\nbind = 127.0.0.1:0\nmiddleware = edge\n")
        change_until(file, lambda: "(third)" in gunicorn.log())
        third = int(gunicorn.wait_for_log(r"listening on http://127\.0\.0\.1:(\d+) \(third\)")[1])
        code.write_text("1 +")
        change_until(code, lambda: "cannot start: LoadError" in gunicorn.log())
        code.write_text(MODULE.replace('b"%d" % os', 'b"%d" % -os'))
        change_until(code, lambda: get(third) < 0)
        assert gunicorn.stop() == 0


def change_until(path: Path, condition: Callable[[], bool]) -> None:
    """Let a reloader see that a file has changed; again after a while, for those that had not looked at it before."""
    for again in range(8):
        seen_s = path.stat().st_mtime + 10 + again
        os.utime(path, (seen_s, seen_s))
        end_s = monotonic() + 2.5
        while monotonic() < end_s:
            if condition():
                return
    raise AssertionError(f"nobody has seen that {path} changed")


def test_daemon_stops_its_workers_on_winch_and_starts_them_on_hup(tmp_path: Path) -> None:
    gunicorn = Gunicorn(tmp_path, "--daemon", "--pid", "gunicorn.pid", "--error-logfile", "errors.log")
    gunicorn.start()
    assert gunicorn.wait() == 0
    master = int(wait_until(lambda: _read(tmp_path / "gunicorn.pid"), "the pid file"))
    try:
        log = tmp_path / "errors.log"
        wait_until(lambda: "(second)" in _read(log), "it listens")
        wait_until(lambda: len(children_of(master)) == 2, "two workers")
        os.kill(master, signal.SIGWINCH)
        wait_until(lambda: not children_of(master), "no workers")
        os.kill(master, signal.SIGHUP)
        wait_until(lambda: len(children_of(master)) == 2, "two workers again")
        os.kill(master, signal.SIGTERM)
        wait_until(lambda: not is_running(master), "the master is gone")
    finally:
        if is_running(master):
            os.killpg(os.getpgid(master), signal.SIGKILL)


def _read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


def test_statsd_of_gunicorn_is_ours_too(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(20)
        address = f"127.0.0.1:{server.getsockname()[1]}"
        flags = ("--statsd-host", address, "--statsd-prefix", "shop", "--dogstatsd-tags", "env:prod,canary")
        with Gunicorn(tmp_path, *flags) as gunicorn:
            get(gunicorn.port())
            seen: set[str] = set()
            while not {"shop.requests", "shop.gunicorn.workers"} <= {line.split(":")[0] for line in seen}:
                seen |= set(server.recv(65536).decode().splitlines())
            assert all(line.endswith("|#env:prod,canary") for line in seen)
            assert gunicorn.stop() == 0
