"""What TLS connections share: certificates, chosen by the name that a client asks for, and what is spoken.

Made in the master before it forks, for two reasons: a worker may have no right to read the keys any more, and the keys of session
tickets are made with a context, so that a session begun in one worker is resumed in any other.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

from gevent.ssl import SSLContext

from greenproxy.certificates import BadPair, Facts, examine
from greenproxy.config.settings import ListenerSettings, Settings

#: Mozilla's "intermediate", for TLS 1.2; those of 1.3 are OpenSSL's own. Without DHE, whose parameters would be one more file.
CIPHERS = ":".join(
    (
        "ECDHE-ECDSA-AES128-GCM-SHA256",
        "ECDHE-RSA-AES128-GCM-SHA256",
        "ECDHE-ECDSA-AES256-GCM-SHA384",
        "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305",
        "ECDHE-RSA-CHACHA20-POLY1305",
    )
)
_VERIFY = {"required": ssl.CERT_REQUIRED, "optional": ssl.CERT_OPTIONAL}


class ServerContext(SSLContext):
    """The context of a listener. `certificates` has the file of each that it serves, and what that said when it was loaded."""

    certificates: tuple[tuple[str, Facts], ...] = ()


def tls_contexts(settings: Settings) -> dict[str, ServerContext]:
    """Return the context of each listener with certificates, by the listener's name. Reads files.

    Raises BadPair (of greenproxy.certificates), which names the listener's section, or OSError.
    """
    contexts = {}
    for each in settings.listeners:
        if each.tls_certificate:
            try:
                contexts[each.name] = context_of(each)
            except BadPair as error:
                raise BadPair(f"[listener:{each.name}] {error}", is_key=error.is_key) from None
    return contexts


def context_of(listener: ListenerSettings) -> ServerContext:
    """Return the context of a listener: that of its first certificate, which gives way to others by SNI."""
    keys = listener.tls_key or ("",) * len(listener.tls_certificate)
    by_name: dict[str, SSLContext] = {}
    contexts, known = [], []
    for certificate, key in zip(listener.tls_certificate, keys, strict=True):
        facts = examine(certificate, key)  # first: it says better what is wrong
        context = _context(certificate, key, listener)
        contexts.append(context)
        known.append((certificate, facts))
        for name in facts.names:
            by_name.setdefault(name, context)
    if len(contexts) > 1:
        _choose_by_name(contexts[0], by_name)
    contexts[0].certificates = tuple(known)
    return contexts[0]


def _context(certificate: str, key: str, listener: ListenerSettings) -> ServerContext:
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(CIPHERS)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE  # all of them are good: the client knows what its processor does best
    context.set_alpn_protocols(["http/1.1"])
    context.num_tickets = 1  # each session that is resumed brings another: a second one would cost 15 us per handshake
    context.load_cert_chain(certificate, key or None, password="")
    if listener.tls_client_ca:
        context.load_verify_locations(listener.tls_client_ca)
        context.verify_mode = _VERIFY[listener.tls_client]
    return context


def _choose_by_name(default: SSLContext, by_name: Mapping[str, SSLContext]) -> None:
    def choose(connection: Any, name: str | None, _context: Any) -> None:
        if name is not None:
            found = find(by_name, name)
            if found is not None and found is not default:
                connection.context = found

    # gevent's own setter wraps the callback for its sockets alone, and what calls it here is no socket.
    plain: Any = SSLContext.__base__
    plain.sni_callback.__set__(default, choose)


def find(by_name: Mapping[str, SSLContext], name: str) -> SSLContext | None:
    """Return whose certificate has a name: itself, or with `*` for its first label (RFC 6125 section 6.4.3)."""
    name = name.lower().removesuffix(".")
    return by_name.get(name) or by_name.get(f"*.{name.partition('.')[2]}")
