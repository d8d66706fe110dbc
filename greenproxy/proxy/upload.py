"""Upload: the request body on its way to a backend, in a greenlet of its own while the response is awaited.

Both directions go on at once because a backend may answer before it has read everything (RFC 9112 section 9.5 knows it as
an early response), and because a client may wait for a 100 (Continue) that only the backend can give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from greenproxy.deadline import Patience
from greenproxy.errors import AppError, BodyTimeout, ProxyError
from greenproxy.net.recycler import Recycler
from greenproxy.net.stream import Stream
from greenproxy.protocol.body import encode_chunk, last_chunk
from greenproxy.upstream.holds import Hold


class Upload:
    """Sends `first` as it is, then `body`, chunked or as it is. `ended` is called once, with whether all of it was sent.

    `hold` is told while a client is waited for; None when the body is nobody's whom we know.
    """

    def __init__(
        self,
        first: bytes,
        body: Iterable[bytes],
        trailers: Callable[[], bytes],
        stream: Stream,
        patience: Patience,
        ended: Callable[[bool], None],
        *,
        is_chunked: bool,
        hold: Hold | None = None,
    ) -> None:
        self._first = first
        self._body = body
        self._trailers = trailers
        self._stream = stream
        self._patience = patience
        self._ended = ended
        self._is_chunked = is_chunked
        self.hold = hold
        self.has_taken = False  # pieces of the body, which nobody holds any more
        self.was_stopped = False  # on purpose: nobody is to hear how it ended
        self.was_refused = False  # the backend broke the connection while it was sent

    def start(self, recycler: Recycler) -> None:
        """Begin in a greenlet of its own."""
        recycler.spawn(self._run)

    def _run(self) -> None:
        is_whole = False
        try:
            self._send_all()
            is_whole = True
        except _Refused:
            # The backend wants no more of it. What it has to say about that, the other direction reads.
            self.was_refused = True
        except ProxyError as error:
            # The client's fault, or a backend that does not read: the exchange is over, and waits for the response.
            if not self.was_stopped:
                self._stream.interrupt(error)
        except BaseException as error:  # a body that a middleware made may raise anything: nobody else ends this greenlet
            failure = AppError()
            failure.__cause__ = error
            self._stream.interrupt(failure)
        finally:
            self._ended(is_whole)

    def _send_all(self) -> None:
        if self._is_chunked and not hasattr(self._body, "take_buffered"):  # a middleware made it
            Recycler.expose()  # what its code leaves in this greenlet must not meet the next upload
        pieces = iter(self._body)
        try:
            if self._first:
                self._send(self._first)
            while (piece := self._take(pieces)) is not None:
                self.has_taken = True
                if piece:
                    self._send(encode_chunk(piece) if self._is_chunked else piece)
        finally:
            close = getattr(pieces, "close", None)
            if close is not None:
                close()
        if self._is_chunked:
            self._send(last_chunk(self._trailers()))

    def _take(self, pieces: Iterator[bytes]) -> bytes | None:
        """Wait for the next piece of the body; None at its end."""
        hold = self.hold
        if hold is None:
            return next(pieces, None)
        with hold.waiting(BodyTimeout):
            piece = next(pieces, None)
        hold.moved(len(piece or b""))
        return piece

    def _send(self, data: bytes) -> None:
        try:
            self._stream.send(data, self._patience)
        except OSError as error:  # told apart from an OSError of the body, a file's for instance
            raise _Refused from error


class _Refused(Exception):
    """The backend broke the connection."""
