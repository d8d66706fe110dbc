"""HTTP/1.1 connections of clients, from their first byte to their last.

A connection that waits for a request (its first, its next, or the rest of a head) is parked: it holds a socket, a watcher and
what of a head has come, but no greenlet and no timer. Its listener sweeps those that wait too long. A complete head wakes
a recycled greenlet, which serves exchanges until there is nothing more to read.
"""

from __future__ import annotations

from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any

from gevent.hub import getcurrent

from greenproxy.deadline import NEVER, Limit
from greenproxy.errors import ClientError, ClientGone, HeaderTimeout, MethodNotAllowed, ProxyError, Stopped
from greenproxy.exchange import Exchange
from greenproxy.messages import NO_BODY, ClientAddress, Request
from greenproxy.net.stream import Stream
from greenproxy.protocol.forwarding import effective_client
from greenproxy.protocol.http1 import RequestHead, find_head_end, parse_request_head
from greenproxy.protocol.target import parse_target
from greenproxy.server.body import ClientBody
from greenproxy.server.reply import Reply

if TYPE_CHECKING:
    from greenproxy.server.front import Front, Waiting

HEAD_READ_BYTES = 32 * 1024
MOST_REMEMBERED_BYTES = 1024  # of a head; of each length the last one is remembered
HALF_CLOSED_GRACE_S = 1.0  # how long the answer to a client that ended its side may take to begin, and pause
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE")


