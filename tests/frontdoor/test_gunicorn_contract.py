"""What greenproxy relies on in gunicorn's master and worker, which promise nothing: a new gunicorn that changes it fails here.

Each digest is of a function as it was when our overrides were written and tried against it, without its comments and its
docstring. When one differs: read what changed, mend `greenproxy/master.py` or `greenproxy/worker.py` where it matters,
run the whole suite and the cases of `scripts/soak`, and only then put the new digest here. This test prints it.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import textwrap
from importlib.metadata import version

import pytest
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.pidfile import Pidfile
from gunicorn.workers.base import Worker
from gunicorn.workers.workertmp import WorkerTmp

from greenproxy.master import ProxyArbiter
from greenproxy.process.pid_file import OwnPidfile
from greenproxy.worker import ProxyWorker, StandaloneWorker

RELIED_ON = {
    # Called by us, or calling what we override.
    (Arbiter, "__init__"): "e2607d79bff29297",
    (Arbiter, "setup"): "80829cf963578703",
    (Arbiter, "run"): "05396dedcc1b43e8",
    (Arbiter, "init_signals"): "cc0c2a4b5f6042c0",
    (Arbiter, "signal"): "a958ec2ad9d457e4",
    (Arbiter, "signal_chld"): "4e7998a9e4fa685c",
    (Arbiter, "handle_chld"): "b489e23d4f0644eb",
    (Arbiter, "wait_for_signals"): "a9a7f173a6a86f37",
    (Arbiter, "spawn_worker"): "a80369bcdbb682b3",
    (Arbiter, "kill_worker"): "56f2ddd3f070fa2f",
    (Arbiter, "kill_workers"): "bfdd86a473366a43",
    (Arbiter, "stop"): "6d282da143042438",
    (Arbiter, "handle_term"): "b7b688ceb3e36cf8",
    (Arbiter, "handle_quit"): "aa69efaa1f0a6f3e",
    (Arbiter, "handle_usr1"): "6c166f17a1973266",
    (Arbiter, "handle_ttin"): "bf9bd0227584f7fe",
    (Arbiter, "handle_ttou"): "27697b4abfb23bed",
    # Overridden without being called: whatever they learn to do, ours must learn too.
    (Arbiter, "start"): "ae11077c16c8823e",
    (Arbiter, "manage_workers"): "abe69ba248bd1436",
    (Arbiter, "murder_workers"): "9ea65f8d320be40d",
    (Arbiter, "reap_workers"): "55215f7ac96ab95a",
    (Arbiter, "halt"): "085a1c5d94ec7caa",
    (Arbiter, "handle_hup"): "0215c85e65b2b282",
    (Arbiter, "handle_int"): "033d0938149c6248",
    (Arbiter, "handle_usr2"): "bedbd985afca0a38",
    (Arbiter, "handle_winch"): "50ec1063a4afb48e",
    (Arbiter, "maybe_promote_master"): "6d59b47518395ba5",
    (Arbiter, "reload"): "f700e5277eec9a4f",
    (Arbiter, "reexec"): "19c4cdf64dcb87c6",
    (BaseApplication, "__init__"): "30447daf8853ea5f",
    (BaseApplication, "do_load_config"): "bc4b851f735aa359",
    (BaseApplication, "load_default_config"): "1bbf5c2c182bf01a",
    (Worker, "__init__"): "dca9622e1bc2ef09",
    (Worker, "init_process"): "177e2efd8e92ca5a",
    (Worker, "init_signals"): "d155fbf2197b51b0",
    (Worker, "notify"): "cbf9e79c3738b4cc",
    (WorkerTmp, "__init__"): "db2066f634e972ea",
    (WorkerTmp, "notify"): "face312d6399e767",
    (WorkerTmp, "last_update"): "d470b4e220c76931",
    (WorkerTmp, "fileno"): "cd30164fccd3b149",
    (WorkerTmp, "close"): "b86081c73d6a8362",
    (Pidfile, "create"): "4cff5df1cfe7fad9",
    (Pidfile, "rename"): "c730d910b23c5cbc",
    (Pidfile, "unlink"): "dea426fbf6bbae71",
    (Pidfile, "validate"): "d3103a9797860a27",
}


def digest(owner: type, name: str) -> str:
    """Return what stands for the code of a method, whatever is said about it."""
    (function,) = ast.parse(textwrap.dedent(inspect.getsource(getattr(owner, name)))).body
    assert isinstance(function, ast.FunctionDef)
    if ast.get_docstring(function) is not None:
        del function.body[0]
    return hashlib.sha256(ast.unparse(function).encode()).hexdigest()[:16]


@pytest.mark.parametrize(("owner", "name"), RELIED_ON, ids=lambda part: part if isinstance(part, str) else part.__name__)
def test_what_is_relied_on_is_as_it_was(owner: type, name: str) -> None:
    assert digest(owner, name) == RELIED_ON[owner, name], f"gunicorn {version('gunicorn')} changed {owner.__name__}.{name}"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(ProxyArbiter, Arbiter), (ProxyWorker, Worker), (StandaloneWorker, Worker), (OwnPidfile, Pidfile)],
    ids=lambda owner: owner.__name__,
)
def test_everything_that_is_overridden_is_in_the_table(ours: type, theirs: type) -> None:
    overridden = {
        name for owner in ours.__mro__ if issubclass(owner, theirs) and owner is not theirs
        for name in vars(owner) if inspect.isfunction(vars(theirs).get(name))
    }  # fmt: skip
    trivial = {"load_wsgi", "handle_exit", "handle_quit", "handle_abort", "handle_usr1", "run"} if theirs is Worker else set()
    assert {(theirs, name) for name in overridden - trivial} <= set(RELIED_ON)
