"""Runs the targets one after the other: `python -m fuzz.run [--seconds N] [--keep] [TARGET ...]`.

Prints what each did. Exit status 1 when one failed: then the input is in `fuzz/found`, and the command that asks again is shown.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from time import monotonic

from fuzz.situations import write_situations
from fuzz.targets import DICTIONARY, FOLDER, FOUND, SEEDS, TARGETS

SECONDS = 60
_START_S = 2  # importing and reading the seeds, beside libFuzzer's own time
_ROOT = FOLDER.parent
_CORPUS = FOLDER / "corpus"
_OPTIONS = ("-timeout=10", "-rss_limit_mb=1024", "-max_len=2048", "-print_final_stats=1", f"-dict={DICTIONARY}")
_executed = re.compile(r"number_of_executed_units: (\d+)").search
_covered = re.compile(r"cov: (\d+) ft: (\d+)").findall


def run(name: str, seconds: float, corpus: Path) -> bool:
    """Fuzz one target for so many seconds, say what it did, and return whether it found nothing."""
    FOUND.mkdir(exist_ok=True)
    before = set(FOUND.iterdir())
    limits = (f"-max_total_time={max(1, round(seconds) - _START_S)}", f"-artifact_prefix={FOUND}/{name}-", *_OPTIONS)
    command = [sys.executable, "-m", "fuzz.one", name, *limits, str(corpus), str(SEEDS / name)]
    begun = monotonic()
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", cwd=_ROOT)
    log = done.stdout + done.stderr
    executed, covered = _executed(log), _covered(log)
    count, (edges, features) = int(executed[1]) if executed else 0, covered[-1] if covered else ("0", "0")
    took = monotonic() - begun
    print(f"{name:12} {count:10,} executions in {took:5.1f} s, {edges:>5} edges, {features:>6} features", flush=True)
    if done.returncode == 0 and count:
        return True
    print(_last_words(done.stdout, done.stderr))
    for path in sorted(set(FOUND.iterdir()) - before):
        python = os.path.relpath(sys.executable, _ROOT)
        print(f"the input is {path.relative_to(_ROOT)}; ask again:\n    {python} -m fuzz.one {name} {path.relative_to(_ROOT)}")
    return False


def _last_words(output: str, errors: str) -> str:
    """Return what a run said of its failure: the Python traceback where there is one, else the end of libFuzzer's log."""
    _, found, traceback = output.partition("=== Uncaught Python exception: ===")
    return traceback.strip() if found else "\n".join(errors.splitlines()[-30:])


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fuzz", description="Run the fuzzers, one after the other.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS) + "; all of them if none is named")
    seconds = float(os.environ.get("FUZZ_SECONDS") or SECONDS)
    parser.add_argument("--seconds", type=float, default=seconds, help="for all of them together (FUZZ_SECONDS, else 60)")
    parser.add_argument("--keep", action="store_true", help="go on with, and add to, the inputs of earlier runs in fuzz/corpus")
    options = parser.parse_args(arguments)
    if strangers := set(options.targets) - set(TARGETS):
        parser.error(f"there is no target {', '.join(sorted(strangers))}; there are {', '.join(TARGETS)}")
    return options


def main(arguments: list[str]) -> int:
    """Run what was asked for; return the exit status."""
    options = _options(arguments)
    if find_spec("atheris") is None:
        print(f"atheris is not installed, and is not made for every platform (this is {platform.platform()})", file=sys.stderr)
        return 0 if (platform.system(), platform.machine()) != ("Linux", "x86_64") else 1
    names = options.targets or list(TARGETS)
    end = monotonic() + options.seconds
    is_good = True
    for at, name in enumerate(names):
        share = TARGETS[name] / sum(TARGETS[each] for each in names[at:])
        with tempfile.TemporaryDirectory() as folder:
            corpus = _CORPUS / name if options.keep else Path(folder)
            corpus.mkdir(parents=True, exist_ok=True)
            write_situations(name, corpus)
            is_good = run(name, (end - monotonic()) * share, corpus) and is_good
    return 0 if is_good else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
