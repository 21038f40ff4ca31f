"""Every call as a page of the manual, out of the OpenAPI document."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

METHODS = ("get", "post", "put", "patch", "delete")
_HEAD = """# Every call

This page is made from the service's OpenAPI document, which `GET /openapi.json` gives to programs. `$URL` is where the
service is and `$KEY` an API key; errors are `application/problem+json`, and `/problems/CODE` of a running service
explains each code.
"""
_WORDS = {"boolean": "true or false"}


def markdown(openapi: Mapping[str, Any]) -> str:
    """The page as Markdown: calls by what they are about, with parameters, body, example and answers."""
    schemas = openapi.get("components", {}).get("schemas", {})
    by_tag: dict[str, list[str]] = {}
    for path, operations in openapi["paths"].items():
        for method in METHODS:
            if method in operations:
                tag = (operations[method].get("tags") or ["more"])[0]
                by_tag.setdefault(tag, []).append(_call(path, method, operations[method], schemas))
    parts = [_HEAD]
    for tag, calls in by_tag.items():
        parts += [f"## {tag.capitalize()}\n", *calls]
    return "\n".join(parts)


def _call(path: str, method: str, operation: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    lines = [f"### {method.upper()} {path}", ""]
    lines += [" ".join(str(operation.get("description") or operation.get("summary", "")).split()), ""]
    parameters = [parameter for parameter in operation.get("parameters", []) if parameter["in"] != "header"]
    if parameters:
        lines += ["| parameter | in | takes | |", "|---|---|---|---|"]
        lines += [_parameter(parameter) for parameter in parameters] + [""]
    if "requestBody" in operation:
        lines += [*_body(operation["requestBody"], schemas), ""]
    lines += [*_examples(path, method, operation), ""]
    lines += ["| answer | |", "|---|---|"]
    lines += [f"| {status} | {_cell(answer.get('description', ''))} |"
              for status, answer in sorted(operation["responses"].items())]  # fmt: skip
    return "\n".join([*lines, ""])


def _parameter(parameter: Mapping[str, Any]) -> str:
    schema = parameter.get("schema", {})
    about = parameter.get("description") or schema.get("description", "")
    default = f" Default: `{json.dumps(schema['default'])}`." if schema.get("default") is not None else ""
    return f"| `{parameter['name']}` | {parameter['in']} | {_kind(schema)} | {_cell(about)}{default} |"


def _body(body: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    """A line on what it is; its fields where they are few enough to be read."""
    schema = body["content"]["application/json"].get("schema", {})
    optional = "" if body.get("required") else " It may be left out."
    names = [_name(one) for one in schema.get("oneOf", [schema])]
    yield f"Body: {' or '.join(f'`{name}`' for name in names)}.{optional}"
    properties = schemas.get(names[0], {}).get("properties", {}) if len(names) == 1 else {}
    if properties:
        needed = schemas[names[0]].get("required", [])
        yield ""
        yield "| field | takes | |"
        yield "|---|---|---|"
        for name, field in properties.items():
            mark = " (needed)" if name in needed else ""
            yield f"| `{name}`{mark} | {_kind(field)} | {_cell(field.get('description', ''))} |"
    elif len(names) > 1:
        yield "Fields of each kind stand in the schema and in the form at `/ui/submit`; what they mean, in METHOD."


def _examples(path: str, method: str, operation: Mapping[str, Any]) -> Iterator[str]:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    named = {title: one["value"] for title, one in content.get("examples", {}).items()}
    if not named:
        yield "```sh"
        yield curl(path, method, content.get("example"))
        yield "```"
    for title, body in named.items():
        yield f"{title}:"
        yield ""
        yield "```sh"
        yield curl(path, method, body)
        yield "```"
        yield ""


def curl(path: str, method: str, body: Any = None) -> str:
    """The request as a line of a shell, its body in single quotes."""
    verb = {"get": "", "post": "" if body is not None else "-X POST "}.get(method, f"-X {method.upper()} ")
    line = f'curl {verb}"$URL{path}" -H "Authorization: Bearer $KEY"'
    if body is None:
        return line
    quoted = json.dumps(body, indent=1, ensure_ascii=False).replace("'", "'\\''")
    return f"{line} -H 'Content-Type: application/json' -d '{quoted}'"


def _kind(schema: Mapping[str, Any]) -> str:
    """What a value may be, in few words."""
    if "enum" in schema:
        return ", ".join(f"`{one}`" for one in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    for several in ("anyOf", "oneOf"):
        if several in schema:
            found = [_kind(one) for one in schema[several] if one.get("type") != "null"]
            return " or ".join(dict.fromkeys(found)) or "anything"
    if "$ref" in schema:
        return f"`{_name(schema)}`"
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    kind = str(schema.get("format") or schema.get("type") or "anything")
    return _WORDS.get(kind, kind)


def _name(schema: Mapping[str, Any]) -> str:
    return str(schema.get("$ref", "")).rsplit("/", 1)[-1] or str(schema.get("title") or "object")


def _cell(text: str) -> str:
    """Text that stays in its cell."""
    return " ".join(text.split()).replace("|", "\\|")
