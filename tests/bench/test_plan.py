"""The command line: what is asked for is planned, what cannot be is told in a line."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import pytest

from bench import __main__ as command
from bench import tools
from bench.ground import TARGETS, Counted
from bench.loads import Wrk
from bench.measuring import not_proxied
from bench.processes import Children, Cores, Trouble
from bench.reading import Load
from bench.scenarios import ALL, BY_NAME, QUICK, Cell
from bench.targets import ROOT, Variant, route_prefixes


def planned(*arguments: str) -> list[tuple[str, list[str]]]:
    """Return the scenarios and the labels of their cells that a command line asks for."""
    options = command._options(arguments)
    return [(each.name, [cell.label for cell in each.cells]) for each in command.plan(options)]


def test_without_arguments_everything_is_planned() -> None:
    assert [name for name, _ in planned()] == [scenario.name for scenario in ALL]


def test_quick_form_compares_three_proxies() -> None:
    found = planned("--quick")
    assert [name for name, _ in found] == list(QUICK)
    assert all(labels == ["nginx", "greenproxy", "haproxy"] for _, labels in found)


def test_scenarios_and_targets_can_be_chosen() -> None:
    chosen = ["--scenario", "small", "--scenario", "tls", "--target", "greenproxy"]
    assert planned(*chosen) == [("small", ["greenproxy"]), ("tls", ["greenproxy"])]


def test_another_checkout_is_the_base_of_this_one() -> None:
    options = command._options(["--before", str(ROOT), "--scenario", "small"])
    (small,) = command.plan(options)
    assert [(cell.label, cell.base) for cell in small.cells] == [
        ("greenproxy before", "greenproxy before"),
        ("greenproxy", "greenproxy before"),
    ]


def test_every_cell_names_its_base_or_itself() -> None:
    for scenario in ALL:
        assert {cell.base for cell in scenario.cells} <= {cell.label for cell in scenario.cells}, scenario.name


def test_load_is_the_same_whatever_the_number_of_routes() -> None:
    assert {cell.load for cell in BY_NAME["routes"].cells} == {Wrk(TARGETS[0], script="targets.lua")}


@pytest.mark.parametrize("count", sorted({cell.variant.routes for cell in BY_NAME["routes"].cells}))
def test_every_route_has_an_equal_share_of_the_targets(count: int) -> None:
    width = len(route_prefixes(count)[-1])
    shares = Counter(target[:width] for target in TARGETS)
    assert shares == dict.fromkeys(route_prefixes(count), len(TARGETS) // count)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--scenario", "huge"], "invalid choice: 'huge'"),
        (["--target", "squid"], "invalid choice: 'squid'"),
        (["--rounds", "0"], "a whole number, at least 1, not '0'"),
        (["--rounds", "two"], "a whole number, at least 1, not 'two'"),
        (["--seconds", "0.01"], "a number between 0.1 and 60, not '0.01'"),
        (["--seconds", "a minute"], "a number between 0.1 and 60, not 'a minute'"),
    ],
)
def test_wrong_argument_is_named(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        command.main(arguments)
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--quick", "--write-docs"], "--write-docs wants everything measured"),
        (["--rounds", "2", "--write-docs"], "--write-docs wants at least 3 rounds"),
        (["--scenario", "own", "--target", "nginx"], "no scenario of these has nginx"),
        (["--before", "/nowhere"], "/nowhere is no checkout of greenproxy"),
        (["--from", "/nowhere/figures.json"], "bench: /nowhere/figures.json cannot be read: No such file or directory\n"),
        (["--from", "/"], "bench: / cannot be read: Is a directory\n"),
    ],
)
def test_what_is_not_possible_is_told_in_a_line(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(arguments) == 2
    assert told in capsys.readouterr().err


def test_missing_programs_are_named_with_their_packages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tools, "is_there", lambda name: name == "greenproxy")
    assert command.main(["--no-install", "--scenario", "small", "--target", "greenproxy"]) == 2
    said = capsys.readouterr()
    assert "nothing can be measured without nginx and openssl" in said.err
    assert "not installed: nginx, openssl, wrk (on Debian: apt-get install nginx-light openssl wrk)" in said.out


def test_others_go_on_where_a_peer_is_missing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(tools, "is_there", lambda name: name not in ("caddy", "aiohttp", "mitmproxy"))
    options = command._options(["--no-install", "--scenario", "small"])
    (left,) = command._possible(command.plan(options), options)
    assert [cell.label for cell in left.cells] == ["nginx", "greenproxy", "haproxy"]
    assert "apt-get install caddy; from PyPI: aiohttp, mitmproxy" in capsys.readouterr().out


def installing(monkeypatch: pytest.MonkeyPatch, user: int) -> list[str]:
    """Return the commands by which what is missing would be installed for a user."""
    commands: list[str] = []
    monkeypatch.setattr(tools, "is_there", lambda _name: False)
    monkeypatch.setattr(tools, "_run", lambda command, _say, **_environ: commands.append(" ".join(command[:2])))
    monkeypatch.setattr(tools.os, "geteuid", lambda: user)
    monkeypatch.setattr(tools.shutil, "which", lambda name: f"/bin/{name}")
    tools.install(["wrk", "caddy"], lambda _line: None)
    return commands


def test_packages_are_installed_by_root(monkeypatch: pytest.MonkeyPatch) -> None:
    assert installing(monkeypatch, 0) == ["apt-get update", "apt-get install"]


def test_packages_are_not_installed_by_others(monkeypatch: pytest.MonkeyPatch) -> None:
    assert installing(monkeypatch, 1000) == []


@pytest.mark.parametrize(
    ("available", "cores"),
    [([0], Cores()), ([2, 5], Cores(2, 5, 5, 5)), ([0, 1, 2, 3], Cores(0, 1, 2, 3))],
)
def test_proxy_has_a_core_to_itself(available: list[int], cores: Cores) -> None:
    assert Cores.choose(available) == cores


_CELL = Cell("caddy", Variant("caddy"), Wrk())


@pytest.mark.parametrize(
    ("connections", "requests", "told"),
    [
        (40, 5000, ""),
        (40, 4900, "the origin saw only 4900 of 5000 requests"),
        (5000, 5000, "5000 connections to the origin for 5000 requests"),
    ],
)
def test_proxy_that_does_not_do_its_work_is_found_out(connections: int, requests: int, told: str) -> None:
    assert not_proxied(Load(5000, 1.0), Counted(0, 0), Counted(connections, requests), _CELL) == told


def test_program_that_does_not_start_is_told_with_its_last_words(tmp_path: Path) -> None:
    children = Children(tmp_path)
    child = children.start("proxy", ["sh", "-c", "echo no such key; exit 3"], None)
    with pytest.raises(Trouble, match="proxy ended with status 3: no such key"):
        children.wait_until_listening("proxy", child, 1)
    children.stop_all()


def test_program_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(Trouble, match="no-such-proxy is not installed"):
        Children(tmp_path).start("proxy", ["no-such-proxy"], None)


@pytest.mark.parametrize(("name", "why"), [("none/x.json", "No such file or directory"), ("", "Is a directory")])
def test_figures_that_cannot_be_written_are_refused_before_measuring(
    name: str, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "run", lambda *_: pytest.fail("measured"))
    assert command.main(["--scenario", "small", "--json", str(tmp_path / name)]) == 2
    assert capsys.readouterr().err == f"bench: {tmp_path / name} cannot be written: {why}\n"


@pytest.mark.parametrize("text", ["{}", "[1]", "no JSON", '{"format": 1, "scenarios": {}}'])
def test_file_with_other_figures_is_refused(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "other.json").write_text(text)
    assert command.main(["--from", str(tmp_path / "other.json")]) == 2
    assert "other.json holds no figures of this program" in capsys.readouterr().err


@pytest.mark.parametrize(("arguments", "told"), [([], "5,000 idle"), (["--quick"], "2,000 idle")])
def test_list_counts_as_the_run_does(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--list", *arguments]) == 0
    assert told in capsys.readouterr().out


@pytest.mark.parametrize(
    "told", ["130 stopped", "twelve minutes", "without starting any service", "--no-install", "5 rounds of 0.7 s"]
)
def test_help_tells_what_a_run_does(told: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        command.main(["--help"])
    assert told in " ".join(capsys.readouterr().out.split())


def test_whole_run_ends_in_time() -> None:
    options = command._options([])
    ends = command.ends_s(list(ALL), 5, 0.7, options)
    assert (ends, ends[-1]) == (sorted(ends), 690.0)


def test_least_that_a_whole_run_measures_fits_in_its_time() -> None:
    assert sum(scenario.expected_s(3, 0.7) for scenario in ALL) < 690


def test_rounds_that_are_asked_for_are_not_cut() -> None:
    options = command._options(["--rounds", "20"])
    assert set(command.ends_s(list(ALL), 20, 0.7, options)) == {float("inf")}


def test_no_service_is_started_while_packages_are_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "POLICY", tmp_path / "policy-rc.d")
    with tools.no_service_starts():
        status = subprocess.run([tools.POLICY, "nginx", "start"], check=False).returncode
    assert (status, tools.POLICY.exists()) == (101, False)


def test_rule_on_services_that_is_there_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "POLICY", tmp_path / "policy-rc.d")
    tools.POLICY.write_text("mine")
    with tools.no_service_starts():
        pass
    assert tools.POLICY.read_text() == "mine"
