"""Ground: what every proxy stands on in one run: a folder, a certificate, files to serve, and the origin, which is nginx.

The origin answers at once: a few bytes, files of three sizes, one of them also in chunks. It counts what reaches it, so that a
proxy that does not pass requests on, or dials anew for each of them, is found out.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tempfile
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from bench.processes import Children, Cores, Trouble, free_port

FILES = {"64k": 1 << 16, "1m": 1 << 20, "10m": 10 << 20}
GREETING = "hello from the origin, hello from the origin, hello from the origin\\n"
UPLOAD_BYTES = 1 << 20
#: The load speaks TLS 1.3 with one suite and says so here, so that every proxy does the same work.
SUITE = "TLS_AES_128_GCM_SHA256"
_OPENSSL = f"""openssl_conf = all
[all]
ssl_conf = ssl
[ssl]
system_default = load
[load]
MinProtocol = TLSv1.3
Ciphersuites = {SUITE}
"""
_UPLOAD = f'wrk.method = "POST"\nwrk.body = string.rep("x", {UPLOAD_BYTES})\n'
#: What `targets.lua` asks for in turn: so many that no memory of those that came before flatters anybody.
TARGETS = tuple(f"/{n:04}/page" for n in range(10_000))
TARGETS_SCRIPT = f"""local count, at, requests = {len(TARGETS)}, 0, {{}}
function init(args) for n = 1, count do requests[n] = wrk.format("GET", string.format("/%04d/page", n - 1)) end end
function request() at = at % count + 1; return requests[at] end
"""
_counted = re.compile(r"^ (\d+) \d+ (\d+) $", re.MULTILINE)


@dataclass(frozen=True)
class Counted:
    """What the origin has seen: connections and requests."""

    connections: int
    requests: int


class Ground:
    """A context manager that leaves neither process nor file behind."""

    def __init__(self, cores: Cores, backends: int = 2) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="greenproxy-bench-"))
        self.folder.chmod(0o755)  # nginx's worker is nobody, where its master is root
        self.cores = cores
        self.children = Children(self.folder)
        self.origins = [f"127.0.{1 + n // 250}.{1 + n % 250}:{0}" for n in range(backends)]
        self._status_port = 0

    def __enter__(self) -> Ground:
        try:
            for name, size in FILES.items():
                self.write(name, os.urandom(size))
            self.write("openssl.cnf", _OPENSSL.encode())
            self.write("upload.lua", _UPLOAD.encode())
            self.write("targets.lua", TARGETS_SCRIPT.encode())
            self._certify()
            self._start_origin()
        except BaseException:
            self._leave()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._leave()

    def _leave(self) -> None:
        """End everything and remove the folder; an impatient second Ctrl-C must not leave half of it."""
        before = {each: signal.signal(each, signal.SIG_IGN) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            self.children.stop_all()
            shutil.rmtree(self.folder)
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)

    def write(self, name: str, content: str | bytes) -> str:
        """Write a file of this run and return its path."""
        path = self.folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    def path(self, name: str) -> str:
        """Return the path of a file of this run."""
        return str(self.folder / name)

    def _certify(self) -> None:
        """Make a certificate for localhost, on the curve that everybody has fast code for; both.pem is it with its key."""
        command = (
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out cert.pem -days 30"
        )
        names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        try:
            subprocess.run([*command.split(), *names], cwd=self.folder, check=True, capture_output=True)
        except (FileNotFoundError, subprocess.CalledProcessError) as error:
            raise Trouble(f"no certificate can be made: {error}") from error
        self.write("both.pem", (self.folder / "cert.pem").read_bytes() + (self.folder / "key.pem").read_bytes())

    def _start_origin(self) -> None:
        self._status_port, port = free_port(), free_port()
        self.origins = [each.replace(":0", f":{port}") for each in self.origins]
        listens = "\n".join(f"listen {each} backlog=4096;" for each in self.origins)
        text = f"""
            worker_processes 1; daemon off; pid origin.pid; error_log stderr crit;
            events {{ worker_connections 16000; }}
            http {{ {nginx_folders("origin")} access_log off; client_max_body_size 0;
              keepalive_requests 1000000000; keepalive_timeout 600s; default_type text/plain;
              server {{ listen 127.0.0.1:{self._status_port}; location / {{ stub_status; }} }}
              server {{ {listens}
                location / {{ return 200 "{GREETING}"; }}
                location ~ ^/({"|".join(FILES)})$ {{ root {self.folder}; }}
                location /chunked/ {{ alias {self.folder}/; ssi on; ssi_types text/plain; }} }} }}"""
        command = nginx_command(self.folder, self.write("origin.conf", text))
        child = self.children.start("origin", command, self.cores.origin)
        self.children.wait_until_listening("origin", child, self._status_port)

    def counted(self) -> Counted:
        """Ask the origin what it has seen; this question is not in it."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._status_port}/", timeout=10) as answer:
            found = _counted.search(answer.read().decode())
        if found is None:
            raise Trouble("the origin's nginx does not count (stub_status)")
        return Counted(int(found[1]) - 1, int(found[2]) - 1)


def nginx_folders(name: str) -> str:
    """Return directives that keep nginx's temporary files in the run's folder; its own want root."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return " ".join(f"{kind}_temp_path {name}-{kind};" for kind in kinds)


def nginx_command(folder: Path, file: str) -> list[str]:
    """Return how nginx is started with a file."""
    return [program("nginx"), "-e", "stderr", "-p", f"{folder}/", "-c", file]


def program(name: str) -> str:
    """Return the path of a program, its bare name if there is none. Debian keeps servers where users do not look."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/local/sbin") or name