class Connection:
    """One client's connection. All callbacks run in the hub, `_serve` and below in a recycled greenlet."""

    __slots__ = ("_front", "_grace", "_greenlet", "_is_last", "_served", "buffer", "peer", "served", "since_s", "stream")

    def __init__(self, front: Front, stream: Stream, address: Any) -> None:
        self._front = front
        # What accept() says of a Unix socket is the client's own path, or nothing.
        self.peer = ClientAddress(address[0], address[1]) if isinstance(address, tuple) else ClientAddress("unix:", 0)
        self._greenlet: Any = None  # the one that serves an exchange now
        self._grace: Any = None  # a timer, there while a client that ended its side may still listen
        self._is_last = False  # the client said that it sends no further request
        self._served: Exchange | None = None  # the exchange that is served now
        self.stream = stream
        self.buffer = b""  # what was read behind the last head or body
        self.served = 0
        self.since_s = monotonic()
        self._park(front.idle)

    # -------------------------------------------------------------- waiting without a greenlet

    def _park(self, among: dict[Waiting, None]) -> None:
        """Wait among these, since `since_s`."""
        among[self] = None
        self.stream.park(self._wake)

    def _wake(self) -> None:
        self._front.recycler.run(self._serve)

    def give_up_waiting(self) -> None:
        """End a wait that took too long or is no longer wanted: silent connections close, half a head gets a 408.

        A request that has arrived in this very turn of the loop, be it a part of it, has the time of a head: closing would answer
        it with a reset.
        """
        front = self._front
        if front.reading.pop(self, self) is None:
            self.stream.unpark()
            front.recycler.spawn(lambda: self._refuse(HeaderTimeout()))
        elif not self.stream.has_arrived():
            self.close()
        else:
            front.idle.pop(self, None)
            self.since_s = monotonic()
            self._park(front.reading)  # again: TLS has fetched it meanwhile, and the socket will not tell of it

    # -------------------------------------------------------------- reading heads

    def _serve(self) -> None:
        """Serve what has arrived, until there is nothing more to read or nothing more to say."""
        front = self._front
        try:
            data = self.stream.recv_now(HEAD_READ_BYTES)
        except OSError:
            data = b""
        if data is None:  # woken for nothing
            self.stream.park(self._wake)
            return
        front.idle.pop(self, None)
        if not data:
            front.reading.pop(self, None)
            self.close()
            return
        searched = len(self.buffer)
        self.buffer = self.buffer + data if searched else data
        self._serve_buffer(searched)

    def _serve_buffer(self, searched: int = 0) -> None:
        """Serve the requests that were read already. What others left in this greenlet must not meet the next of them."""
        recycler = self._front.recycler
        try:
            while self._serve_next(searched):
                searched = 0
                if recycler.is_exposed():
                    self.stream.unpark()
                    recycler.spawn(self._serve_buffer)
                    return
        except BaseException:  # killed: nobody will come back to it
            self.close()
            raise

    def _serve_next(self, searched: int) -> bool:
        """Serve the next request of the buffer. Returns whether there may be another."""
        front = self._front
        if self.stream.is_closed:
            return False
        buffer = self.buffer
        # Clients that ask for the same thing again send the same bytes: comparing them saves a tenth of the request.
        recent = front.recent.get(len(buffer))
        if recent is not None and recent[0] == buffer:
            head = recent[1]
            self.buffer = b""
        else:
            try:
                found = self._read_head(searched)
            except ClientError as error:
                self._refuse(error)
                return False
            if found is None:
                return False
            head = found
        front.reading.pop(self, None)
        if not self._exchange(head):
            return False
        if self.buffer:
            return True
        front.idle[self] = None
        self.stream.park(self._wake)
        return False

    def _read_head(self, searched: int) -> RequestHead | None:
        """Take the next head out of the buffer; None, and wait for more, if it is not there as a whole."""
        front, buffer = self._front, self.buffer
        end = find_head_end(buffer, front.limits, searched)
        if end < 0:
            if self not in front.reading:
                self.since_s = monotonic()
                self._park(front.reading)
            else:
                self.stream.park(self._wake)
            return None
        head = parse_request_head(buffer[:end], front.limits)
        if end == len(buffer) <= MOST_REMEMBERED_BYTES:
            front.recent[end] = buffer, head
        self.buffer = buffer[end:]
        return head

    def refuse(self, error: ClientError) -> None:
        """Answer what was read, which is no request, and close. May be called from the hub."""
        self.stream.unpark()
        self._front.idle.pop(self, None)
        self._front.recycler.spawn(lambda: self._refuse(error))

    def _refuse(self, error: ClientError) -> None:
        """Answer bytes that are no request, and close."""
        front = self._front
        front.reading.pop(self, None)
        exchange = Exchange(front.name, self.peer)
        exchange.first_line = self.buffer[:256].split(b"\r\n", 1)[0]
        reply = Reply(front, self.stream, exchange, is_http11=True, is_head_request=False, keep_alive=False)
        try:
            front.funnel.refuse(exchange, error, reply)
        except BaseException:  # killed: nobody will come back to it
            self.close()
            raise
        self._linger()

    # -------------------------------------------------------------- one exchange

    def _exchange(self, head: RequestHead) -> bool:
        """Serve one request. Returns whether the connection is good for another."""
        front = self._front
        self.served += 1
        keep_alive = head.keep_alive and not front.is_draining and self.served != front.keepalive_requests
        exchange = Exchange(front.name, self.peer)
        reply = Reply(front, self.stream, exchange, head.minor == 1, head.method == b"HEAD", keep_alive)
        self._is_last = not head.keep_alive
        self._served = exchange
        self._greenlet = getcurrent()
        try:
            try:
                if head.content_length or head.is_chunked:
                    reply.body = self._body(head, exchange, reply)
                request = self._request(head, exchange, reply)
            except ProxyError as error:
                exchange.first_line = b"%b %b HTTP/1.%d" % (head.method, head.target, head.minor)
                front.funnel.refuse(exchange, error, reply)
            else:
                self.stream.park(self._client_stirs)
                front.funnel.serve(exchange, request, front.handler, reply)
            self.since_s = exchange.ended_s
            # Nearly always; whoever parks it next is the one called.
            is_in_order = reply.keep_alive and reply.body is None and not reply.is_cut and not self.stream.is_closed
            return is_in_order or self._finish(reply)
        finally:
            self._greenlet = self._served = None
            if self._grace is not None:
                self._end_grace()
            exchange.request = None  # request, reply and exchange know each other: a cycle would be left to the collector
            front.requests += 1

    def _body(self, head: RequestHead, exchange: Exchange, reply: Reply) -> ClientBody:
        front = self._front
        send_continue = reply.say_continue if head.expects_continue else None
        length = None if head.is_chunked else head.content_length
        return ClientBody(self, exchange, length, front.body_patience, front.settings.max_body_bytes, send_continue)

    def _request(self, head: RequestHead, exchange: Exchange, reply: Reply) -> Request:
        """Make the request. Raises BadRequest or MethodNotAllowed."""
        if head.method == b"CONNECT":
            raise MethodNotAllowed(_METHODS)
        front = self._front
        target = head.resource
        if target is None:
            target = head.resource = parse_target(head.target, head.method)
        peer = client = exchange.client
        scheme = front.scheme
        is_trusted = front.trusts_anybody and front.is_trusted(peer)
        if is_trusted:
            ip, said = effective_client(peer.ip, head.special, front.settings.trusted_proxies)
            if ip != peer.ip:
                exchange.client = client = ClientAddress(ip, 0)
            scheme = said or scheme
        # By position: names for so many would cost 0.2 us.
        exchange.request = request = Request(
            head.method_text,
            target.text,
            target.path,
            target.query,
            "1.1" if head.minor else "1.0",
            head.host_text,
            scheme,
            client,
            None,
            head,
            reply.body or NO_BODY,
            NEVER,
            reply.inform,
            exchange,
        )
        if is_trusted:
            request.peer = peer
            request.is_peer_trusted = True
        if head.upgrade:
            reply.duplex = partial(_ClientDuplex, self)
        return request

    def _finish(self, reply: Reply) -> bool:
        """Bring the connection in order behind an exchange. Returns whether it is good for another."""
        stream = self.stream
        if stream.is_closed:
            self.close()
            return False
        stream.unpark()
        if not reply.is_cut and reply.body is not None and not reply.body.is_received and not self._await_body(reply, reply.body):
            self._linger()
            return False
        if reply.keep_alive:
            self.since_s = monotonic()
            return True
        if self.buffer or not stream.is_watching:  # unread bytes would turn our close into a reset
            self._linger()
        else:
            self.close()
        return False

    def _await_body(self, reply: Reply, body: ClientBody) -> bool:
        """Let an upload that goes on behind its response end. Returns whether the body came to its end."""
        if body.is_cancelled:
            return False
        try:
            if body.is_being_read:
                body.wait_released()
            elif reply.keep_alive:
                body.receive_now()
        except (ProxyError, OSError):
            body.cancel()  # whoever reads it still must not go on while the rest is thrown away
            return False
        return body.is_received

    # -------------------------------------------------------------- while an exchange waits for somebody else

    def watch(self) -> None:
        """Notice when the client leaves while nobody reads what it sends."""
        self.stream.park(self._client_stirs)

    def _client_stirs(self) -> None:
        """The client sent something, ended its side, or left, while its request is served."""
        try:
            if self.stream.peek() != b"":
                return  # a pipelined request: it waits in the kernel
        except OSError:
            self._cancel()
            return
        # A client that asked for the connection to be closed may well have ended its own side and still listen. Any other is
        # likely gone; `nc` and small scripts end their side too, and get what is quick.
        if not self._is_last and self._grace is None:
            self._begin_grace()

    def _begin_grace(self) -> None:
        self._grace = self._front.loop.timer(HALF_CLOSED_GRACE_S)
        self._grace.start(self._grace_is_over, self._progress(), update=True)

    def _grace_is_over(self, before: object) -> None:
        """Whoever is gone answers what is sent with a reset: an answer goes on while it gets on, or waits for the client."""
        self._end_grace()
        if self.stream.is_sending or self._progress() != before:
            self._begin_grace()
        else:
            self._cancel()

    def _progress(self) -> object:
        return self._served and (self._served.status, self._served.bytes_out)

    def _cancel(self) -> None:
        """End the exchange of a client that is gone."""
        if self._greenlet is not None:
            self._greenlet.throw(ClientGone())

    def _end_grace(self) -> None:
        grace, self._grace = self._grace, None
        grace.stop()
        grace.close()

    def unwatch(self) -> None:
        """Leave it to somebody else to notice when the client leaves."""
        self.stream.unpark()
        if self._grace is not None:
            self._end_grace()

    def stop(self) -> None:
        """Cut an exchange that outlived graceful-timeout. In the hub or from another greenlet."""
        if self._greenlet is not None:
            self._front.loop.run_callback(self._throw_stopped)
        else:
            self.close()

    def _throw_stopped(self) -> None:
        if self._greenlet is not None:
            self._greenlet.throw(Stopped())

    # -------------------------------------------------------------- the end

    def _linger(self) -> None:
        """Close in stages: what the client still sends is read and dropped, so that it can read our last words first."""
        stream = self.stream
        if stream.is_closed:
            self.close()
            return
        stream.shutdown_write()
        self.buffer = b""
        self.since_s = monotonic()
        self._front.lingering[self] = None
        stream.park(self._discard)

    def _discard(self) -> None:
        try:
            for _ in range(16):  # then others get their turn
                data = self.stream.recv_now(HEAD_READ_BYTES)
                if data is None:
                    break
                if not data:
                    self.close()
                    return
        except OSError:
            self.close()
            return
        self.stream.park(self._discard)

    def close(self) -> None:
        """Close the connection. Idempotent."""
        self.stream.close()
        self._front.forget(self)


class _ClientDuplex:
    """The client's bytes as a takeover reads them: first what was read behind the head."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._stream = connection.stream
        connection.unwatch()

    def recv(self, max_bytes: int, limit: Limit = NEVER) -> bytes:
        """Return the next bytes, b"" at the end; waits for the client."""
        early, self._connection.buffer = self._connection.buffer, b""
        return early or self._stream.recv(max_bytes, limit)

    def send(self, data: bytes, limit: Limit = NEVER) -> None:
        """Send all of `data`; waits for the client to read."""
        self._stream.send(data, limit)

    def shutdown_write(self) -> None:
        """Tell the client that nothing more comes."""
        self._stream.shutdown_write()

    def wake(self) -> None:
        """Let whoever waits for the client's bytes ask its limit again."""
        self._stream.wake()
