"""Makes a closed JSON Schema of a custom resource from the definition that its project publishes.

    python3 from_crd.py DEFINITION.yaml VERSION "where DEFINITION.yaml is from" > KIND.json

Types, bounds, patterns, enums, formats and required fields stay as they are published; descriptions go. A field that the definition does
not name is refused. Rules in CEL, defaults and keys of lists stay under their own names, `x-kubernetes-…` and `default`: `schemas.rs`
knows what they mean. Needs PyYAML.
"""

import json
import re
import sys

import yaml

BOUNDS = {"int32": (-(2**31), 2**31 - 1), "int64": (-(2**63), 2**63 - 1)}
LEFT_OUT = ["description", "x-kubernetes-map-type", "x-kubernetes-list-type", "x-kubernetes-embedded-resource"]


def closed(published):
    """The schema as published, closed, and with the keywords that a JSON Schema has for what Kubernetes writes otherwise."""
    schema = {key: value for key, value in published.items() if key not in LEFT_OUT}
    if "properties" in published:
        schema["properties"] = {name: closed(value) for name, value in published["properties"].items()}
        if not schema.pop("x-kubernetes-preserve-unknown-fields", False):
            schema["additionalProperties"] = False
    elif isinstance(published.get("additionalProperties"), dict):
        schema["additionalProperties"] = closed(published["additionalProperties"])
    if "items" in published:
        schema["items"] = closed(published["items"])
    if published.get("x-kubernetes-list-type") == "set":
        schema["uniqueItems"] = True
    if schema.pop("nullable", False):
        schema["type"] = [published["type"], "null"]
    if published.get("format") in BOUNDS:
        least, most = BOUNDS[schema.pop("format")]
        schema.setdefault("minimum", least)
        schema.setdefault("maximum", most)
    if "(?i)" in schema.get("pattern", ""):
        # Go's word for either case, which a JSON Schema does not have
        before, after = schema["pattern"].split("(?i)")
        schema["pattern"] = before + re.sub("[a-z]", lambda letter: f"[{letter[0]}{letter[0].upper()}]", after)
    for rule in schema.get("x-kubernetes-validations", []):
        rule["rule"] = rule["rule"].strip()
    return schema


path, version, origin = sys.argv[1:]
with open(path, encoding="utf-8") as file:
    definition = yaml.safe_load(file)["spec"]
group, kind = definition["group"], definition["names"]["kind"]
[served] = [served for served in definition["versions"] if served["name"] == version]
spec = closed(served["schema"]["openAPIV3Schema"]["properties"]["spec"])
print(json.dumps({
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": f"{group}/{version} {kind}",
    "$comment": f"from {origin}",
    "type": "object",
    "additionalProperties": False,
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": f"{group}/{version}"},
        "kind": {"const": kind},
        "metadata": {"type": "object"},
        "spec": spec,
    },
}, indent=1, ensure_ascii=False))
