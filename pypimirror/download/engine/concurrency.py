"""Find how many requests at once make one host fastest. Pure.

More requests than a host can serve only wait there, and crowd out others. No host tells this
number, so the engine measures the work done in spans of time and changes the limit in steps:

* It begins with `MODEST`, and goes up in large steps while each one is worth it: the work must grow
  by a fair part of the growth in requests. A good step is judged after a short time; a step that
  seems useless is watched for longer.
* It goes down if almost no work is lost. Below `MODEST`, it goes down only if work is gained:
  fewer requests help only an overloaded host.
* If neither direction is worth it, the steps get smaller. After the smallest one it rests for a
  while, unless the work changes a lot; then all begins again. It also rests at the cap, if each
  step up to it was worth it.
* If the host asks for less, or cannot be reached, the limit is halved at once.

A span counts only while the limit is used in full: else there is too little work to measure the
host. The caller gives all times, in seconds.
"""

from __future__ import annotations

MODEST = 16  #: requests at once, to begin with
REST = 12  #: spans without a step, once neither direction was worth it
SPAN = 0.2  #: seconds that a span lasts at least
LONGEST = 5.0  #: seconds after which fewer answers are enough to judge: the host may be overloaded
UNIT = 128 << 10  #: bytes that count as much as one request: work is measured in both

_SAMPLE = 32  #: units of work that a span sees at least
_LARGEST, _SMALLEST = 2.0, 1.25  # steps
_FAIR = 0.3  #: the work must grow by at least this share of the growth in requests
_HALF = 0.5  #: if work falls to this share of what it was, or grows as much, the host has changed
_DROWNS = 0.2  #: if work falls below this share, the cause is the host, not other requests
_WON = 1.15  #: fewer requests than `MODEST` must do this many times the work to be worth it


class Concurrency:
    """The number of requests that one host gets at once: `modest` to begin with, at most `cap`."""

    def __init__(self, cap: int, modest: int = MODEST) -> None:
        self._cap = max(1, cap)
        self._modest = min(modest, self._cap)
        self._base = self.limit = self._modest
        self._work = 0.0  #: done at the base, in units a second
        self._step = _LARGEST
        self._upwards = True
        self._in_vain = 0  #: directions tried with this step that were not worth it
        self._rest = 0  #: spans for which the base stays
        self._forgiven = 0  #: requests whose failure is already counted
        self._growing = True  #: no step up has failed yet
        self._start(None)

    def received(self, count: int, now: float, running: int) -> None:
        """Count bytes that have come while `running` requests were under way."""
        self._count(count / UNIT, now, running)

    def done(self, now: float, running: int) -> None:
        """Count a request that has ended well; `running` were under way, including this one."""
        self._forgiven = max(0, self._forgiven - 1)
        self._count(1.0, now, running)

    def _count(self, units: float, now: float, running: int) -> None:
        if self._since is None or running < self.limit:
            self._start(now)
            return
        if running > self.limit:  # more than are allowed now
            return
        self._units += units
        span = now - self._since
        if self._settling:  # what began under another limit must end first
            if (self._units >= self.limit and span >= SPAN / 4) or span >= LONGEST:
                self._start(now, settled=True)
        elif self._is_enough(span):
            self._judge(self._units / span)
            self._start(now, settled=self.limit == running)

    def _is_enough(self, span: float) -> bool:
        """Whether a span has seen enough work to judge it."""
        if self._units < _SAMPLE:
            return False
        if self._growing:
            return self._units >= self.limit and span >= SPAN / 4
        return (self._units >= 2 * self.limit and span >= SPAN) or span >= LONGEST

    def failed(self, now: float, running: int) -> None:
        """Halve the limit, once for all open requests: the host is down, or asks for less."""
        if self._forgiven:
            self._forgiven -= 1
            return
        self._forgiven = running - 1
        self._base = self.limit = max(1, self.limit // 2)
        self._step, self._rest, self._growing = _SMALLEST, REST, False
        self._start(now)

    def _start(self, now: float | None, *, settled: bool = False) -> None:
        """Begin a span."""
        self._since = now
        self._units = 0.0
        self._settling = not settled

    def _judge(self, work: float) -> None:
        """Note the work done per second, and choose the next limit."""
        if self.limit == self._base:
            change = work / (self._work or work)
            if not _HALF <= change <= 1 / _HALF:  # the host or the requests have changed
                self._rest, self._upwards = 0, change > 1
                self._step = _LARGEST if change > 1 or change < _DROWNS else _LARGEST**0.5
            self._work = work
            self._rest -= 1
        elif self._is_worth(work):
            self._base, self._work = self.limit, work
            self._step = min(_LARGEST, self._step * self._step)
            self._in_vain = 0
            if self.limit == self._cap:  # each step up was worth it, so fewer hardly would be
                self._step, self._rest, self._growing = _SMALLEST, REST, False
        elif self._growing:  # the look was short: look again
            self._growing = False
            return
        else:
            self._turn()
        self.limit = self._base if self._rest > 0 else self._next()

    def _is_worth(self, work: float) -> bool:
        grown = self.limit / self._base - 1
        if self.limit < min(self._base, self._modest):
            return work >= _WON * self._work
        return work / self._work - 1 >= _FAIR * grown

    def _turn(self) -> None:
        """Try the other direction; after both, a smaller step; after the smallest, rest."""
        self._upwards = not self._upwards
        self._in_vain += 1
        if self._in_vain == 2:
            self._in_vain = 0
            # At least one span at the base, to see how much work is done there now.
            self._rest = REST if self._step == _SMALLEST else 1
            self._step = max(_SMALLEST, self._step**0.5)

    def _next(self) -> int:
        """Return the limit to try next; the base if there is none beyond it."""
        if self._upwards:
            tried = min(self._cap, max(self._base + 1, round(self._base * self._step)))
        elif self._cap <= self._modest:  # the configuration knows better; only failures say less
            tried = self._base
        else:
            tried = max(1, min(self._base - 1, round(self._base / self._step)))
        if tried == self._base:
            self._turn()
        return tried
