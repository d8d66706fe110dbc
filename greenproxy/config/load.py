"""A file in, settings out: reads, builds, links and tries, and reports every mistake at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from greenproxy.config.errors import ConfigError, ConfigErrors
from greenproxy.config.later import NOT_AVAILABLE, SECTIONS
from greenproxy.config.reader import Reader, Section
from greenproxy.config.references import Drafts, Linker
from greenproxy.config.sections import SectionBuilder
from greenproxy.config.settings import MiddlewareSettings, Settings
from greenproxy.config.user_code import try_middlewares

#: (key, text, origin): a key of [greenproxy] that a flag or an environment variable, the origin, gives.
Override = tuple[str, str, str]
ExtraCheck = Callable[[Settings], Iterable[ConfigError]]
#: Takes middlewares with user code and the folder of the file; returns what is wrong, by name of the middleware.
TryCode = Callable[[Sequence[MiddlewareSettings], Path], Mapping[str, str]]


def load(
    path: str | os.PathLike[str],
    environ: Mapping[str, str],
    *,
    overrides: Sequence[Override] = (),
    extra_checks: Sequence[ExtraCheck] = (),
    try_code: TryCode = try_middlewares,
) -> Settings:
    """Return the settings of a file.

    `environ` fills `${NAME}`. `overrides` beat the file's [greenproxy]. Each of `extra_checks` sees the settings as
    far as they are right, and adds its mistakes. `try_code` imports user code: in child processes, waited for.
    Raises ConfigErrors.
    """
    file = os.fspath(path)
    try:
        text = Path(path).read_bytes().decode(errors="surrogateescape")
    except (OSError, ValueError) as error:  # ValueError: a path with a null character
        reason = (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
        raise ConfigErrors([ConfigError(file=file, message=reason.lower())]) from None
    reader = Reader(text, file, environ)
    folder = Path(path).absolute().parent
    settings = assemble(
        reader.sections,
        file=file,
        folder=folder,
        errors=reader.errors,
        overrides=overrides,
        extra_checks=extra_checks,
        try_code=try_code,
    )
    return replace(settings, variables=frozenset(reader.variables))


def assemble(
    sections: Sequence[Section],
    *,
    file: str,
    folder: Path,
    errors: Iterable[ConfigError] = (),
    overrides: Sequence[Override] = (),
    extra_checks: Sequence[ExtraCheck] = (),
    try_code: TryCode = try_middlewares,
) -> Settings:
    """Return the settings of these sections; `file` is empty when they come from flags. Raises ConfigErrors."""
    builder = SectionBuilder(file, folder)
    builder.errors.extend(errors)
    drafts = Drafts()
    main = None
    for section in sections:
        if section.kind == "greenproxy":
            main = section
        else:
            _draft(section, builder, drafts)
    process = builder.process(main, overrides)
    settings = Linker(sections, builder, file).link(process, drafts, Path(file) if file else None)
    given = frozenset(main.entries if main else ()) | {key for key, _, _ in overrides}
    settings = replace(settings, process_keys=given, warnings=tuple(str(warning) for warning in builder.warnings))
    _try_user_code(builder, drafts, folder, try_code)
    for check in extra_checks:
        builder.errors.extend(check(settings))
    if builder.errors:
        raise ConfigErrors(builder.errors)
    return settings


def _draft(section: Section, builder: SectionBuilder, drafts: Drafts) -> None:
    match section.kind:
        case "listener":
            if listener := builder.listener(section):
                drafts.listeners.append((section, listener))
        case "upstream":
            if upstream := builder.upstream(section):
                drafts.upstreams.append((section, upstream))
        case "route":
            if route := builder.route(section):
                drafts.routes.append((section, route))
        case "middleware":
            if middleware := builder.middleware(section):
                drafts.middlewares.append((section, middleware))
        case "demo":
            if demo := builder.demo(section):
                drafts.demos.append((section, demo))
        case kind:
            assert kind in SECTIONS
            builder.fail(section, section.line, NOT_AVAILABLE)


def _try_user_code(builder: SectionBuilder, drafts: Drafts, folder: Path, try_code: TryCode) -> None:
    user_written = [(section, middleware) for section, middleware in drafts.middlewares if ":" in middleware.type]
    if not user_written:
        return
    failures = try_code([middleware for _, middleware in user_written], folder)
    for section, middleware in user_written:
        if middleware.name in failures:
            builder.fail(section, section.entries["type"].line, failures[middleware.name], key="type")
