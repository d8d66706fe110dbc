"""Makes the committed inputs again: `python -m fuzz.seeds [FOLDER]`, where FOLDER has more inputs in a folder per target.

They come from the tables of `tests/wire` and `tests/protocol`, from what is committed, and from FOLDER (that of a long run).
Of all of them libFuzzer keeps as few as reach what `fuzz.situations` does not. Files called bug-* showed a defect once, and stay.
"""

from __future__ import annotations

import pkgutil
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import tests.protocol
import tests.wire
from fuzz.situations import SIZES, name_of, write_situations
from fuzz.targets import FOLDER, SEEDS, TARGETS

_KINDS = {"heads": 5, "chunks": 4, "answers": 5, "relay": 16, "connection": 32, "chain": 6}
_MOST_BYTES = 1500  # what is longer tests a limit, and is tested with other limits here
_CHAINS = (
    b"for=192.0.2.1;proto=https;by=_x", b'for="[2001:db8::1]:80", for=unknown', b'for="a\\"b,c;d" , ;;for=10.0.0.2\nFOR=10.0.0.3',
    b"192.0.2.1:80, [2001:db8::1], 10.0.0.2", b"::ffff:10.0.0.1,unknown", b'for="x', b"https, http", b"wss", b"",
)  # fmt: skip


def rows() -> Iterator[tuple[str, bytes]]:
    """Yield (name of its table, bytes) of every message in the tables of the tests."""
    for package in (tests.protocol, tests.wire):
        for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if not found.name.rpartition(".")[2].startswith("test_"):
                yield from _in_tables(vars(import_module(found.name)))


def _in_tables(names: dict[str, object]) -> Iterator[tuple[str, bytes]]:
    for name, table in names.items():
        if name.isupper() and isinstance(table, list | tuple):
            for row in table:
                data = getattr(row, "data", None)
                if isinstance(data, bytes) and len(data) <= _MOST_BYTES:
                    yield name, data


def inputs(target: str) -> Iterator[bytes]:
    """Yield the inputs that the tables give for a target."""
    for number, data in enumerate(dict.fromkeys(_CHAINS if target == "chain" else _messages(target))):
        for kind in {number % _KINDS[target], number // 3 % _KINDS[target]}:
            yield bytes((kind, number % 7)) + SIZES + data


def _messages(target: str) -> Iterator[bytes]:
    for name, data in rows():
        is_answer = data.startswith(b"HTTP/")
        is_chunks = "CHUNK" in name and not is_answer and b" HTTP/1" not in data
        if target == "chunks":
            body = data.partition(b"\r\n\r\n")[2] if b"chunked" in data else data
            if (is_chunks or b"chunked" in data) and body:
                yield body
        elif is_answer == (target in ("answers", "relay")) and not is_chunks:
            yield data


def _merge(target: str, sources: list[Path], into: Path) -> None:
    """Let libFuzzer copy as few inputs as reach what all of them reach."""
    folders = [str(each) for each in (into, *sources)]
    command = [sys.executable, "-m", "fuzz.one", target, "-set_cover_merge=1", "-max_len=2048", "-timeout=10", *folders]
    done = subprocess.run(command, capture_output=True, text=True, cwd=FOLDER.parent)
    if done.returncode or not any(into.iterdir()):
        raise SystemExit(done.stdout + done.stderr)


def remake(target: str, more: list[Path]) -> None:
    """Make the inputs of one target again, and say how many they are."""
    with tempfile.TemporaryDirectory() as folder:
        tables, chosen = Path(folder, "tables"), Path(folder, "chosen")
        tables.mkdir()
        chosen.mkdir()
        for data in inputs(target):
            (tables / name_of(data)).write_bytes(data)
        write_situations(target, chosen)
        known = set(chosen.iterdir())
        committed = SEEDS / target
        committed.mkdir(parents=True, exist_ok=True)
        _merge(target, [tables, committed, *more], chosen)
        for old in committed.iterdir():
            if not old.name.startswith("bug-"):
                old.unlink()
        for new in set(chosen.iterdir()) - known:
            shutil.copy(new, committed / name_of(new.read_bytes()))
    files = list(committed.iterdir())
    print(f"{target}: {len(files)} files, {sum(each.stat().st_size for each in files)} bytes")


if __name__ == "__main__":
    for each in TARGETS:
        remake(each, [Path(folder, each) for folder in sys.argv[1:] if Path(folder, each).is_dir()])
