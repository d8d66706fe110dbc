"""Exchange: one request on its way through the house, as the log and the metrics see it.

The server makes one per request (also for bytes that never became a request), fills it in and hands it to
`server.serve` at the end. Times are `time.monotonic()` seconds.
"""

from __future__ import annotations

from time import monotonic

from greenproxy.messages import ClientAddress, Request, Trace


class Exchange(Trace):
    """The facts of one exchange; it is also the trace of its request.

    `status` is what the client was sent (0: nothing; 499 for the log when it left first). `reason` is one of
    `errors.REASONS` or "". `bytes_in` and `bytes_out` are body bytes on the client's side. `first_line` is the request
    line as received, when no request came of it.
    """

    __slots__ = (
        "bytes_in",
        "bytes_out",
        "client",
        "ended_s",
        "first_line",
        "listener",
        "reason",
        "request",
        "started_s",
        "status",
    )

    def __init__(self, listener: str, client: ClientAddress) -> None:
        self.upstream = self.backend = ""
        self.upstream_time_s = -1.0
        self.retry_reasons = ()
        self.listener = listener
        self.client = client
        self.request: Request | None = None
        self.started_s = monotonic()
        self.ended_s = 0.0
        self.status = 0
        self.reason = ""
        self.bytes_in = 0
        self.bytes_out = 0
        self.first_line = b""
