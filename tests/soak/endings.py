"""Cases in which something ends: workers that are killed or blocked, a master that is killed, a stop."""

from __future__ import annotations

import http.client
import random
import re
import signal
import threading
import time

from tests.processes import Proxy, is_running, wait_until
from tests.soak.kills import Kill, kill, unexplained
from tests.soak.load import RunningLoad
from tests.soak.site import in_work, release
from tests.soak.sockets import connections_of
from tests.soak.stage import Stage, told
from tests.soak.tally import Failure, Report

_GIB = 1024**3


def kill_workers(stage: Stage) -> None:
    """A worker is killed every second; nobody else's requests notice."""
    kills = []
    with stage.proxy(workers="3") as (site, proxy, ports):
        target = [("127.0.0.1", site.port)]
        with RunningLoad(stage.folder / "load", target, stage.mix, routes=["stamped"]) as load:
            load.wait_until_answered(100)
            stage.measure("start", proxy.pid, proxy.workers())
            end_s = time.monotonic() + stage.seconds
            while time.monotonic() < end_s:
                workers = wait_until(proxy.workers, "a worker lives")
                kills.append(kill(random.choice(workers)))
                time.sleep(1.0)
            wait_until(lambda: len(proxy.workers()) == 3, "three workers again", 30.0)
            report = stage.keep(load.finish())
        stage.measure("end", proxy.pid, proxy.workers())
        strays = unexplained(report, kills, ports)
        stage.check("requests answered", report.requests > 100, report.requests)
        stage.check("failures that no killed worker explains", not strays, told(strays) or f"0 of {report.failure_count}")
        per_kill = report.failure_count / max(1, len(kills))
        stage.check("failures per killed worker", per_kill < 150 * stage.factor, f"{per_kill:.1f}, {len(kills)} kills")
        stage.check("longest time without any answer", report.longest_silence_s < 3.0, f"{report.longest_silence_s:.2f} s")
        stage.check_exit(proxy)


def kill_master(stage: Stage) -> None:
    """The master is killed; workers finish what they have, and leave."""
    with stage.proxy(workers="2") as (site, proxy, ports):
        target = [("127.0.0.1", site.port)]
        once = [{"kind": "once", "clients": 50}]
        with (
            RunningLoad(stage.folder / "load", target, stage.mix) as load,
            RunningLoad(stage.folder / "once", target, once) as slow,
        ):
            load.wait_until_answered(100)
            wait_until(lambda: in_work(ports) >= 50, "fifty requests are in flight")
            release(ports, min(2.0, stage.seconds))
            workers, killed_s = proxy.workers(), time.monotonic()
            proxy.stop(signal.SIGKILL)
            stage.check("requests in flight", not slow.result(20.0).failure_count, told(slow.report().failures) or "all complete")
            wait_until(lambda: not any(map(is_running, workers)), "the workers are gone", 30.0)
            stage.check("workers left", True, f"after {time.monotonic() - killed_s:.1f} s")
            report = stage.keep(load.finish())
        stage.keep(slow.report())
        lost = [failure for failure in report.failures if not is_shut_out(failure)]
        stage.check("requests of others that were lost", not lost, told(lost) or 0)


def is_shut_out(failure: Failure) -> bool:
    """Return whether a client found nobody there: refused, or reset in the backlog of a listener that closes."""
    return failure.what == "refused" or (not failure.worker and not failure.received and failure.what in ("reset", "end"))


def stop(stage: Stage) -> None:
    """TERM with a hundred requests in flight: all complete, exit status 0 within graceful-timeout."""
    seconds = 0.5 if stage.is_short else 2.0
    count = round(100 * stage.factor)
    with stage.proxy(graceful_timeout="10s") as (site, proxy, ports):
        once = [{"kind": "once", "clients": count}]
        with RunningLoad(stage.folder / "load", [("127.0.0.1", site.port)], once) as load:
            wait_until(lambda: in_work(ports) == count, "all requests are in flight")
            release(ports, seconds)
            stage.check_exit(proxy, within_s=10.0)
            report = load.result(20.0)
        stage.check_nothing_failed(report)
        said_close = report.tally("once").told
        stage.check("answers that said Connection: close", said_close == count, f"{said_close} of {count}")


