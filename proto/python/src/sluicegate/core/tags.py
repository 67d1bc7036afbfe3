"""What a producer says of its series. The service ends a call whose tags do not fit, so they are checked before they are sent."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from ..errors import InvalidReadings

if TYPE_CHECKING:
    from collections.abc import Mapping

_TAGS_MAX = 32
_VALUE_MAX_CHARS = 255
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def checked(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags of one series, as the contract has them."""
    tags = dict(tags)
    if len(tags) > _TAGS_MAX:
        raise InvalidReadings(f"there are {len(tags)} tags, and a series may have {_TAGS_MAX}")
    for name, value in tags.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise InvalidReadings(f"the tag {name!r} must have 1 to 64 letters and digits of ASCII, and _ . - besides")
        if not isinstance(value, str):
            raise InvalidReadings(f"the value of the tag {name!r} is {value!r}: it has to be a text")
        if not 1 <= len(value) <= _VALUE_MAX_CHARS:
            raise InvalidReadings(f"the value of the tag {name!r} must have 1 to {_VALUE_MAX_CHARS} characters")
        if value.strip() != value or any(unicodedata.category(character) in ("Cc", "Cs") for character in value):
            raise InvalidReadings(
                f"the value of the tag {name!r} must neither begin nor end with a blank, nor hold a control character"
            )
    return tags
