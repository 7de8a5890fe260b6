"""Nodes that claim the mastership at one moment: when each of them tries again, and for how long."""

from __future__ import annotations

import random

from ganeti.host.clock import Clock

#: a claim that another one has stopped is tried again until so many seconds have passed since the first
CONTEST_S = 45.0
#: bounds of the pause between two tries, in seconds
SHORTEST_S, LONGEST_S = 0.3, 2.0
#: of the pause after a mastership that lasted: who has ended it gets the time to begin its own
GRACE_S = (4.0, 8.0)


class Contest:
    """Begins with the first try, when it is made.

    In the pause this node's copy of the state must be closed: one that is open promises nothing to anybody and
    follows nobody. A pause may be twice as long as the try before it: of two nodes that try for long, because they
    wait for a dead one, each has to find the other in its pause.
    """

    def __init__(self, clock: Clock, rng: random.Random) -> None:
        self._clock, self._rng = clock, rng
        self._try_began = clock.monotonic()
        self._ends = self._try_began + CONTEST_S

    def pause_s(self) -> float | None:
        """Seconds from now until the next try. None: it was tried for long enough."""
        now = self._clock.monotonic()
        pause_s = self._rng.uniform(SHORTEST_S, max(LONGEST_S, 2 * (now - self._try_began)))
        self._try_began = now + pause_s
        return pause_s if self._try_began <= self._ends else None

    def after_loss_s(self) -> float:
        """Seconds from now until the next try, after a mastership was won and lost."""
        pause_s = self.pause_s()
        if pause_s is None:
            pause_s = self._rng.uniform(*GRACE_S)
            self._try_began = self._clock.monotonic() + pause_s
            self._ends = self._try_began + CONTEST_S
        return pause_s
