"""Balance: a worker that has more clients than the others lets them take the next ones.

It never refuses one. With a little more than the mean it goes to the end of the line in which the kernel wakes workers; with a
lot more, as in a burst, where all are awake, it accepts one in some milliseconds, as long as that helps: when the others take
nobody for a moment, because they are stuck, it accepts as fast as it can.

With a connection for each request (1,500 a second, in bursts) two workers cost, against one, 1.19 to 1.24 times; without any of
this 1.07 to 1.15, and two proxies that share nothing and get half of the clients each 1.17: half the clients at a time cost more
for each. To share evenly only those that stay was tried, and saved 5 to 9 of a hundred; but nobody can tell at the door who will
stay, and eight that came behind a burst of others were all on one worker, for good.

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

    def accepted(self, listener: Sharing, clients: int) -> None:
        """A client was accepted, and this worker has so many now. Costs 1 us beside the 80 of a connection."""
        seat = self._seat
        seat.write(clients)
        if not listener.is_shared:
            return
        self._accepted += 1
        theirs, workers = seat.others()
        mean = (theirs + clients) / (workers + 1)
        excess = clients - mean
        much = _MANY + mean * _MUCH
        if excess > much and self._takes(theirs):
            listener.rest(min(_PAUSE_S * excess / much, _LONGEST_PAUSE_S))
        elif excess >= 1 or self._accepted % _AT_ONCE == 0:
            listener.pass_on()

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
