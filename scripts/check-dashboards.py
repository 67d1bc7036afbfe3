"""Called by check-dashboards.sh, which has what this needs: the models that are generated from Grafana's schema."""

import enum
import json
import types
import typing
from pathlib import Path

from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

FOLDER = Path(__file__).resolve().parents[1] / "docker/grafana/dashboards"


def unknown(written, read, place=""):
    """Where a dashboard says what the models do not keep, because the schema does not have it."""
    if isinstance(written, dict) and isinstance(read, dict):
        for key, value in written.items():
            if key in read:
                yield from unknown(value, read[key], f"{place}.{key}")
            else:
                yield f"{place}.{key} is not in the schema"
    elif isinstance(written, list) and isinstance(read, list) and len(written) == len(read):
        for number, (one, other) in enumerate(zip(written, read)):
            yield from unknown(one, other, f"{place}[{number}]")
    elif written != read:
        yield f"{place} is {written!r}, and the schema makes {read!r} of it"


def unfit(value, kind, place=""):
    """Where a value is of another type than the schema says, or none of those that it lists."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if hasattr(value, "to_json"):
        # Whatever the place takes: of which panel or query it is was decided by its type.
        yield from unfit_model(value, place)
        return
    if kind in (typing.Any, object) or kind is None or isinstance(kind, typing.TypeVar):
        return
    if origin in (typing.Union, types.UnionType):
        # Absent is another matter than wrong.
        kinds = [one for one in arguments if one is not type(None) or value is None]
        found = [list(unfit(value, one, place)) for one in kinds]
        if all(found):
            yield from min(found, key=len)
    elif origin is typing.Literal:
        if value not in arguments:
            yield f"{place} is {value!r}, but must be one of {list(arguments)}"
    elif origin is list:
        if not isinstance(value, list):
            yield f"{place} is {value!r}, but must be a list"
        else:
            for number, one in enumerate(value):
                yield from unfit(one, arguments[0], f"{place}[{number}]")
    elif origin is dict:
        if not isinstance(value, dict):
            yield f"{place} is {value!r}, but must be an object"
        else:
            for key, one in value.items():
                yield from unfit(one, arguments[1], f"{place}.{key}")
    elif isinstance(kind, type) and issubclass(kind, enum.Enum):
        if value not in [one.value for one in kind]:
            yield f"{place} is {value!r}, but must be one of {[one.value for one in kind]}"
    elif kind is float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            yield f"{place} is {value!r}, but must be a number"
    elif isinstance(kind, type) and kind.__module__ == "builtins":
        if not isinstance(value, kind) or kind is int and isinstance(value, bool):
            yield f"{place} is {value!r}, but must be of the type {kind.__name__}"
    else:
        yield f"{place} is {value!r}, but must be an object"


def unfit_model(model, place):
    hints = typing.get_type_hints(type(model).__init__)
    for name, kind in hints.items():
        if name != "return":
            # Python has words of its own for `id` and `type`.
            yield from unfit(getattr(model, name), kind, f"{place}.{name.removesuffix('_val')}")


def check(path):
    written = json.loads(path.read_text())
    plugins.register_default_plugins()
    try:
        dashboard = Dashboard.from_json(written)
        read = json.loads(json.dumps(dashboard, cls=JSONEncoder))
    except (AttributeError, KeyError, TypeError, ValueError) as reason:
        return [f"{path.name}: the models cannot read it: {reason!r}"]
    found = [*unknown(written, read), *unfit_model(dashboard, "")]
    return [f"{path.name}: {each.lstrip('.')}" for each in found]


def main():
    paths = sorted(FOLDER.glob("*.json"))
    found = [each for path in paths for each in check(path)]
    if found or not paths:
        raise SystemExit("check-dashboards: " + ("\n  ".join(found) or "there are no dashboards"))
    print(f"{len(paths)} dashboards fit Grafana's schema")


if __name__ == "__main__":
    main()
