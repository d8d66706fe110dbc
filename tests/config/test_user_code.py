from __future__ import annotations

import time
from pathlib import Path

import pytest

from greenproxy.config.settings import MiddlewareSettings
from greenproxy.config.user_code import module_path, try_middlewares

HOOKS = """\
import sys
print("this goes nowhere")
sys.stderr.write("nor does this")

def plain(request, call_next):
    return call_next(request)

def factory(*, some_key):
    assert some_key == "a, b"
    return plain

def picky(*, level):
    return int(level) and plain

def forgetful(*, some_key):
    pass

def one_argument(request):
    pass

class Counter:
    def __init__(self, start="0"):
        pass
    def __call__(self, request, call_next):
        return call_next(request)

instance = Counter()
number = 7
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    files = {
        "hooks.py": HOOKS,
        "broken.py": "x = 1\nx.y\n",
        "misspelt.py": "def f(:\n",
        "needy.py": "import json\nimport no_such_library\n",
        "leaving.py": "raise SystemExit(3)\n",
        "crashing.py": "import os\nos._exit(0)\n",
        "json.py": "raise RuntimeError('the library, not this one')\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def verdict(folder: Path, kind: str, **options: str) -> str:
    settings = MiddlewareSettings(
        name="x", type=kind, options=tuple((key.replace("_", "-"), text) for key, text in options.items())
    )
    return try_middlewares([settings], folder).get("x", "")


def test_what_can_be_used_is_not_spoken_of(folder: Path) -> None:
    good = [
        MiddlewareSettings(name="a", type="hooks:plain"),
        MiddlewareSettings(name="b", type="hooks:factory", options=(("some-key", "a, b"),)),
        MiddlewareSettings(name="c", type="hooks:instance"),
        MiddlewareSettings(name="d", type="hooks:Counter", options=(("start", "1"),)),
    ]
    assert try_middlewares(good, folder) == {}


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("no_such_module:x", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("hooks.sub:x", "ModuleNotFoundError: No module named 'hooks.sub'; 'hooks' is not a package"),
        ("hooks:plan", "hooks has no plan (did you mean hooks:plain?)"),
        ("hooks:number", "hooks:number is not callable"),
        ("hooks:one_argument", "hooks:one_argument is called with (request, call_next), but takes (request)"),
        ("hooks:Counter", "hooks:Counter is called with (request, call_next), but takes (start='0')"),
        ("broken:x", "AttributeError: 'int' object has no attribute 'y' (broken.py:2)"),
        ("needy:x", "ModuleNotFoundError: No module named 'no_such_library' (needy.py:2)"),
        ("leaving:x", "SystemExit: 3 (leaving.py:1)"),
        ("crashing:x", "importing it ended the process"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(folder: Path, kind: str, expected: str) -> None:
    assert verdict(folder, kind) == expected


def test_a_syntax_error_is_told_with_its_place(folder: Path) -> None:
    assert verdict(folder, "misspelt:f") == "SyntaxError: invalid syntax (misspelt.py, line 1)"


def test_a_factory_is_called_with_the_keys_of_its_section(folder: Path) -> None:
    assert verdict(folder, "hooks:picky", level="2") == ""
    assert verdict(folder, "hooks:picky", level="x") == "ValueError: invalid literal for int() with base 10: 'x' (hooks.py:13)"
    assert verdict(folder, "hooks:picky", other="2").startswith("TypeError: picky() got an unexpected keyword argument 'other'")
    assert verdict(folder, "hooks:forgetful", some_key="a") == "hooks:forgetful returned NoneType, which is not callable"


def test_code_that_hangs_is_given_up_with_whatever_it_started(folder: Path) -> None:
    (folder / "hanging.py").write_text("import os, time\nos.fork()\ntime.sleep(600)\n")
    begun_s = time.monotonic()
    settings = MiddlewareSettings(name="x", type="hanging:x")
    assert try_middlewares([settings], folder, time_limit_s=0.5) == {"x": "took longer than 0.5s to import"}
    assert time.monotonic() - begun_s < 10


def test_threads_that_never_end_do_not_keep_the_child(folder: Path) -> None:
    (folder / "threads.py").write_text(
        "import threading, time\nthreading.Thread(target=time.sleep, args=(600,)).start()\ndef f(request, call_next): pass\n"
    )
    assert verdict(folder, "threads:f") == ""


def test_the_folder_of_the_file_comes_first_then_the_working_directory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "hooks.py").write_text("")
    (elsewhere / "more.py").write_text("def f(request, call_next): pass\n")
    monkeypatch.chdir(elsewhere)
    assert module_path(folder)[:2] == [str(folder), str(elsewhere)]
    assert verdict(folder, "hooks:plain") == ""
    assert verdict(folder, "more:f") == ""


def test_a_trial_leaves_no_trace(folder: Path) -> None:
    assert verdict(folder, "hooks:plain") == ""
    assert not (folder / "__pycache__").exists()