def stop_download(stage: Stage) -> None:
    """TERM while a GiB is on its way: it goes on until graceful-timeout, then it is cut so that the client can see it."""
    graceful_s, rate = (1.5, 10_000_000) if stage.is_short else (8.0, 40_000_000)
    mix = [{"kind": "bulk", "clients": 1, "size": _GIB, "rate": rate, "chunked": chunked} for chunked in (False, True)]
    with stage.proxy(graceful_timeout=f"{graceful_s}s") as (site, proxy, ports):
        with RunningLoad(stage.folder / "load", [("127.0.0.1", site.port)], mix) as load:
            wait_until(lambda: in_work(ports) == 2, "both downloads have begun")
            term_s = time.monotonic()
            stage.check_exit(proxy, within_s=graceful_s + 2.5)
            report = stage.keep(load.result(20.0))
        stage.check("downloads that saw the cut", _were_cut(report), told(report.failures))
        for failure in report.failures:
            after_s = failure.at_s - term_s
            stage.check("cut at graceful-timeout", graceful_s - 0.5 <= after_s <= graceful_s + 2.0, f"after {after_s:.2f} s")
            stage.check("went on until then", failure.received > 0.5 * rate * after_s, f"{failure.received / 1e6:.0f} MB")


def _were_cut(report: Report) -> bool:
    cuts = [failure for failure in report.failures if failure.phase == "body" and failure.what in ("end", "reset")]
    return len(cuts) == 2 and report.failure_count == 2 and not report.requests


def blocked(stage: Stage) -> None:
    """A middleware that never lets go: its stack is in the log within 2 s, its worker is replaced, the others go on."""
    timeout_s = 3.0 if stage.is_short else 10.0
    with stage.proxy(workers="3", worker_timeout=f"{timeout_s}s") as (site, proxy, ports):
        target = [("127.0.0.1", site.port)]
        with RunningLoad(stage.folder / "load", target, stage.mix, routes=["stamped"]) as load:
            load.wait_until_answered(100)
            before = proxy.workers()
            began_s = time.monotonic()
            spin = threading.Thread(target=_ask_to_spin, args=(site.port,))
            spin.start()
            stage.check("stack in the log", _told_within(proxy, "in spin", 2.5), f"after {time.monotonic() - began_s:.1f} s")
            had, had_s = {pid: connections_of(pid) for pid in before}, time.monotonic()  # the blocked one accepts and closes none
            gone = wait_until(lambda: set(before) - set(proxy.workers()), "the worker is gone", timeout_s + 20.0)
            wait_until(lambda: len(proxy.workers()) == 3, "three workers again")
            took_s = time.monotonic() - began_s
            stage.check("worker replaced", len(gone) == 1 and took_s <= timeout_s + 1.0, f"{len(gone)} after {took_s:.1f} s")
            spin.join()
            time.sleep(max(0.0, began_s + stage.seconds - time.monotonic()))
            report = stage.keep(load.finish())
        strays = unexplained(report, [Kill(pid, had_s, had[pid]) for pid in gone], ports)
        stage.check("failures in other workers", not strays, told(strays) or f"0 of {report.failure_count}")
        silence = report.longest_silence_s
        stage.check("longest time without any answer", silence < 1.0, f"{silence:.2f} s")
        stage.check_exit(proxy)


def _ask_to_spin(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", "/spin")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        pass  # as it must be: the worker ends without an answer
    finally:
        connection.close()


def _told_within(proxy: Proxy, needle: str, seconds: float) -> bool:
    end_s = time.monotonic() + seconds
    while not re.search(needle, proxy.log()):
        if time.monotonic() > end_s:
            return False
        time.sleep(0.02)
    return True
