"""Readings out of a pandas DataFrame that has a row for each. This knows pandas only by its methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable

import numpy as np

from ..errors import InvalidReadings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .series import SeriesHandle


def series_column(frame: Any, names: tuple[str, str, str], intern: Callable[[int, str, str], SeriesHandle]) -> NDArray[np.int64]:
    """The series of each row, of the columns for id1, id2 and sensor_type."""
    for name in names:
        if name not in frame:
            raise InvalidReadings(f"the frame has no column {name!r}; it has {list(frame.columns)}")
    keys = frame[list(names)]
    if keys.isna().to_numpy().any():
        raise InvalidReadings(f"some rows have no {', '.join(names)}: leave them out, as with frame.dropna(subset=...)")
    if len(frame) == 0:
        return np.empty(0, np.int64)
    number = keys.groupby(list(names), sort=False, observed=True).ngroup().to_numpy()
    _, first = np.unique(number, return_index=True)
    rows = keys.iloc[first].itertuples(index=False, name=None)
    handles = [intern(_whole(id1), id2, sensor_type) for id1, id2, sensor_type in rows]
    column: NDArray[np.int64] = np.asarray(handles, np.int64)[number]
    return column


def _whole(id1: Any) -> int:
    try:
        whole = int(id1)
    except (TypeError, ValueError):
        whole = None
    if whole is None or whole != id1:
        raise InvalidReadings(f"id1 {id1!r} is no whole number")
    return whole
