"""Tools: the programs that a run needs, where they come from, and which versions of them have been measured."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import greenproxy
from bench.ground import program
from bench.targets import PEERS_PYTHON

#: Programs and the Debian packages that have them.
DEBIAN = {
    "nginx": "nginx-light",
    "wrk": "wrk",
    "openssl": "openssl",
    "haproxy": "haproxy",
    "caddy": "caddy",
    "h2load": "nghttp2-client",
}
#: Python peers and what pip is asked for. They have an environment of their own: mitmproxy wants another h11 than we do.
PYPI = {"aiohttp": ("aiohttp>=3.9,<4", "uvloop>=0.19,<1"), "mitmproxy": ("mitmproxy>=10",)}
#: Without these nothing can be measured: the origin, and what makes certificates.
FOUNDATION = ("nginx", "openssl")
#: Debian's packages ask this program whether they may start a service; 101 means that they may not.
POLICY = Path("/usr/sbin/policy-rc.d")
_VERSIONS = {
    "nginx": ("-v",),
    "haproxy": ("-v",),
    "caddy": ("version",),
    "wrk": ("-v",),
    "h2load": ("--version",),
    "openssl": ("version",),
}
_number = re.compile(r"\d+\.\d+[\w.]*")
Say = Callable[[str], None]


def is_there(name: str) -> bool:
    """Return whether a program, or a Python peer, is installed."""
    if name in PYPI:
        return name in _peer_versions()
    return name == "greenproxy" or os.path.isabs(program(name))


def missing(names: Iterable[str]) -> list[str]:
    """Return those that are not installed, in order and once."""
    return [name for name in dict.fromkeys(names) if not is_there(name)]


def install(names: Iterable[str], say: Say) -> None:
    """Install what is missing and can be had: Debian packages where we are root, Python peers with pip."""
    absent = missing(names)
    packages = [DEBIAN[name] for name in absent if name in DEBIAN]
    if packages and os.geteuid() == 0 and shutil.which("apt-get"):
        say(f"installing {' '.join(packages)}")
        _run(["apt-get", "update", "-qq"], say)
        options = ["-qq", "-y", "--no-install-recommends"]
        with no_service_starts():
            _run(["apt-get", "install", *options, *packages], say, DEBIAN_FRONTEND="noninteractive")
    peers = [name for name in absent if name in PYPI]
    if peers:
        say(f"installing {' and '.join(peers)} into {PEERS_PYTHON.parent.parent.name}")
        if not PEERS_PYTHON.exists():
            _run([sys.executable, "-m", "venv", str(PEERS_PYTHON.parent.parent)], say)
        wanted = [each for name in peers for each in PYPI[name]]
        _run([str(PEERS_PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted], say)


@contextlib.contextmanager
def no_service_starts() -> Iterator[None]:
    """Keep packages from starting what they install, such as an nginx on port 80. A rule that is there already stays as it is."""
    try:
        with POLICY.open("x") as file:
            file.write("#!/bin/sh\nexit 101\n")
    except OSError:
        yield
        return
    try:
        POLICY.chmod(0o755)
        yield
    finally:
        POLICY.unlink(missing_ok=True)


def python_build() -> str:
    """Return how the Python was built that greenproxy runs on: with profile-guided optimization it is up to a fifth cheaper."""
    if "--enable-optimizations" in str(sysconfig.get_config_var("CONFIG_ARGS")):
        return "built with --enable-optimizations"
    if Path(sys.base_prefix) == Path("/usr"):
        return "the distribution's own"
    return "built without --enable-optimizations"


def _run(command: list[str], say: Say, **environ: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environ}, stdin=subprocess.DEVNULL)
    except FileNotFoundError:
        say(f"{command[0]} is not there")
        return
    if done.returncode:
        words = (done.stderr or done.stdout).strip().splitlines() or ["it was silent"]
        say(f"{' '.join(command[:3])} failed: {words[-1]}")


def advice(names: Iterable[str]) -> str:
    """Return how a user installs what is missing."""
    packages = [DEBIAN[name] for name in names if name in DEBIAN]
    peers = [name for name in names if name in PYPI]
    lines = [f"on Debian: apt-get install {' '.join(packages)}"] if packages else []
    return "; ".join([*lines, *([f"from PyPI: {', '.join(peers)}"] if peers else [])])


def versions(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of the programs that are installed, and of what greenproxy runs on."""
    found = {"greenproxy": greenproxy.__version__, "Python": platform.python_version()}
    found |= {name: metadata.version(name) for name in ("gevent", "gunicorn")}
    for name in names:
        if name in _VERSIONS and is_there(name):
            said = subprocess.run([program(name), *_VERSIONS[name]], capture_output=True, text=True)
            number = _number.search(said.stdout + said.stderr)
            found[name] = number[0] if number else "?"
    peers = _peer_versions()
    for name in names:
        if name in PYPI and name in peers:
            found |= {each: peers[each] for each in (name, "uvloop") if each in peers and (each == name or name == "aiohttp")}
    return found


def _peer_versions() -> dict[str, str]:
    """Return the versions of the Python peers that are installed."""
    site = PEERS_PYTHON.parent.parent / "lib"
    found = {}
    for path in site.glob("python*/site-packages/*.dist-info"):
        name, _, version = path.name.removesuffix(".dist-info").rpartition("-")
        if name in ("aiohttp", "uvloop", "mitmproxy"):
            found[name] = version
    return found


def machine() -> dict[str, Any]:
    """Return what kind of machine this is: nothing that names it."""
    model = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    kernel = re.match(r"\d+\.\d+", platform.release())
    return {
        "cores": len(os.sched_getaffinity(0)),
        "processor": model[1].strip() if model else platform.machine(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": f"{platform.system()} {kernel[0] if kernel else '?'}",
        "load_before": round(os.getloadavg()[0], 1),
    }
