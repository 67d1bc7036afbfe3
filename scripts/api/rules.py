"""What the two REST interfaces refuse although their documents allow it, each with the reason, and what requests of the
generator are held to."""

import os
import re

import schemathesis

# Operation, parameter, the answer's sentence, why OpenAPI cannot say it.
RULES = [
    (".*", "cursor", "damaged|belongs to another query", "a cursor is one that the service has made, for the same query"),
    (".*", "to_time", "must lie behind from_time", "two parameters are compared"),
    (".*", "to_time", "buckets", "two parameters and a setting (rest.max_buckets) are compared"),
    (".*", "from_time|to_time", "must be RFC 3339", "the calendar: 31 April, 29 February; more milliseconds than an instant holds"),
    (".*", "id1", "must be whole numbers", "a list in a text: each has 32 bits"),
    (".*", "id2", "paired by position", "two lists have the same length"),
    (".*", "id1|id2", "is missing", "id1 and id2 come together or not at all"),
    (".*", "id1", "at most 1000", "a list in a text: 1,000 at the most"),
    (".*", "bucket", "must be a whole number", "a number in a text: 1s to 30d"),
    (".*", "bucket", "buckets of this width", "three parameters and a setting (rest.max_buckets) are compared"),
    ("GET /sensor/(time|ids|ids-time)", "limit", "1 to 10000", "a page has a limit, an export has none: the format decides"),
    (".*", "limit", "must be a whole number", "a number of JSON has any length"),
    ("PUT /sensor/update/.*", None, "has to hold sensor_value, sensor_type or both", "null stands for a key that is not there"),
    ("PUT /sensor/update/.*", "sensor_value", "out of the range", "a number of JSON has any size"),
    ("POST /frequency", "timeout", "Give either timeout", "one of two keys, where null stands for one that is not there"),
    ("POST /frequency", "timeout", "10 nanoseconds to 1000s", "a number in a text has bounds"),
    ("POST /readings", None, "not stored|^Line 1|^the message|^record|cannot be|is said to be|ended before",
     "a body has a grammar of its own, or says with ?format= that it has another one"),
    ("POST /readings", "stream-id|first-seq", ".*", "three headers belong together, and a name is not one of the service's own"),
    ("POST /(readings|rejections/replay)", "mapping", ".*", "what the configuration has"),
    (".* /rejections(/replay)?", "anonymous", "give it or stream", "one of two parameters"),
    (".* /rejections(/replay)?", "ids", "at most 1000", "a list in a text: 1,000 at the most"),
    (".*", "tags", "must be names and values|at most 8|empty value", "a list in a text, of names with bounds of their own"),
    ("GET /series(/count)?", "prefix", "give it or id2", "one of two parameters"),
    ("GET /series(/count)?", "seen_since", "must be a day", "the calendar"),
    ("GET /series(/count)?", "id1", "must be a whole number", "a number of JSON has any length"),
    (".* /series/{number}(/tags)?", "number", "no series of this number|must be the number of a series", "what the table has"),
    ("(PUT|PATCH) /series/{number}/tags", "(?s).*", "must have|must neither|may have", "names and values have bounds that a map cannot tell"),
    ("PATCH /series", "tags", "has to be", "an array whose elements are told apart one by one"),
    ("DELETE /series", "unused", "say unused=true", "a flag that has to be set"),
    ("PATCH /series", None, "not done", "lines have a grammar of their own"),
    ("GET /rejections", "limit|cursor", "is of pages", "the format decides"),
    ("DELETE /rejections", "everything", "select what|is of the whole", "at least one of several parameters, or this one"),
    ("POST /(api/v2/write|write)", None, "", "line protocol is a grammar of its own, and a client of InfluxDB reads another answer"),
    ("(GET|POST) /query", None, "", "CREATE DATABASE is all that is taken of a language"),
    ("POST /(frequency|spam)", "timeout", "expected a time|10m at most", "a number in a text has bounds"),
    ("POST /(frequency|config)", "rate", "expected readings per second", "a number in a text has bounds"),
    ("POST .*", ".*", r"invalid type: floating point `-?\d+\.0`", "a whole number is written without a fraction"),
    ("POST /config", "target", "expected an address", "an address is more than a pattern"),
    ("POST /config", r"patterns\.((id1|id2|start_time)(\[\d+\])*|values|types\[\d+\].*|late_by|shuffle_within)", ".*",
     "a text with a grammar of its own, which the manual of sluicegen describes"),
    ("POST /config", r"patterns\.(late|id1)", "must be 1 at most|are the most", "several keys are counted together"),
]

REFUSED = (400, 422)


@schemathesis.check
def refuses_only_what_is_listed(ctx, response, case):
    """A request that the document allows is refused by a rule of the list, or not at all."""
    if case.meta is None or not case.meta.generation.mode.is_positive or response.status_code not in REFUSED:
        return
    problem = response.json()
    told = (problem.get("parameter"), problem.get("detail", ""))
    for operation, parameter, sentence, _ in RULES:
        of_parameter = told[0] is None if parameter is None else re.fullmatch(parameter, told[0] or "")
        if of_parameter and re.fullmatch(operation, case.operation.label) and re.search(sentence, told[1]):
            return
    raise AssertionError(f"allowed by the document, but refused: {problem}")


def at_most(body, key, most):
    if type(body.get(key)) is int and body[key] > most:
        body[key] = most


@schemathesis.hook
def before_call(ctx, case, **kwargs):
    """Readings go to our own service and nowhere else, and few of them."""
    if case.operation.label == "GET /live":
        query = case.query = case.query if isinstance(case.query, dict) else {}
        # It would go on: one event has to do.
        if type(query.setdefault("limit", 1)) is int:
            at_most(query, "limit", 1)
    target = os.environ.get("TARGET")
    if not target or not isinstance(case.body, dict) or not case.operation.label.startswith("POST"):
        return
    body = case.body
    # Null stands for the default, where nobody listens.
    if body.get("target", "") is None or isinstance(body.get("target"), str) and re.match("[a-z]+://.", body["target"]):
        body["target"] = target
    if case.operation.label == "POST /spam":
        # Beyond these bounds a request is refused, and stays as it is.
        if type(body.get("total")) is int and body["total"] <= 100_000_000:
            at_most(body, "total", 1_000)
        if type(body.get("concurrency")) is int and body["concurrency"] <= 65_536:
            at_most(body, "concurrency", 64)
    if case.operation.label == "POST /config":
        if type(body.get("connections")) is int and body["connections"] <= 1_024:
            at_most(body, "connections", 4)
        patterns = body.get("patterns")
        if isinstance(patterns, dict) and type(patterns.get("series")) is int and patterns["series"] <= 100_000_000:
            at_most(patterns, "series", 1_000)
