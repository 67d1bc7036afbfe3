"""What a producer is told, and what is possible."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal, TypedDict, Union

from .errors import InvalidSetting

if TYPE_CHECKING:
    import os

Pem = Union[str, "os.PathLike[str]", bytes]
"""The path of a file, or as bytes what would stand in it."""

READING_BYTES = 20
"""Bytes that a reading takes while it is unacknowledged: series (4), value (8), time (8)."""
BATCH_BYTES = 128
"""Bytes that a batch takes besides its readings."""
COLUMNS_READING_BYTES = 23
"""The most bytes that one reading takes in a ColumnBatch: series index (5), value (8), time delta (10)."""
MAX_POSITION_BYTES = 1_024
"""Of a position in the producer's source."""
_POSITION_BYTES = MAX_POSITION_BYTES + 4


class Options(TypedDict, total=False):
    """The settings of a producer, all of them optional. Times are in seconds."""

    stream_id: str
    """Names the stream, in 1 to 128 characters. A named stream is stored exactly once and in order, over every crash on either
    side. Without a name the producer is anonymous: what a broken call had not acknowledged is sent again, so that readings
    are stored at least once."""
    from_source_position: bool
    """Goes on at ``source_position()``: the next reading that is pushed is the first one behind it in the source, and what the
    service has of them already it leaves out. Without it the stream goes on behind ``progress().committed_seq``, which can be
    further."""
    bearer_token: str
    """Sent with every call."""
    bearer_token_file: str | os.PathLike[str]
    """As `bearer_token`, with what stands in a file, which is read anew whenever the stream is opened. When the token is no
    longer valid, the producer tries again until there is another one in the file."""
    tls_ca: Pem
    """Trusts the authorities of these certificates, in PEM, instead of those that the system trusts. For a target that begins
    with ``https://``, as are the next two."""
    tls_identity: tuple[Pem, Pem]
    """The client certificate to prove itself with, and its key, in PEM each."""
    tls_server_name: str
    """The name that the certificate of the service must have; that of the target by default."""
    encoding: Literal["columns", "rows"]
    """How readings travel: as packed columns with a dictionary of series (the default), or as one message for each."""
    acked: bool
    """True (the default): acknowledgements arrive while the call is open. False: plain client streaming, where nothing is known
    to be durable until a call ends; a call is ended by ``flush``, and when the unacknowledged limit is reached."""
    max_batch_readings: int
    """Readings after which a batch is sent, at least 1; 16,384 by default."""
    max_message_bytes: int
    """Bytes that a message may take, 4,096 to 4,194,304; 512 KiB by default. The service must take as much: its
    ``grpc.max_message_bytes`` is 4 MiB by default, and a larger message ends the producer."""
    linger_s: float
    """The time after which a batch is sent that is not full; 0.005 by default."""
    max_unacknowledged_bytes: int
    """Bytes of unacknowledged readings (20 each, and 128 per batch) that the producer keeps before ``push`` waits; 32 MiB by
    default. At least one full batch is always taken."""
    backoff_s: tuple[float, float]
    """The ceiling of the first wait after a failure, and the highest one; 0.05 and 5 by default. Each wait is a random share
    of its ceiling."""
    give_up_after_s: float | None
    """Ends the producer with ``GaveUp`` when readings have waited for so long without progress, which is an acknowledgement of
    some; a plain call (see `acked`) acknowledges nothing before its end, so that there a message that the connection takes
    is progress as well. Without it the producer tries for ever, except in ``connect``."""
    connect_timeout_s: float
    """The time one attempt to connect and open the stream may take; 10 by default. An attempt that would outlast
    `give_up_after_s` ends with it."""
    connect_patience_s: float | None
    """How long ``connect`` tries again; `give_up_after_s` by default, or `connect_timeout_s` where that is not set."""
    keepalive_s: float
    """Interval of HTTP/2 pings, and the time after which an unanswered one breaks the connection; 10 by default."""


@dataclass(frozen=True)
class Settings:
    """The :class:`Options` of a producer that connects to `target`, and their defaults."""

    target: str
    stream_id: str | None = None
    from_source_position: bool = False
    # Not to be seen in a log, a notebook or a traceback.
    bearer_token: str | None = field(default=None, repr=False)
    bearer_token_file: str | os.PathLike[str] | None = None
    tls_ca: Pem | None = field(default=None, repr=False)
    tls_identity: tuple[Pem, Pem] | None = field(default=None, repr=False)
    tls_server_name: str | None = None
    encoding: Literal["columns", "rows"] = "columns"
    acked: bool = True
    max_batch_readings: int = 16_384
    max_message_bytes: int = 512 << 10
    linger_s: float = 0.005
    max_unacknowledged_bytes: int = 32 << 20
    backoff_s: tuple[float, float] = (0.05, 5.0)
    give_up_after_s: float | None = None
    connect_timeout_s: float = 10.0
    connect_patience_s: float | None = None
    keepalive_s: float = 10.0

    def validated(self) -> Settings:
        """Names the first setting that is wrong, and makes sizes fit each other."""
        if self.stream_id is not None and not 1 <= len(self.stream_id) <= 128:
            raise InvalidSetting("stream_id", "must have 1 to 128 characters")
        if self.from_source_position and self.stream_id is None:
            raise InvalidSetting("from_source_position", "needs a stream_id: only a named stream has a position")
        if self.encoding not in ("columns", "rows"):
            raise InvalidSetting("encoding", f"must be 'columns' or 'rows', not {self.encoding!r}")
        self._check_sizes()
        self._check_times()
        # One batch of columns is one message, whatever the values are; the dictionary has its own.
        fits = (self.max_message_bytes - _POSITION_BYTES) // (COLUMNS_READING_BYTES + 1)
        readings = min(self.max_batch_readings, fits)
        unacknowledged = max(self.max_unacknowledged_bytes, BATCH_BYTES + readings * READING_BYTES)
        return replace(self, max_batch_readings=readings, max_unacknowledged_bytes=unacknowledged)

    def _check_sizes(self) -> None:
        if self.max_batch_readings < 1:
            raise InvalidSetting("max_batch_readings", "must be at least 1")
        if not 4_096 <= self.max_message_bytes <= 4 << 20:
            raise InvalidSetting("max_message_bytes", "must be 4,096 to 4,194,304")

    def _check_times(self) -> None:
        least, most = self.backoff_s
        if not 0 < least <= most:
            raise InvalidSetting("backoff_s", "must be two times above 0, the lower one first")
        if self.linger_s < 0:
            raise InvalidSetting("linger_s", "must not be below 0")
        for name in ("connect_timeout_s", "keepalive_s", "give_up_after_s", "connect_patience_s"):
            seconds = getattr(self, name)
            if seconds is not None and not seconds > 0:
                raise InvalidSetting(name, "must be above 0")
