"""What deploy/ holds is read here as its programs read it, as far as that goes without them: units, image, log rotation.

The rules for the image are those of hadolint, by hand: an image cannot be built in every place where tests run.
"""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from greenproxy import cli
from greenproxy.config.commands import parse_command
from greenproxy.config.options import parse as parse_options
from greenproxy.config.settings import ProcessSettings
from tests.processes import Proxy

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
PAGE = ROOT / "docs" / "deploy.md"


def unit(name: str) -> configparser.ConfigParser:
    """Return a unit file. Of keys that stand there more than once the last one counts here."""
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",), comment_prefixes=("#", ";"))
    parser.optionxform = str  # type: ignore[method-assign,assignment]  # systemd tells Type from type
    parser.read(DEPLOY / name)
    return parser


def arguments(key: str) -> list[str]:
    """Return the words behind the program of an Exec...= line of the service."""
    return shlex.split(unit("greenproxy.service")["Service"][key])[1:]


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the Dockerfile: their words in capitals, and the rest on one line."""
    text = re.sub(r"^#.*\n", "", (DEPLOY / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    return [(word, " ".join(rest.split())) for word, rest in found]


def said(word: str) -> list[str]:
    """Return what follows each of these instructions."""
    return [rest for each, rest in instructions() if each == word]


# ------------------------------------------------------------------ systemd


def test_command_of_the_service_is_understood() -> None:
    options = parse_options(arguments("ExecStart"), {})
    assert options.config == "/etc/greenproxy/greenproxy.ini"
    assert dict(each[:2] for each in options.overrides) == {
        "pid-file": "/run/greenproxy/greenproxy.pid",
        "admin": "unix:/run/greenproxy/admin.sock",
    }


def test_reload_asks_the_process_that_was_started() -> None:
    command, *flags = arguments("ExecReload")
    assert parse_command(command, flags, {}).name == "reload"
    assert flags == arguments("ExecStart")


def test_commands_of_the_service_and_of_the_page_work_with_a_token_in_the_file(tmp_path: Path) -> None:
    (check,) = re.findall(r"\| check a file first \| `/opt/greenproxy/bin/greenproxy (.*)` \|", PAGE.read_text())

    def here(words: list[str]) -> list[str]:
        return [re.sub(r"/(etc|run)/greenproxy/", f"{tmp_path}/", word) for word in words]

    ini = "[greenproxy]\nworkers = 1\nadmin-token = ${SECRET}\n[listener:web]\nbind = 127.0.0.1:0\n[route:all]\nstatus = 404\n"
    variables = {"SECRET": "s3cret"}
    _, _, *flags = here(arguments("ExecStart"))
    with Proxy(ini, tmp_path, *flags, environ=variables) as proxy:
        assert cli.main(here(check.split()), variables) == 0
        assert cli.main(here(arguments("ExecReload")), variables) == 0
        assert "reloaded: " in proxy.log()


def test_umask_of_the_service_does_not_shut_clients_out_of_a_unix_socket(tmp_path: Path) -> None:
    ini = "[greenproxy]\nworkers = 1\nadmin = unix:admin.sock\n[listener:web]\nbind = unix:web.sock\n[route:all]\nstatus = 404\n"
    before = os.umask(int(unit("greenproxy.service")["Service"]["UMask"], 8))
    try:
        with Proxy(ini, tmp_path):
            modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("web.sock", "admin.sock")]
    finally:
        os.umask(before)
    assert modes == [0o777, 0o660]


def test_service_waits_longer_than_greenproxy_for_requests_in_flight() -> None:
    assert int(unit("greenproxy.service")["Service"]["TimeoutStopSec"]) > ProcessSettings().graceful_timeout_s + 2


def test_service_is_ready_when_greenproxy_says_so_and_is_stopped_by_its_master() -> None:
    service = unit("greenproxy.service")["Service"]
    assert (service["Type"], service["NotifyAccess"], service["KillMode"]) == ("notify", "main", "mixed")
    assert (service["RestartPreventExitStatus"], service["OOMPolicy"]) == ("2", "continue")


def test_service_has_no_rights_but_that_to_ports_below_1024() -> None:
    service = unit("greenproxy.service")["Service"]
    assert service["User"] != "root"
    assert service["CapabilityBoundingSet"] == service["AmbientCapabilities"] == "CAP_NET_BIND_SERVICE"
    assert (service["NoNewPrivileges"], service["ProtectSystem"]) == ("yes", "strict")


def test_what_the_service_writes_to_is_made_for_it() -> None:
    service = unit("greenproxy.service")["Service"]
    assert service["RuntimeDirectory"] == service["LogsDirectory"] == "greenproxy"


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    for name in ("greenproxy.service", "greenproxy.socket"):  # what they start need not be installed here
        text = (DEPLOY / name).read_text().replace("/opt/greenproxy/bin/greenproxy", sys.executable)
        (tmp_path / name).write_text(text)
    command = ["systemd-analyze", "verify", "--man=no", *map(str, tmp_path.iterdir())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_line_of_the_hardening_that_is_for_a_reason_is_told() -> None:
    page = PAGE.read_text()
    for name in ("AmbientCapabilities", "NoNewPrivileges", "ProtectSystem", "CapabilityBoundingSet", "OOMPolicy", "KillMode"):
        assert name in page


# ------------------------------------------------------------------ the image


def test_base_images_are_pinned_by_tag() -> None:  # DL3006, DL3007
    for image in said("FROM"):
        assert re.match(r"[\w./-]+:\d+\.\d+-\S+", image), image


def test_last_user_is_not_root() -> None:  # DL3002
    assert said("USER")[-1] == "10001:10001"


def test_commands_are_lists() -> None:  # DL3025
    for rest in (*said("ENTRYPOINT"), *said("CMD"), said("HEALTHCHECK")[0].partition(" CMD ")[2]):
        assert json.loads(rest)


def test_nothing_is_kept_that_only_installing_needs() -> None:  # DL3042, DL3008, DL3009, DL3003, DL3020
    runs = "\n".join(said("RUN"))
    assert "pip install --no-cache-dir" in runs
    assert "apt-get" not in runs
    assert not re.search(r"\bcd |sudo|curl |wget ", runs)
    assert not said("ADD")


def test_paths_are_absolute_and_folders_are_set_before_they_are_used() -> None:  # DL3000, DL3045
    assert all(path.startswith("/") for path in said("WORKDIR"))
    words = [word for word, _ in instructions()]
    assert words.index("WORKDIR") < words.index("COPY")


def test_image_is_ended_and_watched_as_greenproxy_understands_it() -> None:  # DL3057
    assert said("STOPSIGNAL") == ["SIGTERM"]
    program, name = json.loads(said("HEALTHCHECK")[0].partition(" CMD ")[2])
    assert [program] == json.loads(said("ENTRYPOINT")[0])
    assert parse_command(name, [], {}).name == "status"


def test_command_of_the_image_is_understood() -> None:
    variables = dict(word.split("=", 1) for word in shlex.split(said("ENV")[0]))
    options = parse_options(json.loads(said("CMD")[0]), variables)
    assert options.config == "/etc/greenproxy/greenproxy.ini"
    assert options.overrides == (("admin", "127.0.0.1:9901", "GREENPROXY_ADMIN"),)


def test_what_is_copied_is_there_and_not_ignored() -> None:
    taken = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")}
    for rest in said("COPY"):
        if not rest.startswith("--from"):
            sources = [source.rstrip("/") for source in rest.split()[:-1]]
            assert set(sources) <= taken
            assert all((ROOT / source).exists() for source in sources)


def test_health_check_finds_the_admin_by_the_environment_alone(tmp_path: Path) -> None:
    variables = {"GREENPROXY_ADMIN": f"unix:{tmp_path}/admin.sock"}
    ini = "[greenproxy]\nworkers = 1\n[listener:web]\nbind = 127.0.0.1:0\n[route:all]\npath = /\nstatus = 404\n"
    with Proxy(ini, tmp_path, environ=variables):
        command = [sys.executable, "-m", "greenproxy", "status"]
        done = subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT), **variables}, capture_output=True, timeout=20)
        assert done.returncode == 0, done.stderr


def test_file_that_the_page_gives_for_a_container_runs_and_writes_nothing_beside_itself(tmp_path: Path) -> None:
    (ini,) = re.findall(r"```ini\n(.*?)```", PAGE.read_text().partition("## Containers")[2], re.DOTALL)
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "greenproxy.ini").write_text(ini.replace(":8080", "127.0.0.1:0"))
    variables = {"GREENPROXY_ADMIN": "127.0.0.1:0", "GREENPROXY_WORKERS": "1"}
    with Proxy("", tmp_path, "-c", str(tmp_path / "conf" / "greenproxy.ini"), environ=variables) as proxy:
        assert [each.name for each in (tmp_path / "conf").iterdir()] == ["greenproxy.ini"]
        assert proxy.stop() == 0


def test_an_empty_pid_file_flag_is_none(tmp_path: Path) -> None:
    ini = "[greenproxy]\nworkers = 1\npid-file = its.pid\n[listener:web]\nbind = 127.0.0.1:0\n[route:all]\nstatus = 404\n"
    with Proxy(ini, tmp_path, "--pid-file", ""):
        assert not (tmp_path / "its.pid").exists()


# ------------------------------------------------------------------ log rotation


def test_log_rotation_tells_the_process_of_the_unit_to_open_its_logs_again() -> None:
    text = (DEPLOY / "logrotate").read_text()
    pid_file = arguments("ExecStart")[arguments("ExecStart").index("--pid-file") + 1]
    assert f'kill -USR1 "$(cat {pid_file})"' in text
    assert re.search(r"^/var/log/greenproxy/\*\.log \{$", text, re.MULTILINE)
    assert text.count("{") == text.count("}") == 1
    assert {"delaycompress", "sharedscripts", "missingok"} <= set(text.split())
