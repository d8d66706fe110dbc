"""A case in which workers are killed while the configuration changes: the new ones, the old ones, and those on trial."""

from __future__ import annotations

import random
import socket
import threading
import time

from tests.processes import Proxy, wait_until
from tests.soak.changes import BASE, FULL, Reloads
from tests.soak.kills import Kill, kill, unexplained
from tests.soak.load import RunningLoad
from tests.soak.single import is_closed
from tests.soak.stage import Stage, told

_BETWEEN_KILLS_S, _BETWEEN_HUPS_S = 0.7, 1.2


class Killer:
    """Kills one of a proxy's workers again and again, from when the block is entered to its end."""

    def __init__(self, proxy: Proxy) -> None:
        self.kills: list[Kill] = []
        self._proxy = proxy
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_over.wait(_BETWEEN_KILLS_S):
            if workers := self._proxy.workers():
                self.kills.append(kill(random.choice(workers)))


def chaos(stage: Stage) -> None:
    """HUP without waiting for what comes of it, good and evil, while workers of all generations are killed."""
    with stage.proxy(workers=str(BASE.workers)) as (site, proxy, ports), socket.create_server(("127.0.0.1", 0)) as taken:
        reloads = Reloads(stage, site, proxy, taken.getsockname()[1])
        with RunningLoad(stage.folder / "load", [("127.0.0.1", site.port)], stage.mix, routes=["stamped"]) as load:
            load.wait_until_answered(100)
            with Killer(proxy) as killer:
                end_s = time.monotonic() + stage.seconds
                while time.monotonic() < end_s:
                    for step in FULL:
                        reloads.begin(step)
                        time.sleep(_BETWEEN_HUPS_S)
            reloads.begin(BASE)
            wait_until(lambda: not reloads.is_running(), "the last reload has ended", 30.0)
            reloads.wait_until_settled()
            report = stage.keep(load.finish())
        strays = unexplained(report, killer.kills, ports)
        stage.check("failures that no killed worker explains", not strays, told(strays) or f"0 of {report.failure_count}")
        kills = len(killer.kills)
        stage.check("requests answered", report.requests > 100, f"{report.requests}; {reloads.hups} HUPs, {kills} kills")
        left = [port for port in site.extra_ports if not is_closed(port)]
        stage.check("doors that are closed in the end", not left, left or "all")
        stage.check("longest time without any answer", report.longest_silence_s < 3.0, f"{report.longest_silence_s:.2f} s")
        stage.check("no traceback in the log", "Traceback" not in proxy.log())
        stage.check_exit(proxy)
