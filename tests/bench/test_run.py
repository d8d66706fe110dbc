"""The real program in front of real proxies, for fractions of a second."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench import tools
from bench.ground import TARGETS, TARGETS_SCRIPT
from bench.usage import family, memory_bytes, processor_s
from tests.processes import PATIENCE_S, Process, is_running, wait_until

ABSENT = tools.missing(["nginx", "wrk", "openssl"])
needs_programs = pytest.mark.skipif(bool(ABSENT), reason=f"not installed: {', '.join(ABSENT)}")

#: Two proxies, an origin and a load at once want more than a second each where others want the cores, too.
pytestmark = pytest.mark.timeout(120)


class Bench(Process):
    """`python -m bench`, with a folder for temporary files of its own."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        command = [sys.executable, "-m", "bench", "--no-install", *arguments]
        super().__init__(command, folder, {"TMPDIR": str(self.temporary)})

    def __enter__(self) -> Bench:
        self.start()
        return self


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bench, dict[str, Any]]]:
    """Measure two scenarios with greenproxy and nginx, and return the program behind its end and its figures."""
    folder = tmp_path_factory.mktemp("bench")
    figures = folder / "figures.json"
    asked = ["--scenario", "small", "--scenario", "tls", "--target", "greenproxy", "--target", "nginx"]
    with Bench(folder, *asked, "--rounds", "1", "--seconds", "0.3", "--json", str(figures)) as bench:
        assert bench.wait(100.0) == 0, bench.output() + bench.log()
        yield bench, json.loads(figures.read_text())


@needs_programs
def test_processor_time_of_both_proxies_is_measured(measured: tuple[Bench, dict[str, Any]]) -> None:
    cells = measured[1]["scenarios"]["small"]["cells"]
    assert all(1 < cells[proxy]["rounds"][0]["cpu_us"] < 100_000 for proxy in ("greenproxy", "nginx"))


@needs_programs
def test_tls_is_the_same_on_both_sides(measured: tuple[Bench, dict[str, Any]]) -> None:
    cells = measured[1]["scenarios"]["tls"]["cells"]
    assert {cells[proxy]["tls"]["version"] for proxy in ("greenproxy", "nginx")} == {"TLSv1.3"}


@needs_programs
def test_report_is_printed(measured: tuple[Bench, dict[str, Any]]) -> None:
    assert " x nginx " in measured[0].output()


@needs_programs
def test_no_file_stays_behind_a_run(measured: tuple[Bench, dict[str, Any]]) -> None:
    assert list(measured[0].temporary.iterdir()) == []


@needs_programs
def test_interrupt_ends_all_children_and_removes_all_files(tmp_path: Path) -> None:
    asked = ["--scenario", "small", "--target", "greenproxy", "--rounds", "1000"]
    with Bench(tmp_path, *asked) as bench:
        wait_until(lambda: len(family(bench.pid)) >= 5, "origin, greenproxy, and their workers")
        children = family(bench.pid)
        assert bench.stop(signal.SIGINT) == 130
    assert not [pid for pid in children if is_running(pid)]
    assert list(bench.temporary.iterdir()) == []
    shutil.rmtree(bench.temporary)


def asked_for(listener: socket.socket, count: int) -> list[str]:
    """Answer so many requests, which come one after the other, and return what they asked for."""
    asked: list[str] = []
    while len(asked) < count:
        client = listener.accept()[0]
        with client:
            client.settimeout(PATIENCE_S)
            while len(asked) < count and (head := client.recv(65536)):
                asked.append(head.split()[1].decode())
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    return asked


@needs_programs
def test_load_asks_for_all_targets_in_turn(tmp_path: Path) -> None:
    (tmp_path / "targets.lua").write_text(TARGETS_SCRIPT)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE_S)
        load = ["wrk", "-t1", "-c1", "-d60s", "-s", "targets.lua", f"http://127.0.0.1:{listener.getsockname()[1]}/"]
        with Process(load, tmp_path):
            assert sorted(asked_for(listener, len(TARGETS))) == list(TARGETS)


def test_processor_time_and_memory_of_descendants_count(tmp_path: Path) -> None:
    burn = "import time\nhold = b'x' * 20_000_000\nwhile time.process_time() < 0.2: pass\nprint(flush=True)\ntime.sleep(60)\n"
    start = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {burn!r}])\n"
    with Process([sys.executable, "-c", start], tmp_path) as process:
        wait_until(process.output, "the child to have worked")
        assert processor_s(process.pid) >= 0.2
        assert memory_bytes(process.pid) > 20_000_000
