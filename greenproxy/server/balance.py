"""Balance: a worker that has more clients than the others lets them take the next ones.

It never refuses one. With a little more than the mean it goes to the end of the line in which the kernel wakes workers; with a
lot more, as in a burst, where all are awake, it accepts one in some milliseconds, as long as that helps: when the others take
nobody for a moment, because they are stuck, it accepts as fast as it can.

While most clients leave as fast as they come, a connection for each request, it only goes to the end of the line, and only with
a lot more: they make room by themselves, and evenness costs, because a worker that serves many in a row has its code and data at
hand. With such clients (1,500 in a second, in bursts) two workers cost, against one, in three runs on a busy machine: 1.19, 1.24
and 1.23 times if they share them evenly, 1.10, 1.19 and 1.14 times like this. Without any of it 1.07 and 1.15 in the first two;
nginx paid 1.02 in the first, and two proxies that share nothing and get half of the clients each 1.17 in another run. So what is
left is hardly in the sharing: half the clients at a time cost more for each.

Without it two workers had 208 and 792 of 1,000 clients that stay and came one by one, with it 478 and 522, or better.

When a worker dies, its clients come back to the others before there is a new one, and would stay: of 200, one had 189 and the new
one 7, for good. So who has a lot more than the mean for a second closes some, with `Connection: close` in their next answer: they
had 105 and 91 after 8 seconds.
"""

from __future__ import annotations

from time import monotonic
from typing import Protocol

from greenproxy.observability.seats import Seat

#: So many clients in a row are accepted by whoever is first in the line. It changes, because workers of another master (an
#: upgrade) share too, of whom nothing is known; seldom, because it costs three system calls.
_AT_ONCE = 8
#: After so many it looks whether half of them have left again, within so long. Slower ones cost nothing that is worth a thought.
_LOOK_AFTER, _FAST_S = 32, 0.25
#: A lot: so many clients, and this part of the mean, more than the mean.
_MANY, _MUCH = 8, 0.05
#: So many times more is a lot with `reuse-port`. This part of its clients a worker closes in a second.
_DICE, _PART = 3, 8
#: How long it accepts nobody then, longer with more, and how long it goes on like that while the others have as many as before.
_PAUSE_S, _LONGEST_PAUSE_S, _PATIENCE_S = 0.001, 0.01, 0.05


class Sharing(Protocol):
    """A listener, as far as this is concerned; `is_shared` says whether others could accept from it."""

    is_shared: bool

    def pass_on(self) -> None: ...

    def rest(self, for_s: float) -> None: ...


class Balance:
    """One worker's part. `seat` is its place among those that share the clients."""

    def __init__(self, seat: Seat) -> None:
        self._seat = seat
        self._accepted = 0
        self._theirs = -1.0
        self._since_s = 0.0
        self._are_passing = False
        self._had = 0
        self._looked_s = 0.0

    def accepted(self, listener: Sharing, clients: int) -> None:
        """A client was accepted, and this worker has so many now. Costs 1 us beside the 80 of a connection."""
        seat = self._seat
        seat.write(clients)
        if not listener.is_shared:
            return
        self._accepted += 1
        if self._accepted % _LOOK_AFTER == 0:
            self._look_who_left(clients)
        theirs, workers = seat.others()
        mean = (theirs + clients) / (workers + 1)
        excess = clients - mean
        much = _MANY + mean * _MUCH
        if excess > much and not self._are_passing and self._takes(theirs):
            listener.rest(min(_PAUSE_S * excess / much, _LONGEST_PAUSE_S))
        elif excess > much or (not self._are_passing and (excess >= 1 or self._accepted % _AT_ONCE == 0)):
            listener.pass_on()

    def _look_who_left(self, clients: int) -> None:
        """See whether clients leave as fast as they come."""
        now_s = monotonic()
        left = self._had + _LOOK_AFTER - clients
        self._are_passing = left >= _LOOK_AFTER / 2 and now_s - self._looked_s < _FAST_S
        self._had, self._looked_s = clients, now_s

    def surplus(self, clients: int, is_shared: bool) -> int:
        """Return how many clients of so many should go to others, 0 while the difference is not a lot.

        Where the kernel casts dice for each client, more is no surprise.
        """
        theirs, workers = self._seat.others()
        mean = (theirs + clients) / (workers + 1)
        excess = clients - mean
        much = (_MANY + mean * _MUCH) * (1 if is_shared else _DICE)
        return min(int(excess), clients // _PART) if excess > much else 0

    def _takes(self, theirs: float) -> bool:
        """Return whether something has changed with the others lately."""
        now_s = monotonic()
        if theirs != self._theirs:
            self._theirs, self._since_s = theirs, now_s
        return now_s - self._since_s < _PATIENCE_S
