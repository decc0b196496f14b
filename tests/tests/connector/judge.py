"""Says which bodies of Connectors print valid JSON: python3 judge.py WHEEL… < bodies

Each line is a body as JSON. Each is filled with lists of none to three elements, words, numbers, quotes and line breaks, and nothing. For
each body a line is printed: "valid" where each filling that is sent is JSON, else why not. The first line is Jinja2's version.
"""

import json
import sys

import engine

FILLED = "x\"y\\z\nnew\tline"


def attributes(text, number, count, missing):
    """A trigger's attributes: each text is `text`, each list has `count` elements; `missing` lacks all that may be missing."""
    words = [text + str(at) for at in range(count)]
    things = [{"sku": text + str(at), "qty": number, "tags": [text, text][: at + 1]} for at in range(count)]
    user = {"ID": "u1"}
    event = {"Items": things, "Products": things, "Tags": words, "Options": {"colour": text, "size": text}}
    user["Interests"] = words
    if not missing:
        user.update({"First Name": text, "Tier": "gold", "Language": text, "Age": number})
        event.update({"City": text, "Coupon": text, "Channel": text, "Count": number, "Score": number, "Gift": True})
        event.update({"Order ID": text, "Ordered At": "2026-11-28 17:21:00"})
    return {"UserAttribute": user, "EventAttribute": event}


def fillings():
    for count in range(4):
        yield attributes("word", 7, count, False)
        yield attributes(FILLED, 2.5, count, False)
        yield attributes("word", "49.90", count, False)
    yield attributes("", "", 2, False)
    yield attributes("gold", 0, 2, False)
    yield attributes("word", 7, 2, True)


def judged(body, environment):
    template = environment.from_string(body)
    sent = 0
    for objects in fillings():
        try:
            printed = template.render(**objects)
        except engine.NotSent:
            continue
        if "MOE_NOT_SEND" in printed:
            continue
        sent += 1
        try:
            event = json.loads(printed)
        except ValueError as error:
            return "%s: %s" % (error, printed)
        if not isinstance(event, dict) or "event" not in event:
            return "no event: %s" % printed
    return "valid" if sent > 5 else "sent %d times" % sent


environment = engine.environment()
print(engine.jinja2.__version__)
for line in sys.stdin:
    try:
        verdict = judged(json.loads(line), environment)
    except engine.jinja2.TemplateError as error:
        verdict = "%s: %s" % (type(error).__name__, error)
    print(json.dumps(verdict))
