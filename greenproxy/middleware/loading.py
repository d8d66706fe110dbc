"""Loading: from the `type` of a `[middleware:*]` section to a middleware."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import NamedTuple

from greenproxy.config.settings import MiddlewareSettings
from greenproxy.messages import Middleware
from greenproxy.middleware import headers, request_id
from greenproxy.middleware.chain import BoundMiddleware


class LoadError(ValueError):
    """A middleware cannot be had. `str()` is one sentence for the user; the cause is chained where there is one."""


class BuiltIn(NamedTuple):
    """A middleware of ours: `check` raises ValueError for wrong options, `make` returns the middleware."""

    check: Callable[[Mapping[str, str]], None]
    make: Callable[[Mapping[str, str]], Middleware]


BUILT_INS: dict[str, BuiltIn] = {
    "headers": BuiltIn(headers.check, headers.make),
    "request-id": BuiltIn(request_id.check, request_id.make),
}


def check(settings: MiddlewareSettings) -> None:
    """Raise LoadError unless `load` would succeed with these settings. Imports user code."""
    bind(settings)


def bind(settings: MiddlewareSettings) -> BoundMiddleware:
    """Return the middleware of a section, ready for a chain. Imports and may call user code; raises LoadError."""
    options = dict(settings.options)
    built_in = BUILT_INS.get(settings.type)
    if built_in is None:
        return BoundMiddleware(settings.name, load(settings.type, options), settings.timeout_s)
    try:
        return BoundMiddleware(settings.name, built_in.make(options), settings.timeout_s, is_user_code=False)
    except ValueError as error:
        raise LoadError(str(error)) from error


def load(spec: str, options: Mapping[str, str]) -> Middleware:
    """Return the middleware that `package.module:name` names. Raises LoadError.

    Without options the object is the middleware; with options it is called once with them as keyword strings (`-`
    becomes `_`) and returns it.
    """
    found = _find(spec)
    if options:
        found = _call(spec, found, {key.replace("-", "_"): text for key, text in options.items()})
    if not callable(found):
        verb = "returned" if options else "is"
        raise LoadError(f"{spec} {verb} {type(found).__name__}, which cannot be called with (request, call_next)")
    return found


def _find(spec: str) -> object:
    module_name, colon, path = spec.partition(":")
    if not (module_name and colon and path):
        known = ", ".join(sorted(BUILT_INS))
        raise LoadError(f"{spec!r} is neither a built-in ({known}) nor package.module:callable")
    try:
        found: object = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # importing runs code of others, which may do anything
        if isinstance(error, ModuleNotFoundError) and error.name and (module_name + ".").startswith(error.name + "."):
            raise LoadError(f"there is no module {error.name}") from error
        raise LoadError(f"importing {module_name} failed: {type(error).__name__}: {error}") from error
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError as error:
            raise LoadError(f"module {module_name} has no {path}") from error
    return found


def _call(spec: str, factory: object, keywords: dict[str, str]) -> object:
    if not callable(factory):
        raise LoadError(f"{spec} is {type(factory).__name__}, which cannot be called with the keys of its section")
    try:
        return factory(**keywords)
    except (Exception, SystemExit) as error:  # code of others
        raise LoadError(f"{spec}({', '.join(sorted(keywords))}) failed: {type(error).__name__}: {error}") from error
