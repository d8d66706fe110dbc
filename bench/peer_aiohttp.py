"""What many a Python team has in place of a proxy: a streaming reverse proxy on aiohttp and uvloop, as its manual teaches it.

`peer_aiohttp.py PORT TLS_PORT PEM ORIGIN...`. It passes on what greenproxy passes on, keeps its connections to the origins, and
streams bodies both ways; it has no checks, retries, limits or metrics.
"""

from __future__ import annotations

import asyncio
import itertools
import ssl
import sys

import uvloop
from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector, web
from multidict import CIMultiDict
from yarl import URL

_HOP_BY_HOP = ("Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer", "Transfer-Encoding", "Upgrade")
_SMALL_BYTES = 65536


class Proxy:
    """Passes requests on to the origins in turn."""

    def __init__(self, session: ClientSession, origins: list[str]) -> None:
        self._session = session
        self._origins = itertools.cycle(origins)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Ask an origin, and answer what it answers."""
        url = URL(next(self._origins) + request.raw_path, encoded=True)
        fields = _end_to_end(request.headers)
        fields["X-Forwarded-For"] = request.remote or ""
        fields["X-Forwarded-Proto"] = request.scheme
        body = request.content if request.body_exists else None
        async with self._session.request(request.method, url, headers=fields, data=body, allow_redirects=False) as answer:
            fields = _end_to_end(answer.headers)
            if answer.content_length is not None and answer.content_length <= _SMALL_BYTES:
                return web.Response(status=answer.status, headers=fields, body=await answer.read())
            response = web.StreamResponse(status=answer.status, headers=fields)
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response


def _end_to_end(headers: CIMultiDict[str]) -> CIMultiDict[str]:
    """Return a copy of header fields without those that belong to one connection (RFC 9110 section 7.6.1)."""
    kept = CIMultiDict(headers)
    for name in (*_HOP_BY_HOP, *(name.strip() for name in headers.get("Connection", "").split(",") if name.strip())):
        kept.popall(name, None)
    return kept


async def main(port: int, secure_port: int, pem: str, origins: list[str]) -> None:
    """Serve until the process is ended."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    connector = TCPConnector(limit=0, keepalive_timeout=600)
    options = {"auto_decompress": False, "cookie_jar": DummyCookieJar(), "timeout": ClientTimeout(total=None, sock_read=60)}
    async with ClientSession(connector=connector, **options) as session:
        runner = web.ServerRunner(web.Server(Proxy(session, origins).handle, access_log=None, keepalive_timeout=600))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, backlog=4096).start()
        await web.TCPSite(runner, "127.0.0.1", secure_port, backlog=4096, ssl_context=context).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:]))
