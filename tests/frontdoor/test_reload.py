"""HUP: from one configuration to the next under requests in flight, and back when the next one is no good."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
from pathlib import Path

import pytest

from tests.frontdoor.edge import BROKEN_IN_WORKERS, HANGS_IN_WORKERS, MODULE, edge, get, ini, open_gate, request_in_flight
from tests.processes import Proxy, wait_until


def reload(proxy: Proxy, text: str = "") -> None:
    """Write another configuration, if one is given, and ask for a reload."""
    if text:
        proxy.file.write_text(text)
    proxy.send(signal.SIGHUP)


def reloads(proxy: Proxy) -> int:
    """Return how many reloads have been settled."""
    return len(re.findall("reloaded: ", proxy.log()))


def wait_until_reloaded(proxy: Proxy, times: int = 1) -> None:
    """Wait for the end of a reload that succeeds."""
    wait_until(lambda: reloads(proxy) >= times, f"reloaded:\n{proxy.log()}")


def refuses(port: int) -> bool:
    """Return whether nobody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def with_bind(text: str, bind: str) -> str:
    """Return a configuration with other addresses."""
    return text.replace("bind = 127.0.0.1:0", f"bind = {bind}")


def text(path: Path) -> str:
    """Return what is in a file; nothing if there is none."""
    return path.read_text() if path.exists() else ""


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


# ------------------------------------------------------------------ what goes well


def test_new_workers_serve_and_old_ones_finish_what_they_have(tmp_path: Path) -> None:
    with edge(tmp_path) as proxy, request_in_flight(proxy, proxy.port()) as client:
        before = proxy.workers()
        reload(proxy)
        wait_until_reloaded(proxy)
        wait_until(lambda: get(proxy.port()) not in before, "a new worker answers")
        open_gate(proxy)
        assert int(client.getresponse().read()) in before
        wait_until(lambda: not set(proxy.workers()) & set(before), "the old workers are gone")
        proxy.wait_for_log("all workers from before the reload have ended")
        assert "error" not in proxy.log()


def test_the_file_is_read_again(tmp_path: Path) -> None:
    with edge(tmp_path) as proxy:
        reload(proxy, ini(workers="3"))
        wait_until_reloaded(proxy)
        wait_until(lambda: len(proxy.workers()) == 3, "three workers")
        assert "reloaded: 3 workers; " in proxy.log()


def test_user_code_is_read_again(tmp_path: Path) -> None:
    with edge(tmp_path) as proxy:
        (tmp_path / "edge.py").write_text(MODULE.replace('b"%d" % os.getpid()', 'b"4711"'))
        reload(proxy)
        wait_until_reloaded(proxy)
        wait_until(lambda: get(proxy.port()) == 4711, "the new code answers")  # an old worker may be as quick for a moment
        proxy.wait_for_log("all workers from before the reload have ended")
        assert {get(proxy.port()) for _ in range(5)} == {4711}


def test_an_address_more_is_opened_and_one_less_is_closed(tmp_path: Path) -> None:
    first, second = free_port(), free_port()
    with edge(tmp_path) as proxy:
        reload(proxy, with_bind(ini(), f"127.0.0.1:{first}, 127.0.0.1:{second}"))
        wait_until_reloaded(proxy)
        assert get(first) in proxy.workers()
        reload(proxy, with_bind(ini(), f"127.0.0.1:{second}"))
        wait_until_reloaded(proxy, 2)
        assert get(second) in proxy.workers()
        wait_until(lambda: refuses(first), "nobody listens any more")
        assert proxy.stop() == 0


def test_an_address_may_become_wider_and_narrower(tmp_path: Path) -> None:
    port = free_port()
    proxy = edge(tmp_path)
    proxy.file.write_text(with_bind(ini(), f"127.0.0.1:{port}"))
    with proxy:
        unlucky = 0
        for times, bind in enumerate([f":{port}", f"127.0.0.1:{port}"], 1):
            reload(proxy, with_bind(ini(), bind))
            while reloads(proxy) < times:
                try:
                    get(port)
                except ConnectionError:  # the old socket closes: who knocks in this very moment is unlucky
                    unlucky += 1
            assert "refused" not in proxy.log()
        wait_until(lambda: len(proxy.workers()) == 2, "the old workers are gone")
        assert get(port) in proxy.workers()
        assert unlucky <= 2


def test_an_address_that_stays_is_never_closed(tmp_path: Path) -> None:
    with edge(tmp_path) as proxy:
        port = proxy.port()
        for times in range(1, 4):
            reload(proxy, with_bind(ini(), f"127.0.0.1:0, 127.0.0.1:{free_port()}"))
            while reloads(proxy) < times:
                get(port)  # raises when it is refused
        assert proxy.log().count(f"127.0.0.1:{port} (web)") == 1


