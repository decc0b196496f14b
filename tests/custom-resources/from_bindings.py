"""Makes a closed JSON Schema of a custom resource from its Rust bindings, as the generator kopium writes them.

    python3 from_bindings.py SOURCE.rs GROUP/VERSION KIND "where SOURCE.rs is from" > KIND.json

Every field of the bindings becomes a property and no other is allowed; Option is what may be absent, enums keep their spellings.
"""

import json
import re
import sys

PRIMITIVES = {
    "String": {"type": "string"},
    "bool": {"type": "boolean"},
    "f64": {"type": "number"},
    "IntOrString": {"type": ["integer", "string"]},
    "serde_json::Value": {},
    "Condition": {"type": "object"},
}


def schema(rust):
    """The schema of a Rust type."""
    rust = rust.strip()
    if rust in PRIMITIVES:
        return PRIMITIVES[rust]
    if re.fullmatch(r"[iu]\d+", rust):
        return {"type": "integer"}
    if inner := re.fullmatch(r"(?:Vec|BTreeSet)<(.*)>", rust):
        return {"type": "array", "items": schema(inner[1])}
    if inner := re.fullmatch(r"(?:BTreeMap|HashMap)<String, (.*)>", rust):
        return {"type": "object", "additionalProperties": schema(inner[1])}
    if inner := re.fullmatch(r"(?:Option|Box)<(.*)>", rust):
        return schema(inner[1])
    return {"$ref": f"#/definitions/{rust}"}


def definitions(source):
    """Every struct and enum of the bindings."""
    found = {}
    for kind, name, body in re.findall(r"^pub (struct|enum) (\w+) \{\n(.*?)^\}", source, re.M | re.S):
        properties, required, values, rename = {}, [], [], None
        for line in body.splitlines():
            line = line.strip()
            if line.startswith("#[serde("):
                renamed = re.search(r'rename = "((?:[^"\\]|\\.)*)"', line)
                rename = renamed[1] if renamed else None
            elif field := re.fullmatch(r"pub (\S+): (.*),", line):
                key = rename or field[1].removeprefix("r#")
                properties[key] = schema(field[2])
                if not field[2].startswith("Option<"):
                    required.append(key)
                rename = None
            elif variant := re.fullmatch(r"(\w+),", line):
                values.append(rename or variant[1])
                rename = None
        if kind == "enum":
            found[name] = {"enum": values}
        else:
            found[name] = {"type": "object", "additionalProperties": False, "properties": properties}
            if required:
                found[name]["required"] = required
    return found


def used(name, all_definitions, into):
    """Adds a definition and all that it refers to."""
    if name not in into:
        into[name] = all_definitions[name]
        for other in re.findall(r"#/definitions/(\w+)", json.dumps(all_definitions[name])):
            used(other, all_definitions, into)
    return into


path, version, kind, origin = sys.argv[1:]
with open(path, encoding="utf-8") as file:
    text = file.read()
spec = re.search(r"kind = \"%s\".*?pub struct (\w+)" % kind, text, re.S)[1]
print(json.dumps({
    "$schema": "http://json-schema.org/draft-07/schema#",
    "title": f"{version} {kind}",
    "$comment": f"from {origin}",
    "type": "object",
    "additionalProperties": False,
    "required": ["apiVersion", "kind", "metadata", "spec"],
    "properties": {
        "apiVersion": {"const": version},
        "kind": {"const": kind},
        "metadata": {"type": "object"},
        "spec": {"$ref": f"#/definitions/{spec}"},
    },
    "definitions": used(spec, definitions(text), {}),
}, indent=1))
