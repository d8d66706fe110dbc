"""What is installed: a wheel with the package, its types and its command, and scripts that can be run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from greenproxy import __version__

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel from a copy, without the network, and return it."""
    folder = tmp_path_factory.mktemp("wheel")
    copy = folder / "greenproxy"
    copy.mkdir()
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, copy)
    shutil.copytree(ROOT / "greenproxy", copy / "greenproxy", ignore=shutil.ignore_patterns("__pycache__"))
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-w",
        str(folder),
        str(copy),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def metadata(wheel: zipfile.ZipFile, name: str) -> str:
    """Return a file of the wheel's metadata."""
    return wheel.read(f"greenproxy-{__version__}.dist-info/{name}").decode()


def test_wheel_holds_every_module_and_the_mark_of_types(wheel: zipfile.ZipFile) -> None:
    source = {str(path.relative_to(ROOT)) for path in (ROOT / "greenproxy").rglob("*.py")}
    assert source | {"greenproxy/py.typed"} == {name for name in wheel.namelist() if name.startswith("greenproxy/")}


def test_wheel_installs_the_command(wheel: zipfile.ZipFile) -> None:
    assert "greenproxy = greenproxy.cli:main" in metadata(wheel, "entry_points.txt")


def test_wheel_asks_for_few_packages_and_says_which_versions(wheel: zipfile.ZipFile) -> None:
    required = re.findall(r"^Requires-Dist: ([A-Za-z0-9-]+)([^;\n]*)$", metadata(wheel, "METADATA"), re.MULTILINE)
    assert {name.lower() for name, _ in required} == {"gevent", "gunicorn", "h11", "statsd", "configargparse"}
    assert all(">=" in versions and "<" in versions for _, versions in required)


def test_changelog_knows_this_version() -> None:
    assert (
        f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text() or "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text()
    )


@pytest.mark.parametrize(
    "script", ["scripts/bench", "scripts/fuzz", "scripts/run", "scripts/soak", "scripts/test", "scripts/venv", ".ci/run"]
)
def test_script_can_be_run_and_parses(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)
    assert subprocess.run(["bash", "-n", ROOT / script], capture_output=True).returncode == 0


def test_links_of_the_documentation_lead_somewhere() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