def test_a_unix_socket_keeps_its_file_and_loses_it_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    with edge(tmp_path) as proxy:
        reload(proxy, with_bind(ini(), f"127.0.0.1:0, unix:{path}"))
        wait_until_reloaded(proxy)
        inode = path.stat().st_ino
        reload(proxy)
        wait_until_reloaded(proxy, 2)
        assert path.stat().st_ino == inode
        reload(proxy, ini())
        wait_until_reloaded(proxy, 3)
        assert not path.exists()


def test_a_unix_socket_that_becomes_the_admins_gets_its_rights(tmp_path: Path) -> None:
    path = tmp_path / "web.sock"
    both = with_bind(ini(), f"127.0.0.1:0, unix:{path}")
    with edge(tmp_path) as proxy:
        for times, (text, mode) in enumerate([(both, 0o777), (ini(admin=f"unix:{path}"), 0o660), (both, 0o777)], 1):
            reload(proxy, text)
            wait_until_reloaded(proxy, times)
            assert path.stat().st_mode & 0o777 == mode


def test_pid_file_and_error_log_follow(tmp_path: Path) -> None:
    with edge(tmp_path, pid_file="first.pid") as proxy:
        assert (tmp_path / "first.pid").read_text().strip() == str(proxy.pid)
        reload(proxy, ini(pid_file="second.pid", error_log="second.log"))
        wait_until(lambda: "reloaded: " in text(tmp_path / "second.log"), "done")
        assert not (tmp_path / "first.pid").exists()
        assert (tmp_path / "second.pid").read_text().strip() == str(proxy.pid)
        assert proxy.stop() == 0
        assert not (tmp_path / "second.pid").exists()


def test_one_that_is_asked_for_meanwhile_follows(tmp_path: Path) -> None:
    with edge(tmp_path) as proxy:
        reload(proxy)
        proxy.wait_for_log("reloading")
        reload(proxy)
        proxy.wait_for_log("one more reload will follow")
        wait_until_reloaded(proxy, 2)
        proxy.send(signal.SIGUSR1)
        proxy.wait_for_log("log files are open again")
        assert len(proxy.workers()) >= 2


def test_a_new_worker_that_dies_while_old_ones_drain_is_replaced_at_once(tmp_path: Path) -> None:
    with edge(tmp_path) as proxy, request_in_flight(proxy, proxy.port()):
        before = proxy.workers()
        reload(proxy)
        wait_until_reloaded(proxy)
        fresh = [pid for pid in proxy.workers() if pid not in before]
        os.kill(fresh[0], signal.SIGKILL)
        wait_until(lambda: len(set(proxy.workers()) - set(before) - {fresh[0]}) == 2, "another one")
        assert set(proxy.workers()) & set(before), "the old one still drains"
        open_gate(proxy)


def test_old_workers_are_cut_after_reload_timeout(tmp_path: Path) -> None:
    with edge(tmp_path, reload_timeout="500ms") as proxy, request_in_flight(proxy, proxy.port()) as client:
        reload(proxy)
        assert client.getresponse().status == 503
        proxy.wait_for_log("reload-timeout is over; connections that are cut: 1")


def test_a_stop_ends_old_workers_within_graceful_timeout(tmp_path: Path) -> None:
    with edge(tmp_path, graceful_timeout="500ms") as proxy, request_in_flight(proxy, proxy.port()) as client:
        reload(proxy)
        wait_until_reloaded(proxy)
        proxy.send(signal.SIGTERM)
        assert client.getresponse().status == 503
        assert proxy.wait() == 0
        assert "graceful-timeout is over; connections that are cut: 1" in proxy.log()


# ------------------------------------------------------------------ what goes wrong


def test_a_wrong_file_is_lines_in_the_log(tmp_path: Path) -> None:
    with edge(tmp_path) as proxy:
        before = proxy.workers()
        reload(proxy, ini().replace("path = /", "path = /\nstatsu = 1"))
        proxy.wait_for_log("reload refused: the previous configuration stays")
        assert re.search(r"greenproxy\.ini:\d+: \[route:everything\] statsu: unknown key \(did you mean status\?\)", proxy.log())
        assert proxy.workers() == before
        assert get(proxy.port()) in before


def test_user_code_that_does_not_import_is_refused(tmp_path: Path) -> None:
    with edge(tmp_path) as proxy:
        before = proxy.workers()
        (tmp_path / "broken").touch()
        reload(proxy)
        proxy.wait_for_log("reload refused: the previous configuration stays")
        assert "this module is broken" in proxy.log()
        assert get(proxy.port()) in before


def test_an_address_that_is_taken_is_refused_and_nothing_stays_open(tmp_path: Path) -> None:
    first = free_port()
    with edge(tmp_path) as proxy, socket.create_server(("127.0.0.1", 0)) as taken:
        busy = taken.getsockname()[1]
        reload(proxy, with_bind(ini(), f"127.0.0.1:{first}, 127.0.0.1:{busy}"))
        proxy.wait_for_log("reload refused: the previous configuration stays")
        assert f"cannot listen on 127.0.0.1:{busy} (web): Address already in use" in proxy.log()
        assert refuses(first)
        assert get(proxy.port()) in proxy.workers()


