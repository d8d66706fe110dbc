"""The command line: flags and environment variables for [greenproxy], and where the rest comes from.

Flag, environment, file, default, in this order. `greenproxy --bind :8080 --backend http://127.0.0.1:9001` needs
no file: it is one listener `web` and one upstream `default`.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import configargparse

from greenproxy import __version__
from greenproxy.config.describe import default_text, metavar, sentence
from greenproxy.config.errors import ConfigError, ConfigErrors, closest
from greenproxy.config.load import ExtraCheck, Override, TryCode, assemble, load
from greenproxy.config.reader import Entry, Line, Section
from greenproxy.config.schema import CLASSES, key_name, keys_of
from greenproxy.config.settings import ProcessSettings, Settings
from greenproxy.config.user_code import try_middlewares

#: The fields of [greenproxy] as `--help` groups them.
GROUPS: Mapping[str, tuple[str, ...]] = {
    "Workers": (
        "workers",
        "worker_connections",
        "worker_timeout_s",
        "max_requests",
        "max_requests_jitter",
        "backlog",
        "reuse_port",
    ),
    "Process": ("graceful_timeout_s", "reload_timeout_s", "pid_file", "user", "group"),
    "Logs": ("access_log", "access_log_format", "error_log", "log_level"),
    "Metrics": ("statsd", "statsd_prefix", "statsd_tags"),
    "Admin": ("admin", "admin_token"),
    "Proxying": ("resolve_interval_s", "via", "server_header"),
}

#: Words that a command line may begin with, or that people try, and what they mean here.
_MEANT: Mapping[str, str] = {
    **{name: f"greenproxy {name}" for name in ("status", "reload", "stop", "demo")},
    **dict.fromkeys(("start", "run", "serve"), "greenproxy -c FILE"),
}

_USAGE = """\
greenproxy -c FILE [--check] [flags]
       greenproxy --bind ADDRESS --backend URL [flags]
       greenproxy status | reload | stop -c FILE
       greenproxy demo --bind ADDRESS [--name NAME]"""

_EPILOG = """\
Durations are 250ms, 5s, 2m, 1h; a bare number is seconds. 0 is no limit.
Each of the flags from --workers on is also a key of [greenproxy] in the file and an
environment variable: --worker-timeout, worker-timeout, GREENPROXY_WORKER_TIMEOUT. A flag
beats the environment, which beats the file. GREENPROXY_CONFIG is --config.
greenproxy status --help, and so on, tells more of a command.

examples:
  greenproxy -c greenproxy.ini --check
  greenproxy -c greenproxy.ini --workers 4 --access-log off
  greenproxy --bind :8080 --backend http://127.0.0.1:9001 --backend http://127.0.0.1:9002"""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line and the environment say; values are as written."""

    config: str = ""
    is_check: bool = False
    bind: tuple[str, ...] = ()
    backends: tuple[str, ...] = ()
    overrides: tuple[Override, ...] = ()  # keys of [greenproxy], each with the flag or variable it came from


class Parser(configargparse.ArgumentParser):  # type: ignore[misc]
    """Raises ConfigErrors where argparse prints its usage and leaves. All commands read their flags in the same way."""

    def __init__(self, **texts: Any) -> None:
        super().__init__(
            formatter_class=HelpFormatter,
            allow_abbrev=False,
            add_help=False,
            add_config_file_help=False,
            add_env_var_help=False,
            default_config_files=[],
            **texts,
        )

    def error(self, message: str) -> NoReturn:
        text = message.removeprefix("argument ")
        raise ConfigErrors([ConfigError(message=text.replace("expected one argument", "needs a value"))])


def build_parser() -> Parser:
    """Return the parser of the command line, with its help text."""
    parser = Parser(
        prog="greenproxy",
        usage=_USAGE,
        description="A proxy and load balancer for Python teams.",
        epilog=_EPILOG,
    )
    what = parser.add_argument_group("What to run")
    what.add_argument("-c", "--config", metavar="FILE", default="", env_var="GREENPROXY_CONFIG", help="the configuration file")
    what.add_argument("--check", action="store_true", help="check the configuration, print every mistake, and leave")
    for flag, value, meaning in (("--bind", "ADDRESS", "listen here"), ("--backend", "URL", "send requests here")):
        what.add_argument(flag, metavar=value, action="append", default=[], help=f"without a file: {meaning}; may be repeated")
    what.add_argument("--version", action="version", version=f"greenproxy {__version__}", help="print the version and leave")
    what.add_argument("-h", "--help", action="help", help="print this text and leave")
    fields = {field.name: field for field in dataclasses.fields(ProcessSettings)}
    for title, names in GROUPS.items():
        group = parser.add_argument_group(title)
        for name in names:
            add_flag(group, fields[name])
    return parser


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> Options:
    """Return what `argv` (without the program's name) and `environ` say. An empty variable counts as not set.

    Raises ConfigErrors for flags that do not exist or lack their value, SystemExit(0) after --help and --version.
    """
    parser = build_parser()
    variables = {name: value for name, value in environ.items() if name.startswith("GREENPROXY_") and value.strip()}
    found, unknown = parser.parse_known_args(list(argv), env_vars=variables)
    refuse_unknown(unknown, parser)
    from_environment = parser.get_source_to_settings_dict().get("environment_variables", {})
    overrides = given_keys(found, map(key_name, dataclasses.fields(ProcessSettings)), from_environment)
    config = found.config
    if (found.bind or found.backend) and "GREENPROXY_CONFIG" in from_environment:
        config = ""  # a flag beats the environment
    return Options(
        config=config, is_check=found.check, bind=tuple(found.bind), backends=tuple(found.backend), overrides=overrides
    )


