"""Names that are settled for later versions: refused by name, never unknown and never silently accepted."""

from __future__ import annotations

NOT_AVAILABLE = "not available in this version"

PROTOCOLS = ("tcp", "forward", "echo")
BALANCE = ("least-connections", "power-of-two", "ip-hash", "consistent-hash", "adaptive")
BACKEND_SCHEMES = ("https", "tcp", "tls")
SECTIONS = ("app",)

#: Built-in middleware to come, and other names for what people will look for.
MIDDLEWARE = (
    "rate-limit",
    "access-control",
    "basic-auth",
    "bearer-auth",
    "body-limit",
    "buffer",
    "cache",
    "compress",
    "concurrency-limit",
    "cors",
    "csrf",
    "error-pages",
    "fault-injection",
    "forward-auth",
    "gzip",
    "ip-allow",
    "ip-deny",
    "ip-filter",
    "jwt",
    "maintenance",
    "oauth",
    "oidc",
    "redirect",
    "rewrite",
    "security-headers",
    "session",
    "trace-context",
    "tracing",
)

_PROCESS: tuple[str, ...] = ()

_LISTENER = (
    "allow",
    "allow-private",
    "deny",
    "max-connections-per-client",
    "max-hosts",
    "parent",
    "proxy-protocol",
    "session-timeout",
    "tunnel-drain",
    "tunnel-timeout",
    "upgrade",
    "users",
)

_UPSTREAM = (
    "adaptive-limit",
    "breaker",
    "breaker-errors",
    "breaker-slow",
    "breaker-trials",
    "breaker-window",
    "deadline-header",
    "hash-key",
    "max-connections",
    "max-ejected",
    "max-in-flight",
    "mirror",
    "panic-threshold",
    "per-try-timeout",
    "retry-backoff",
    "retry-budget",
    "retry-buffer",
    "send-proxy",
    "session-timeout",
    "slow-start",
    "sticky-cookie",
    "sticky-secret",
    "tls-ca",
    "tls-client-certificate",
    "tls-client-key",
    "tls-pin",
    "tls-server-name",
    "tls-verify",
    "tunnel-drain",
    "tunnel-timeout",
    "upgrade",
)

#: The keys to come, by kind of section.
KEYS: dict[str, tuple[str, ...]] = {
    "greenproxy": _PROCESS,
    "listener": _LISTENER,
    "upstream": _UPSTREAM,
    "route": (*_UPSTREAM, "allow", "app", "deny", "sni"),
    "middleware": (),
    "demo": (),
}


#: Families of such keys, and the sections in which all of a family are still to come.
_FAMILIES = {"tls-": ("upstream", "route"), "breaker-": ("upstream", "route"), "sticky-": ("upstream", "route")}


def is_later_key(kind: str, key: str) -> bool:
    """Return whether `key` is settled for sections of this kind, or begins as a family of such keys does."""
    return key in KEYS[kind] or any(key.startswith(family) and kind in kinds for family, kinds in _FAMILIES.items())
