"""The house has floors: a room imports only from below, by full name, and only the third parties it is allowed.

The table is the one that binds; a wall moves here and in CONTRIBUTING.md together, with the reason.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "greenproxy"

GROUND = ("errors", "deadline", "messages", "exchange")


@dataclass(frozen=True)
class Room:
    """What a room may import: other rooms (besides itself), third parties, and standard modules it must not touch."""

    rooms: tuple[str, ...] = ()
    third_party: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()


MIDDLE = (*GROUND, "config", "protocol", "observability")
BELOW_THE_ROOF = (*MIDDLE, "routing", "net", "upstream", "server", "middleware", "apps", "proxy")
SOCKETS = ("socket", "_socket", "ssl", "_ssl", "select", "selectors")

FLOORS: dict[str, Room] = {
    # 0: ground, each only from those before it
    "errors": Room(),
    "deadline": Room(("errors",), ("gevent",)),
    "messages": Room(("errors", "deadline")),
    "exchange": Room(("errors", "deadline", "messages")),
    # On the ground, and from the standard library alone, because masters bind such files before there is gevent, and a
    # demo backend does the same far above.
    "unix_socket": Room(),
    # Pairs are checked with the configuration, and loaded by the master for the workers: far apart.
    "certificates": Room(),
    # 1
    "config": Room(("errors", "certificates"), ("configargparse",)),
    "protocol": Room(("errors", "messages"), ("h11",), SOCKETS),
    # 2
    "routing": Room((*GROUND, "config"), (), SOCKETS),
    "net": Room(("errors", "deadline", "messages", "config", "protocol", "certificates"), ("gevent",)),
    # 3
    "observability": Room((*GROUND, "certificates", "config", "net"), ("gevent", "statsd")),
    # 4
    "upstream": Room((*MIDDLE, "net"), ("gevent",)),
    "server": Room((*MIDDLE, "net"), ("gevent",)),
    # 5
    "middleware": Room(MIDDLE, ("gevent",)),  # its time limit is a gevent.Timeout that user code cannot swallow
    "apps": Room((*MIDDLE, "unix_socket"), ("gevent",)),
    "proxy": Room((*MIDDLE, "net", "upstream"), ("gevent",)),
    # 6: hands the TLS contexts that the master has made to the fronts
    "assembly": Room(BELOW_THE_ROOF, ("gevent",)),
    # 7: the front doors. What both masters do (plain gunicorn's and ours) is the room `process`; the board is made and
    # the error log opened before there is a house, and a demo backend never is one: hence observability, and apps in cli.
    # gevent in process: the watchdog of a worker's hub. net: TLS contexts are made before the fork.
    "process": Room(
        ("errors", "unix_socket", "certificates", "config", "routing", "net", "observability"), ("gevent", "gunicorn")
    ),
    "worker": Room(("errors", "config", "assembly", "process"), ("gevent", "gunicorn")),
    "master": Room(("errors", "certificates", "config", "net", "observability", "process", "worker"), ("gunicorn",)),
    # Another process than the one it acts on: nothing of the house, and so quick to start.
    "control": Room(("config",)),
    "cli": Room(("errors", "config", "apps", "process", "control", "master")),
    "__main__": Room(("cli",)),
    "__init__": Room(("messages",)),
}

#: Rooms that read configuration; all others see only its frozen result, `config.settings`.
READERS = ("config", "process", "control", "worker", "master", "cli")


@dataclass(frozen=True)
class Import:
    """One imported module, as `greenproxy.net.stream`, and where it stands."""

    module: str
    names: tuple[str, ...]
    place: str


def modules() -> list[Path]:
    """Return every module of the package."""
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    """Return the room a module belongs to: its folder, or its own name at the top."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imports_of(path: Path) -> Iterator[Import]:
    """Yield what a module imports, anywhere in it; a relative import is yielded with its dots."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, (), f"{path.relative_to(PACKAGE.parent)}:{node.lineno}")
        elif isinstance(node, ast.ImportFrom):
            names = tuple(alias.name for alias in node.names)
            module = "." * node.level + (node.module or "")
            yield Import(module, names, f"{path.relative_to(PACKAGE.parent)}:{node.lineno}")


def complaint(room: str, found: Import) -> str:
    """Return what is wrong with an import in a room, "" if nothing is."""
    top, *rest = found.module.split(".")
    if not top:
        return "import by full name"
    if top == "greenproxy":
        return complaint_about_room(room, rest, found.names)
    if top in sys.stdlib_module_names:
        return f"{room} never touches {top}" if top in FLOORS[room].forbidden else ""
    # greenlet is what gevent is made of.
    distribution = "gevent" if top == "greenlet" else top
    return "" if distribution in FLOORS[room].third_party else f"{room} may not import {top}"


def complaint_about_room(room: str, path: list[str], names: tuple[str, ...]) -> str:
    """Return what is wrong with importing `greenproxy.<path>` in a room, "" if nothing is."""
    if not path:
        return "" if set(names) == {"__version__"} else "import by full name, from the module that defines it"
    target = path[0]
    if target not in FLOORS:
        return f"{target} is on no floor"
    if target != room and target not in FLOORS[room].rooms:
        return f"{room} may not import {target}"
    if (
        target == "config"
        and room not in READERS
        and path != ["config", "settings"]
        and (path, names) != (["config"], ("settings",))
    ):
        return "of config, rooms import only config.settings"
    if len(path) == 1 and (PACKAGE / target).is_dir() and not all((PACKAGE / target / f"{name}.py").exists() for name in names):
        return "import by full name, from the module that defines it"
    return ""


def test_every_module_is_in_a_room_of_the_table() -> None:
    strangers = {room_of(path) for path in modules()} - set(FLOORS)
    assert not strangers


def test_no_two_rooms_import_each_other() -> None:
    upwards = [f"{room} and {other}" for room, may in FLOORS.items() for other in may.rooms if room in FLOORS[other].rooms]
    assert not upwards


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_module_imports_only_what_its_floor_allows(path: Path) -> None:
    room = room_of(path)
    wrong = [f"{found.place}: {found.module}: {why}" for found in imports_of(path) if (why := complaint(room, found))]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("room", "module", "names"),
    [
        ("protocol", "greenproxy.net.stream", ("Stream",)),
        ("protocol", "socket", ()),
        ("routing", "gevent", ()),
        ("upstream", "greenproxy.server.serve", ()),
        ("proxy", "greenproxy.config.options", ()),
        ("server", "greenproxy.net", ("Stream",)),
        ("server", ".listener", ()),
        ("net", "greenproxy", ("Request",)),
        ("config", "gunicorn", ()),
    ],
)
def test_the_check_sees_what_is_forbidden(room: str, module: str, names: tuple[str, ...]) -> None:
    assert complaint(room, Import(module, names, "here"))
