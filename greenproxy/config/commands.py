"""The commands that act on a running greenproxy: their flags, and the few keys of [greenproxy] that they need.

An operator stops a proxy whose file is broken by now, and from a shell that has none of the file's variables. So only those
keys are read that a command asks for, and nothing but a mistake in one of them is one. No user code is tried.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from greenproxy.config.errors import ConfigError, ConfigErrors
from greenproxy.config.load import Override
from greenproxy.config.options import Parser, add_flag, given_keys, refuse_unknown
from greenproxy.config.reader import Reader
from greenproxy.config.schema import key_name
from greenproxy.config.sections import SectionBuilder
from greenproxy.config.settings import ProcessSettings

#: What each command does, and the keys that it may ask for.
COMMANDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "status": (
        "Prints what a running greenproxy does: workers, listeners, certificates, upstreams and their backends.",
        ("admin", "admin-token"),
    ),
    "reload": (
        "Lets a running greenproxy read its configuration again, and waits until that is over.",
        ("pid-file", "admin", "admin-token"),
    ),
    "stop": (
        "Stops a running greenproxy, after the requests in flight, and waits until it has gone.",
        ("pid-file", "graceful-timeout", "admin", "admin-token"),
    ),
}

_EPILOGS = {
    "status": """\
Asks the admin listener. exit status: 0 printed, 1 nobody answers, 2 the command line or the file is wrong""",
    "reload": """\
Sends HUP to the process that the pid file names, or that the admin listener tells, and hears from the
admin listener how it went. exit status: 0 reloaded, 1 refused, undone or not to be heard, 2 the command
line or the file is wrong""",
    "stop": """\
Sends TERM to the process that the pid file names, or that the admin listener tells.
exit status: 0 it has gone, 1 it has not, or nothing ran, 2 the command line or the file is wrong""",
}


@dataclass(frozen=True, kw_only=True)
class Command:
    """What the command line and the environment say; values are as written."""

    name: str
    config: str = ""
    is_json: bool = False
    overrides: tuple[Override, ...] = ()

    def process(self, environ: Mapping[str, str], keys: Collection[str]) -> ProcessSettings:
        """Return [greenproxy] as far as `keys` go. Raises ConfigErrors if one of them is wrong, or the file cannot be read."""
        overrides = [override for override in self.overrides if override[0] in keys]
        section, errors, folder = None, [], Path.cwd()
        if self.config:
            text, folder = _text(self.config), Path(self.config).absolute().parent
            reader = Reader(text, self.config, environ)
            section = next((section for section in reader.sections if section.kind == "greenproxy"), None)
            errors = [error for error in reader.errors if error.section == "greenproxy" and error.key in keys]
            if section is not None:
                section.entries = {key: entry for key, entry in section.entries.items() if key in keys}
        builder = SectionBuilder(self.config, folder)
        settings = builder.process(section, overrides)
        if errors or builder.errors:
            raise ConfigErrors([*errors, *builder.errors])
        return settings


def _text(file: str) -> str:
    try:
        return Path(file).read_bytes().decode(errors="surrogateescape")
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        raise ConfigErrors([ConfigError(file=file, message=reason.lower())]) from None


class _CommandParser(Parser):
    """Names the command in what it says is wrong."""

    def error(self, message: str) -> NoReturn:
        try:
            super().error(message)
        except ConfigErrors as errors:
            raise _of_command(self.prog, errors) from None


def _of_command(program: str, errors: ConfigErrors) -> ConfigErrors:
    return ConfigErrors(dataclasses.replace(error, file=program) for error in errors.errors)


def parse_command(name: str, argv: Sequence[str], environ: Mapping[str, str]) -> Command:
    """Return what `argv` (without the command) and `environ` say. An empty variable counts as not set.

    Raises ConfigErrors for flags that do not exist or lack their value, SystemExit(0) after --help.
    """
    parser = _parser(name)
    variables = {name: value for name, value in environ.items() if name.startswith("GREENPROXY_") and value.strip()}
    found, unknown = parser.parse_known_args(list(argv), env_vars=variables)
    try:
        refuse_unknown(unknown, parser)
    except ConfigErrors as errors:
        raise _of_command(parser.prog, errors) from None
    from_environment = parser.get_source_to_settings_dict().get("environment_variables", {})
    overrides = given_keys(found, COMMANDS[name][1], from_environment)
    return Command(name=name, config=found.config, is_json=getattr(found, "json", False), overrides=overrides)


def _parser(name: str) -> _CommandParser:
    description, keys = COMMANDS[name]
    parser = _CommandParser(
        prog=f"greenproxy {name}",
        description=description,
        epilog=_EPILOGS[name],
    )
    what = parser.add_argument_group("flags")
    what.add_argument("-c", "--config", metavar="FILE", default="", env_var="GREENPROXY_CONFIG", help="the configuration file")
    if name == "status":
        what.add_argument("--json", action="store_true", help="print the whole document as JSON")
    fields = {key_name(field): field for field in dataclasses.fields(ProcessSettings)}
    for key in keys:
        add_flag(what, fields[key])
    what.add_argument("-h", "--help", action="help", help="print this text and leave")
    return parser
