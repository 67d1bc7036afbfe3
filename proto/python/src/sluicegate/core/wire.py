"""Protobuf's encoding of packed columns, made by numpy: setting repeated fields costs more per reading than all the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

VARINT, BYTES = 0, 2
"""Wire types."""

_MORE = 0x80
_BITS = 0x7F


def varint(value: int) -> bytes:
    """One number, 0 to 2^64 - 1."""
    encoded = bytearray()
    while value > _BITS:
        encoded.append(value & _BITS | _MORE)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def int64(value: int) -> bytes:
    """A negative number takes ten bytes, as protobuf has it."""
    return varint(value % (1 << 64))


def tag(field: int, wire_type: int) -> bytes:
    return varint(field << 3 | wire_type)


def delimited(field: int, content: bytes) -> bytes:
    """A field of bytes, of text, of a message or of packed numbers."""
    return tag(field, BYTES) + varint(len(content)) + content


def varints(values: NDArray[np.uint64]) -> bytes:
    """All of them, one behind the other."""
    if len(values) == 0:
        return b""
    highest = int(values.max())
    if highest <= _BITS:
        return values.astype(np.uint8).tobytes()
    if int(values.min()) == highest:
        return varint(highest) * len(values)
    width = (highest.bit_length() + 6) // 7
    encoded = np.empty((len(values), width), np.uint8)
    used = np.empty((len(values), width), np.bool_)
    used[:, 0] = True
    rest = values
    for place in range(width):
        # Conversion keeps the lowest eight bits; where more bytes follow the highest of them is set below.
        encoded[:, place] = rest
        rest = rest >> np.uint64(7)
        if place + 1 < width:
            follows = rest != 0
            used[:, place + 1] = follows
            encoded[:, place] &= _BITS
            encoded[:, place] |= follows.view(np.uint8) << np.uint8(7)
    return encoded[used].tobytes()


def zigzag(values: NDArray[np.int64]) -> NDArray[np.uint64]:
    """Signed numbers as `sint64` has them: those near 0 are short, whatever their sign."""
    return ((values << np.int64(1)) ^ (values >> np.int64(63))).view(np.uint64)


def doubles(values: NDArray[np.float64]) -> bytes:
    return values.astype("<f8", copy=False).tobytes()
