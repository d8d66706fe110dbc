"""Other people's servers and clients. In CI they must be there; elsewhere tests that need them are skipped, with the reason."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes import Process, wait_until

IS_CI = bool(os.environ.get("CI"))


def needs(*names: str) -> pytest.MarkDecorator:
    """Skip a test where a program, or a Python package, is missing; never in CI."""
    missing = [name for name in names if not shutil.which(name) and not _has_package(name)]
    return pytest.mark.skipif(bool(missing) and not IS_CI, reason=f"not installed: {', '.join(missing)}")


def _has_package(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def answers(address: tuple[str, int] | str) -> Callable[[], bool]:
    """Return a condition: somebody accepts connections there."""

    def is_answered() -> bool:
        family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
        with socket.socket(family) as probe:
            probe.settimeout(1)
            return probe.connect_ex(address) == 0

    return is_answered


class Nginx(Process):
    """nginx on a Unix socket, serving `files`; `/proxy-fields` says what it was sent."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "nginx.sock"
        self.files = folder / "files"
        self.files.mkdir()
        (folder / "nginx.conf").write_text(
            textwrap.dedent(f"""
                daemon off; master_process off; pid {folder}/pid; error_log {folder}/error.log;
                events {{}}
                http {{
                    access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
                    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
                    gzip on; gzip_proxied any; gzip_types text/plain; gzip_min_length 10;
                    server {{
                        listen unix:{self.socket};
                        location / {{ root {self.files}; }}
                        location /fields {{ return 200 "$http_x_forwarded_for|$http_via|$http_host"; }}
                    }}
                }}
            """)
        )
        super().__init__(["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")], folder)

    def __enter__(self) -> Nginx:
        self.start()
        wait_until(answers(str(self.socket)), "nginx listens")
        return self

    @property
    def url(self) -> str:
        """What stands in `backends`."""
        return f"unix:{self.socket}"


FLASK_APP = """
from flask import Flask, Response, jsonify, request

app = Flask(__name__)


@app.route("/echo", methods=["GET", "POST", "PUT"])
def echo():
    return jsonify(method=request.method, body=request.get_data(as_text=True), args=request.args.to_dict(),
                   host=request.host, remote=request.headers.get("X-Forwarded-For"))


@app.route("/stream")
def stream():
    return Response((f"line {n}\\n" for n in range(1000)), mimetype="text/plain")


@app.route("/upload", methods=["POST"])
def upload():
    return {name: len(file.read()) for name, file in request.files.items()}


@app.route("/error")
def error():
    raise ValueError("of the application")


@app.route("/cookies")
def cookies():
    response = jsonify(request.cookies)
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    return response
"""


class FlaskApp(Process):
    """A Flask application under gunicorn, on a Unix socket."""

    def __init__(self, folder: Path) -> None:
        (folder / "shop.py").write_text(FLASK_APP)
        self.socket = folder / "flask.sock"
        command = [sys.executable, "-m", "gunicorn", "--bind", f"unix:{self.socket}", "--worker-class", "gthread"]
        super().__init__([*command, "--threads", "4", "--no-control-socket", "shop:app"], folder)

    def __enter__(self) -> FlaskApp:
        self.start()
        wait_until(lambda: self.exit_status is not None or answers(str(self.socket))(), "gunicorn listens")
        assert self.exit_status is None, self.log()
        return self

    @property
    def url(self) -> str:
        """What stands in `backends`."""
        return f"unix:{self.socket}"


class SimpleServer(Process):
    """`python -m http.server` (HTTP/1.0, closes behind each answer), serving `files`."""

    def __init__(self, folder: Path) -> None:
        self.files = folder / "files"
        self.files.mkdir()
        command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(self.files), "0"]
        super().__init__(command, folder)

    def __enter__(self) -> SimpleServer:
        self.start()
        wait_until(lambda: " port " in self.output(), "http.server says its port")
        return self

    @property
    def url(self) -> str:
        """What stands in `backends`."""
        return f"http://127.0.0.1:{self.output().split(' port ')[1].split()[0]}"
