"""Which refusals of the service are worth another attempt."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import grpc

_Code = grpc.StatusCode


@dataclass(frozen=True)
class Status:
    """How a call ended badly."""

    code: grpc.StatusCode
    message: str = ""

    def __str__(self) -> str:
        """In the words that say most."""
        return self.message or self.code.name


class Verdict(Enum):
    """What to do about a status that ended a call."""

    RETRY = "reconnect and send the rest again"
    REPOSITION = "the position was wrong: ask for it and send the rest again, but not forever"
    SHRINK_DICTIONARY = "the dictionary of the call is too large: send batches with dictionaries of their own"
    FENCED = "another writer has the stream"
    FINAL = "another attempt would end the same way"


_VERDICTS = {
    _Code.ABORTED: Verdict.FENCED,
    _Code.OUT_OF_RANGE: Verdict.REPOSITION,
    _Code.FAILED_PRECONDITION: Verdict.REPOSITION,
    _Code.RESOURCE_EXHAUSTED: Verdict.SHRINK_DICTIONARY,
    _Code.OK: Verdict.RETRY,
    _Code.UNAVAILABLE: Verdict.RETRY,
    _Code.CANCELLED: Verdict.RETRY,
    _Code.UNKNOWN: Verdict.RETRY,
    _Code.INTERNAL: Verdict.RETRY,
    _Code.DEADLINE_EXCEEDED: Verdict.RETRY,
}


def judge(status: Status, token_may_change: bool = False) -> Verdict:
    """`token_may_change`: it stands in a file, which may have another one by the next attempt."""
    if token_may_change and status.code is _Code.UNAUTHENTICATED:
        return Verdict.RETRY
    return _VERDICTS.get(status.code, Verdict.FINAL)
