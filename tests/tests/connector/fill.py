"""Fills bodies of Connectors in Jinja2 as MoEngage might: python3 fill.py WHEEL… < cases

The first line of the cases is the body, each other line a case: the attributes by object, and the event that has to come of it, null
where nothing is to be sent. All are JSON. Prints how many were sent; anything else than expected ends with 1.
"""

import json
import sys

import engine
import jinja2
from engine import NotSent


def value(told):
    """A value beyond what JSON has is told as an object."""
    if isinstance(told, dict) and set(told) == {"$huge"}:
        return int(told["$huge"])
    if isinstance(told, dict) and set(told) == {"$float"}:
        return float(told["$float"])
    return told


def same(actual, expected):
    if isinstance(expected, dict) and set(expected) == {"$huge"}:
        return type(actual) is int and actual == int(expected["$huge"])
    if isinstance(expected, dict) and set(expected) == {"$printed"}:
        return isinstance(actual, str) and json.loads(actual) == expected["$printed"]
    if isinstance(expected, dict) and set(expected) == {"$text"}:
        return actual in ("nan", "inf", "-inf")
    if isinstance(expected, dict):
        return isinstance(actual, dict) and set(actual) == set(expected) and all(same(actual[name], expected[name]) for name in expected)
    if isinstance(expected, list):
        return isinstance(actual, list) and len(actual) == len(expected) and all(map(same, actual, expected))
    if isinstance(expected, bool) or isinstance(actual, bool) or expected is None:
        return actual is expected
    if isinstance(expected, str):
        return actual == expected
    return isinstance(actual, (int, float)) and actual == expected


def refuse(constant):
    raise ValueError(constant + " is no JSON")


def run(template, cases, named):
    sent = 0
    for case in cases:
        objects = {name: {key: value(told) for key, told in members.items()} for name, members in case["objects"].items()}
        try:
            printed = template.render(**objects)
        except NotSent as reason:
            if case["expected"] is not None or str(reason) != "no ID":
                sys.exit("%s: not sent (%s): %r" % (named, reason, case))
            continue
        if case["expected"] is None:
            sys.exit("%s: sent: %r: %s" % (named, case, printed))
        try:
            event = json.loads(printed, parse_constant=refuse)
        except ValueError as error:
            sys.exit("%s: %s: %r: %s" % (named, error, case, printed[:4000]))
        if not same(event, case["expected"]):
            sys.exit("%s: %r: %r" % (named, case, event))
        sent += 1
    return sent


body, *cases = (json.loads(line) for line in sys.stdin)
# all cases as Jinja is by itself, the first of them where it is stricter or escapes HTML: these are the values that people thought of
settings = [(jinja2.StrictUndefined, False, cases[:1050]), (jinja2.Undefined, True, cases[:1050]), (jinja2.Undefined, False, cases)]
for undefined, autoescape, some in settings:
    environment = engine.environment(undefined, autoescape)
    named = "%s, %s, autoescape %s" % (jinja2.__version__, undefined.__name__, autoescape)
    count = run(environment.from_string(body), some, named)
print(jinja2.__version__, count)
