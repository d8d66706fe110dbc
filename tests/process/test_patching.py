"""The standard library is patched as gevent does it, its plug-ins are told, and they are looked for once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.processes import ROOT

PLUGIN = """
def tell(event):
    print(type(event).__name__, getattr(event, "module_name", ""))
"""
ENTRY_POINTS = """
[gevent.plugins.monkey.will_patch_module]
one = plugin_of_the_test:tell
[gevent.plugins.monkey.did_patch_all]
two = plugin_of_the_test:tell
"""


def lines_of(folder: Path, program: str) -> list[str]:
    """Return what a program prints in whose path there is a distribution with a plug-in."""
    (folder / "plugin_of_the_test.py").write_text(PLUGIN)
    distribution = folder / "plugin_of_the_test-1.dist-info"
    distribution.mkdir()
    (distribution / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin-of-the-test\nVersion: 1\n")
    (distribution / "entry_points.txt").write_text(ENTRY_POINTS)
    environ = {"PYTHONPATH": f"{ROOT}:{folder}"}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.splitlines()


def test_plugins_are_told_as_gevent_would_tell_them(tmp_path: Path) -> None:
    (tmp_path / "gevents").mkdir()
    (tmp_path / "ours").mkdir()
    gevents = lines_of(tmp_path / "gevents", "from gevent import monkey; monkey.patch_all()")
    ours = lines_of(tmp_path / "ours", "from greenproxy.process import patching; patching.patch_all()")
    assert (ours, "GeventWillPatchModuleEvent socket" in ours) == (gevents, True)


def test_what_is_installed_is_looked_through_once(tmp_path: Path) -> None:
    program = """
from importlib import metadata
from greenproxy.process import patching

looks = []
patching.entry_points = lambda: looks.append("once") or metadata.EntryPoints()
metadata.entry_points = lambda **_: looks.append("again")
patching.patch_all()
print(*looks)
"""
    assert lines_of(tmp_path, program)[-1:] == ["once"]