def given_keys(found: argparse.Namespace, keys: Iterable[str], from_environment: Container[str]) -> tuple[Override, ...]:
    """Return those of the keys of [greenproxy] that a flag or a variable gives."""
    overrides = []
    for key in keys:
        text = getattr(found, key.replace("-", "_"))
        if text is not None:
            variable = _variable(key)
            overrides.append((key, text, variable if variable in from_environment else f"--{key}"))
    return tuple(overrides)


def refuse_unknown(words: Iterable[str], parser: Parser) -> None:
    """Raise ConfigErrors if there are words that the parser could not place."""
    unknown = [word for word in words if word != "--"]
    if unknown:
        raise ConfigErrors([_unknown(word, parser) for word in unknown if word.startswith("-")] or [_stray(unknown[0], parser)])


def load_settings(
    options: Options, environ: Mapping[str, str], extra_checks: Sequence[ExtraCheck] = (), try_code: TryCode = try_middlewares
) -> Settings:
    """Return the settings that the options stand for. Waits for user code to be tried. Raises ConfigErrors."""
    if options.config:
        if options.bind or options.backends:
            flag = "--bind" if options.bind else "--backend"
            raise ConfigErrors([ConfigError(key=flag, message=f"goes without a file, and there is {options.config}")])
        return load(options.config, environ, overrides=options.overrides, extra_checks=extra_checks, try_code=try_code)
    missing = [flag for flag, given in (("--bind", options.bind), ("--backend", options.backends)) if not given]
    if len(missing) == 2:
        raise ConfigErrors([ConfigError(message="nothing to serve: give -c FILE, or --bind and --backend")])
    if missing:
        message = "is missing: without a file both --bind and --backend are needed"
        raise ConfigErrors([ConfigError(key=missing[0], message=message)])
    return _load_without_file(options, extra_checks)


def idle_variables(environ: Mapping[str, str], settings: Settings) -> list[str]:
    """Return a line for each GREENPROXY_... variable that is no key and that the file does not use: a slip of the pen, likely."""
    known = {"CONFIG": "GREENPROXY_CONFIG"}
    for field in dataclasses.fields(ProcessSettings):
        known[_variable(key_name(field)).removeprefix("GREENPROXY_")] = _variable(key_name(field))
    lines = []
    for name, value in environ.items():
        if name.startswith("GREENPROXY_") and name not in known.values() and name not in settings.variables and value.strip():
            guess = known.get(closest(name.removeprefix("GREENPROXY_"), known), "")
            unused = ", and the file does not use it" if settings.source else ""
            hint = f" (did you mean {guess}?)" if guess else ""
            lines.append(f"{name} in the environment is no key of [greenproxy]{unused}{hint}")
    return lines


def _load_without_file(options: Options, extra_checks: Sequence[ExtraCheck]) -> Settings:
    sections = [
        _section("listener", "web", "bind", options.bind),
        _section("upstream", "default", "backends", options.backends),
    ]
    try:
        return assemble(sections, file="", folder=Path.cwd(), overrides=options.overrides, extra_checks=extra_checks)
    except ConfigErrors as errors:
        flags = {"bind": "--bind", "backends": "--backend"}
        raise ConfigErrors(
            replace(error, section="", line=0, key=flags[error.key]) if error.key in flags else error for error in errors.errors
        ) from None


def _section(kind: str, name: str, key: str, texts: Sequence[str]) -> Section:
    entry = Entry(key, 1, [Line(number, text.strip()) for number, text in enumerate(texts, 1)])
    return Section(kind, name, 1, {key: entry})


def _unknown(word: str, parser: Parser) -> ConfigError:
    flag = word.partition("=")[0]
    known = [option for action in parser._actions for option in action.option_strings]
    key = flag.removeprefix("--")
    homes = " or ".join(f"[{kind}:NAME]" for kind in CLASSES if kind != "greenproxy" and key in keys_of(kind, Path()))
    if homes:
        return ConfigError(key=flag, message=f"unknown flag; it is a key of {homes} in the file")
    return ConfigError(key=flag, message="unknown flag", suggestion=closest(flag, known))


def _stray(word: str, parser: Parser) -> ConfigError:
    suggestion = f"-c {word}" if word.endswith((".ini", ".conf", ".cfg")) else ""
    if not suggestion and parser.prog == "greenproxy":
        suggestion = _MEANT.get(closest(word, _MEANT), "")
    return ConfigError(message=f"unexpected argument {word!r}", suggestion=suggestion)


# ------------------------------------------------------------------ the help text


def _variable(key: str) -> str:
    return f"GREENPROXY_{key.upper().replace('-', '_')}"


def add_flag(group: Any, field: dataclasses.Field[Any]) -> None:
    """Add the flag and the variable of a key of [greenproxy] to a parser or a group of one."""
    key = key_name(field)
    text = f"{sentence(field)} (default: {default_text(field) or 'none'})".replace("`", "")  # those are for the reference
    group.add_argument(f"--{key}", metavar=metavar(field), default=None, env_var=_variable(key), help=text)


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """One column for flags, one for what they mean."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=34, width=110)
