"""Jinja2 as MoEngage might have it: in either version, with its statement and its filters. The wheels are the first arguments."""

import base64
import collections
import collections.abc
import datetime
import hashlib
import re
import sys

sys.path[:0] = [argument for argument in sys.argv[1:] if argument.endswith(".whl")]

# Jinja2 2.8 is older than this Python: names that have moved, and a flag that has to stand first
for name in dir(collections.abc):
    if not hasattr(collections, name):
        setattr(collections, name, getattr(collections.abc, name))
compile_pattern = re.compile
re.compile = lambda pattern, flags=0: compile_pattern(re.sub(r"\(\?u\)$", "", pattern) if isinstance(pattern, str) else pattern, flags)

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension


class NotSent(Exception):
    pass


class NotSend(Extension):
    """MoEngage's statement {% MOE_NOT_SEND("reason") %}."""

    tags = {"MOE_NOT_SEND"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        parser.stream.expect("lparen")
        reason = parser.parse_expression()
        parser.stream.expect("rparen")
        return nodes.CallBlock(self.call_method("stop", [reason]), [], [], []).set_lineno(line)

    def stop(self, reason, caller):
        raise NotSent(reason)


def print_time(value, toFormat="%Y-%m-%d", fromFormat=None, timeZone=None, tzOffset=None):
    return datetime.datetime(2026, 11, 28, 17, 21, tzinfo=datetime.timezone.utc).strftime(toFormat)


def days(first, last):
    read = lambda text: datetime.datetime.strptime(text, "%d/%m/%Y")
    return (read(last) - read(first)).days


def encoded(value):
    return base64.b64encode(str(value).encode()).decode()


def hashed(value, key=""):
    return hashlib.sha256((str(value) + key).encode()).hexdigest()


def environment(undefined=jinja2.Undefined, autoescape=False):
    made = jinja2.Environment(undefined=undefined, autoescape=autoescape, extensions=[NotSend])
    made.filters.update(
        dateTimeFormatter=print_time,
        today=lambda pattern, zone=None: print_time(None, pattern),
        days=days,
        base64encode=encoded,
        convertToSHA256=hashed,
        convertToSHA256NoSalt=hashed,
    )
    return made
