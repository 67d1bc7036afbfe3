"""The connection of a producer with threads."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import grpc

from . import net
from .core.clock import left, now
from .core.opening import FirstOpening, Open, OpenFailure
from .v1.sensor_service_pb2 import StreamAck, StreamPosition, StreamReadingsResponse

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from .core.hold import Hold
    from .settings import Settings


class Link:
    """One connection at a time."""

    def __init__(self, dialer: net.Dialer, *, acked: bool) -> None:
        self._dialer = dialer
        self._acked = acked
        self._channel: grpc.Channel | None = None

    def open_first(self, settings: Settings, draw: random.Random) -> tuple[Hold, StreamPosition | None]:
        """With another attempt for what may pass."""
        opening = FirstOpening(settings, draw, now())
        try:
            while isinstance(opened := self.open(opening.attempt(now())), OpenFailure):
                time.sleep(opening.failed(opened, now()))
        except BaseException:
            self.close()
            raise
        opening.opened(opened)
        return opening.hold, opened

    def open(self, step: Open) -> StreamPosition | OpenFailure | None:
        channel = self._connected(fresh=step.fresh)
        # A take-over that was sent may yet take effect, so we see to it that the service is there; to resume twice is once.
        if step.request is None or not step.request.HasField("resume"):
            greet = channel.unary_unary(net.GREETING, net.as_it_is, net.as_it_is)
            try:
                greet(b"", timeout=left(step.deadline))
            except grpc.RpcError as error:
                if net.is_no_connection(error):
                    return OpenFailure(self._dialer.unreachable(error), sent=False)
        if step.request is None:
            return None
        open_stream = channel.unary_unary(net.OPEN_STREAM, net.as_it_is, StreamPosition.FromString)
        try:
            return open_stream(step.request.SerializeToString(), timeout=left(step.deadline), metadata=self._dialer.metadata())
        except net.Unauthenticated as error:
            return OpenFailure(error.status, sent=False)
        except grpc.RpcError as error:
            return OpenFailure(self._dialer.unopened(error), sent=True)

    def _connected(self, *, fresh: bool) -> grpc.Channel:
        if fresh:
            self.close()
        if self._channel is None:
            address, options = self._dialer.address, self._dialer.options
            credentials = self._dialer.credentials
            if credentials is None:
                self._channel = grpc.insecure_channel(address, options)
            else:
                self._channel = grpc.secure_channel(address, credentials, options)
        return self._channel

    def begin(self, requests: Iterator[bytes]) -> Any:
        channel = self._connected(fresh=False)
        metadata = self._dialer.metadata()
        if self._acked:
            acked = channel.stream_stream(net.STREAM_READINGS_ACKED, net.as_it_is, StreamAck.FromString)
            return acked(requests, metadata=metadata)
        plain = channel.stream_unary(net.STREAM_READINGS, net.as_it_is, StreamReadingsResponse.FromString)
        return plain.future(requests, metadata=metadata)

    def replies(self, call: Any) -> Iterator[StreamAck | StreamReadingsResponse]:
        if self._acked:
            yield from call
        else:
            yield call.result()

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None
