from __future__ import annotations

from gunicorn.config import Config

from greenproxy.process.gunicorn_master import Arbiter


def test_hooks_of_the_user_are_called_too() -> None:
    called: list[str] = []
    cfg = Config()

    def pre_fork(_server: object, _worker: object) -> None:
        called.append("pre_fork")

    def pre_exec(_server: object) -> None:
        called.append("pre_exec")

    cfg.set("pre_fork", pre_fork)
    cfg.set("pre_exec", pre_exec)
    cfg.set("child_exit", lambda _server, worker: called.append(f"child_exit {worker}"))
    arbiter = Arbiter(lambda: called.append("stopping"))
    arbiter.watch(cfg, lambda _server: called.append("ours"), lambda worker: called.append(f"buried {worker}"))

    class Server:
        reexec_pid, master_pid = 0, 7

        def stop(self, graceful: bool = True) -> None:
            called.append(f"stop {graceful}")

    server = Server()
    cfg.pre_fork(server, None)
    cfg.pre_fork(server, None)
    cfg.pre_exec(server)
    cfg.child_exit(server, 9)
    server.stop(False)
    assert called == ["pre_fork", "pre_fork", "pre_exec", "ours", "buried 9", "child_exit 9", "stopping", "stop False"]
    assert arbiter.is_one_of_two
