"""Requests that were answered: somebody else who sends one again gets nothing. Pure."""

from __future__ import annotations

from collections import OrderedDict

#: how many are remembered
MAX_REQUESTS = 20_000


class Replays:
    """Remembers requests by their rsalt as long as their time is good."""

    def __init__(self, keep_s: float) -> None:
        self._keep_s = keep_s
        self._seen: OrderedDict[str, tuple[float, str]] = OrderedDict()

    def is_replay(self, rsalt: str, source: str, *, now: float) -> bool:
        """Whether another address sent it before. The same one may: its answer may have been lost."""
        while self._seen and (
            len(self._seen) > MAX_REQUESTS or next(iter(self._seen.values()))[0] < now - self._keep_s
        ):
            self._seen.popitem(last=False)
        _, first = self._seen.setdefault(rsalt, (now, source))
        return first != source