def test_a_pid_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "other.pid").write_text(f"{os.getpid()}\n")
    with edge(tmp_path, pid_file="first.pid") as proxy:
        reload(proxy, ini(pid_file="other.pid"))
        proxy.wait_for_log("reload refused: the previous configuration stays")
        assert (tmp_path / "first.pid").read_text().strip() == str(proxy.pid)
        assert proxy.stop() == 0
    assert (tmp_path / "other.pid").exists()


def test_workers_that_cannot_boot_undo_it(tmp_path: Path) -> None:
    more = free_port()
    with edge(tmp_path) as proxy:
        before = proxy.workers()
        (tmp_path / "edge.py").write_text(BROKEN_IN_WORKERS + MODULE)
        reload(proxy, with_bind(ini(error_log="new.log"), f"127.0.0.1:0, 127.0.0.1:{more}"))
        found = proxy.wait_for_log(r"reload undone, the previous workers go on: worker \d+ (.*)")
        assert found[1].startswith("cannot start: ")
        assert "not in workers" in found[1]
        assert "not in workers" in (tmp_path / "new.log").read_text()
        wait_until(lambda: proxy.workers() == before, "the new workers are gone")
        assert refuses(more)
        (tmp_path / "edge.py").write_text(MODULE)
        reload(proxy, ini())
        wait_until_reloaded(proxy)


def test_a_log_that_cannot_be_opened_again_does_not_end_the_service(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    with edge(tmp_path) as proxy:
        reload(proxy, ini(error_log="old/error.log"))
        wait_until(lambda: "reloaded: " in text(tmp_path / "old/error.log"), "the log has moved")
        shutil.rmtree(tmp_path / "old")
        (tmp_path / "edge.py").write_text(BROKEN_IN_WORKERS + MODULE)
        reload(proxy, ini(error_log="new.log"))
        wait_until(lambda: "reload undone" in text(tmp_path / "new.log"), "undone")
        assert "the error log of before cannot be opened again, this one goes on" in (tmp_path / "new.log").read_text()
        assert get(proxy.port()) in proxy.workers()
        assert proxy.stop() == 0


def test_workers_that_hang_undo_it(tmp_path: Path) -> None:
    with edge(tmp_path, worker_timeout="1s") as proxy:
        before = proxy.workers()
        (tmp_path / "edge.py").write_text(HANGS_IN_WORKERS + MODULE)
        reload(proxy)
        proxy.wait_for_log("reload undone, the previous workers go on: ")
        wait_until(lambda: proxy.workers() == before, "the new workers are gone")
        assert 'get_original("time", "sleep")(60)' in proxy.log()  # where they hang
        assert get(proxy.port()) in before


#: Put before a module, workers hang in its import, and say so.
HANGS = (
    """
import os
from gevent.monkey import is_module_patched
from pathlib import Path
if is_module_patched("socket"):
    (Path(__file__).parent / f"hangs-{os.getpid()}").touch()
"""
    + HANGS_IN_WORKERS
)


def trying(proxy: Proxy) -> list[int]:
    """Begin a reload whose two workers hang, and return them."""
    (proxy.folder / "edge.py").write_text(HANGS + MODULE)
    reload(proxy)
    marks = wait_until(lambda: found if len(found := list(proxy.folder.glob("hangs-*"))) == 2 else None, "two that hang")
    (proxy.folder / "edge.py").write_text(MODULE)
    return [int(mark.name.removeprefix("hangs-")) for mark in marks]


def test_term_is_honoured_at_once_while_one_is_under_way(tmp_path: Path) -> None:
    with edge(tmp_path) as proxy:
        trying(proxy)
        assert proxy.stop(within_s=5) == 0


def test_old_workers_that_die_meanwhile_are_replaced(tmp_path: Path) -> None:
    with edge(tmp_path) as proxy:
        before = proxy.workers()
        new = trying(proxy)
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        assert wait_until(lambda: get(proxy.port()), "somebody answers") not in [*before, *new]


def test_new_workers_that_somebody_kills_are_started_again(tmp_path: Path) -> None:
    with edge(tmp_path) as proxy:
        new = trying(proxy)
        for pid in new:
            os.kill(pid, signal.SIGKILL)
        wait_until_reloaded(proxy)
        assert get(proxy.port()) not in new


@pytest.mark.parametrize("signum", [signal.SIGTTIN, signal.SIGTTOU])
def test_the_number_of_workers_is_that_of_the_file_again(tmp_path: Path, signum: signal.Signals) -> None:
    with edge(tmp_path) as proxy:
        proxy.send(signum)
        proxy.wait_for_log("one worker (more|less)")
        reload(proxy)
        wait_until_reloaded(proxy)
        wait_until(lambda: len(proxy.workers()) == 2, "two workers")
