"""How long to wait before the next attempt: exponential with full jitter, so that a fleet does not come back at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random


class Backoff:
    def __init__(self, min_s: float, max_s: float, draw: random.Random) -> None:
        self._min_s = min_s
        self._max_s = max_s
        self._draw = draw
        self._attempt = 0

    def reset(self) -> None:
        self._attempt = 0

    def next_delay_s(self) -> float:
        """A random time up to a ceiling that starts at the minimum and doubles until it reaches the maximum."""
        ceiling_s = self.ceiling_s()
        self._attempt += 1
        return self._draw.uniform(0, ceiling_s)

    def ceiling_s(self) -> float:
        # Beyond 64 doublings a float may become infinite.
        return min(self._min_s * 2.0 ** min(self._attempt, 64), self._max_s)
