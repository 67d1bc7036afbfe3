"""The clock of every deadline: it never goes back."""

from __future__ import annotations

import time

now = time.monotonic


def deadline_of(timeout_s: float | None) -> float | None:
    return None if timeout_s is None else now() + timeout_s


def left(deadline: float | None) -> float | None:
    return None if deadline is None else max(deadline - now(), 0)
