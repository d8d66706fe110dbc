"""What becomes of each setting of gunicorn when its workers are ours: one table, which docs/gunicorn.md shows.

A setting that is not in the table is one that a newer gunicorn has brought: a test fails then, and somebody must decide.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Fate(Enum):
    """What becomes of a setting; the value is the heading of its table in the documentation."""

    OURS = "becomes a key of greenproxy, and beats the file"
    GUNICORNS = "is gunicorn's own, and works as ever"
    NOTHING = "means nothing here"
    REFUSED = "is refused"


@dataclass(frozen=True)
class Setting:
    """A setting's fate, and a note: for OURS the key that it becomes, else what is to be known."""

    fate: Fate
    note: str = ""


def _all(fate: Fate, notes: Mapping[str, str]) -> dict[str, Setting]:
    return {name: Setting(fate, note) for name, note in notes.items()}


_FIRST = "of the first http listener"
_OURS = {
    "bind": f"`bind` {_FIRST}, always",
    "workers": "`workers`, always",
    "worker_connections": "`worker-connections`",
    "max_requests": "`max-requests`",
    "max_requests_jitter": "`max-requests-jitter`",
    "timeout": "`worker-timeout`",
    "graceful_timeout": "`graceful-timeout`",
    "keepalive": f"`idle-timeout` {_FIRST}; 0 is `keepalive-requests = 1`",
    "limit_request_line": f"`max-uri` {_FIRST}, and room for it in `max-header-size`",
    "limit_request_fields": f"`max-headers` {_FIRST}, and room for them in `max-header-size`",
    "limit_request_field_size": f"room in `max-header-size` {_FIRST}",
    "forwarded_allow_ips": f"`trusted-proxies` {_FIRST}",
    "certfile": f"`tls-certificate` {_FIRST}, the only one then",
    "keyfile": f"`tls-key` {_FIRST}",
    "ca_certs": f"`tls-client-ca` {_FIRST}, with `cert_reqs`",
    "cert_reqs": f"`tls-client` {_FIRST}: 1 is optional, 2 required",
    "accesslog": "`access-log`",
    "statsd_host": "`statsd`; not a Unix socket",
    "statsd_prefix": "`statsd-prefix`",
    "dogstatsd_tags": "`statsd-tags`",
}
_GUNICORNS = {
    "config": "",
    "wsgi_app": "names the configuration file where the command line names none",
    "backlog": "for the other listeners too",
    "worker_class": "a name, or the class itself",
    "check_config": "not with a file: gunicorn looks for an application first; `greenproxy -c FILE --check` checks",
    "print_config": "prints, then fails as `check_config` does",
    "spew": "",
    "reload": "watches the configuration file too; a mistake in it keeps what is served",
    "reload_engine": "always `poll`: inotify would block the worker",
    "reload_extra_files": "",
    "preload_app": "nothing more to do: the file is read before the fork anyway, middleware is imported in the workers",
    "reuse_port": "for gunicorn's addresses; see below",
    "chdir": "relative names of files count from there",
    "daemon": "",
    "raw_env": "`GREENPROXY_...` too",
    "pidfile": "",
    "worker_tmp_dir": "",
    "user": "owns the Unix sockets of the other listeners too",
    "group": "owns the Unix sockets of the other listeners too",
    "umask": "for the Unix sockets of the other listeners too",
    "initgroups": "always, if there is a `user`: root's own groups are left",
    "pythonpath": "middleware is found there too",
    "errorlog": "our lines too",
    "loglevel": "our lines too",
    "capture_output": "",
    "logger_class": "our lines go to its `error_log`",
    "logconfig": "our lines go to `gunicorn.error`, access lines to no logger",
    "logconfig_dict": "the same",
    "logconfig_json": "the same",
    "syslog": "the error log only; access lines go to `access-log`",
    "syslog_addr": "",
    "syslog_prefix": "",
    "syslog_facility": "",
    "enable_stdio_inheritance": "",
    "enable_backlog_metric": "of gunicorn's addresses",
    "proc_name": "",
    "default_proc_name": "",
    "on_starting": "",
    "on_reload": "",
    "when_ready": "",
    "pre_fork": "",
    "post_fork": "",
    "post_worker_init": "",
    "worker_int": "",
    "worker_abort": "",
    "pre_exec": "",
    "child_exit": "",
    "worker_exit": "",
    "nworkers_changed": "",
    "on_exit": "",
    "control_socket": "",
    "control_socket_mode": "",
    "control_socket_disable": "",
}
_WSGI, _TLS, _H2, _ASGI, _DIRTY = (
    "WSGI only",
    "TLS has our own settings ([tls.md](tls.md))",
    "there is no HTTP/2",
    "ASGI only",
    "nobody asks dirty workers",
)
_STRICT = "requests are read by our own rules ([http.md](http.md))"
_NOTHING = {
    "threads": "a worker has one, and thousands of greenlets",
    "sendfile": _WSGI,
    "tmp_upload_dir": _WSGI,
    "secure_scheme_headers": "`trusted-proxies` are believed what they say in X-Forwarded-Proto and Forwarded",
    "disable_redirect_access_to_syslog": "access lines go to `access-log`",
    "access_log_format": "`access-log-format` is combined or json",
    "pre_request": "write a middleware ([middleware.md](middleware.md))",
    "post_request": "write a middleware ([middleware.md](middleware.md))",
    "ssl_context": _TLS,
    "ssl_version": _TLS,
    "suppress_ragged_eofs": _TLS,
    "do_handshake_on_connect": _TLS,
    "ciphers": _TLS,
    "proxy_allow_ips": "there is no PROXY protocol",
    "uwsgi_allow_ips": "there is no uWSGI protocol",
    "http_protocols": _H2,
    "http2_cleartext": _H2,
    "http2_max_concurrent_streams": _H2,
    "http2_initial_window_size": _H2,
    "http2_max_frame_size": _H2,
    "http2_max_header_list_size": _H2,
    "raw_paste_global_conf": _WSGI,
    "permit_obsolete_folding": _STRICT,
    "strip_header_spaces": _STRICT,
    "permit_unconventional_http_method": _STRICT,
    "permit_unconventional_http_version": _STRICT,
    "casefold_http_method": _STRICT,
    "http_parser": _STRICT,
    "forwarder_headers": _WSGI,
    "header_map": _WSGI,
    "root_path": _WSGI,
    "asgi_loop": _ASGI,
    "asgi_lifespan": _ASGI,
    "asgi_disconnect_grace_period": _ASGI,
    "websocket_max_message_size": _ASGI,
    "dirty_apps": _DIRTY,
    "dirty_workers": _DIRTY,
    "dirty_timeout": _DIRTY,
    "dirty_threads": _DIRTY,
    "dirty_graceful_timeout": _DIRTY,
    "on_dirty_starting": _DIRTY,
    "dirty_post_fork": _DIRTY,
    "dirty_worker_init": _DIRTY,
    "dirty_worker_exit": _DIRTY,
}
_REFUSED = {
    "proxy_protocol": "the PROXY protocol is not available in this version",
    "protocol": "only HTTP is spoken in this version",
    "paste": "a configuration file of greenproxy is no PasteDeploy file",
}
SETTINGS: Mapping[str, Setting] = {
    **_all(Fate.OURS, _OURS),
    **_all(Fate.GUNICORNS, _GUNICORNS),
    **_all(Fate.NOTHING, _NOTHING),
    **_all(Fate.REFUSED, _REFUSED),
}
#: Settings whose default is what this variable says: who sets it, sets them.
_VARIABLES = {"forwarded_allow_ips": "FORWARDED_ALLOW_IPS"}


def given(cfg: Any, name: str) -> Any:
    """Return a gunicorn setting if somebody set it to something else than gunicorn's default, else None."""
    setting = cfg.settings[name]
    value = setting.get()
    if _VARIABLES.get(name, "") in os.environ:
        return value
    return None if value == type(setting)().get() else value


def given_with(cfg: Any, fate: Fate) -> list[str]:
    """Return the names of the settings of one fate that somebody gave, in the order of the table."""
    return [name for name, setting in SETTINGS.items() if setting.fate is fate and given(cfg, name) is not None]


def rows(fate: Fate) -> Iterator[str]:
    """Yield the lines of the table in docs/gunicorn.md for one fate."""
    for name, setting in SETTINGS.items():
        if setting.fate is fate:
            yield f"| `{name}` | {setting.note} |"
