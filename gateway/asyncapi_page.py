"""The AsyncAPI document as a page: no scripts, nothing loaded, every text escaped."""

import json
from collections.abc import Mapping
from html import escape
from typing import Any

Json = Mapping[str, Any]

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
h2 { border-top: 1px solid #ccc; padding-top: 1rem; overflow-wrap: anywhere }
table { border-collapse: collapse; width: 100% } td, th { text-align: left; vertical-align: top; padding: .2rem .8rem
.2rem 0; border-bottom: 1px solid #eee } pre { background: #f5f5f5; padding: .8rem; overflow: auto }
code, pre { font-size: .9rem } nav li { overflow-wrap: anywhere } summary { cursor: pointer }
@media (prefers-color-scheme: dark) { body { background: #181818; color: #ddd } pre { background: #242424 }
a { color: #8bf } td, th { border-color: #333 } h2 { border-color: #444 } }
"""
_DIRECTIONS = {"receive": "Callstream reads it: produce here", "send": "Callstream writes it"}


def page(document: Json) -> str:
    info, channels = document["info"], document["channels"]
    links = "".join(
        f'<li><a href="#{escape(name)}">{escape(channel["address"])}</a></li>' for name, channel in channels.items()
    )
    sections = "".join(
        _channel(operation["channel"]["$ref"].rpartition("/")[2], operation, document)
        for operation in document["operations"].values()
    )
    title = escape(f"{info['title']} {info['version']}: topics")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<h1>{title}</h1><p>{escape(info['description'])}</p>"
        f'<p>For machines: <a href="asyncapi.yaml">asyncapi.yaml</a> (AsyncAPI {escape(document["asyncapi"])}). '
        f'The same over REST: <a href="docs">docs</a>.</p>'
        f"<nav><ul>{links}</ul></nav>{sections}</body></html>\n"
    )


def _channel(name: str, operation: Json, document: Json) -> str:
    channel = document["channels"][name]
    messages = [document["components"]["messages"][message] for message in channel["messages"]]
    return (
        f'<section><h2 id="{escape(name)}">{escape(channel["address"])}</h2>'
        f"<p>{escape(channel['summary'].rstrip('.'))}. {escape(_DIRECTIONS[operation['action']])}.</p>"
        f"{_kafka(channel['bindings']['kafka'])}"
        f"{''.join(_message(message, document['components']['schemas']) for message in messages)}</section>"
    )


def _kafka(binding: Json) -> str:
    replicas = {"replicas": binding["replicas"]} if "replicas" in binding else {}
    facts = {"partitions": binding["partitions"], **replicas, **binding["topicConfiguration"]}
    return f"<p>{', '.join(f'{escape(name)} {escape(str(value))}' for name, value in facts.items())}</p>"


def _message(message: Json, schemas: Json) -> str:
    key = message["bindings"]["kafka"]["key"]["description"]
    examples = "".join(
        f"<h4>Example</h4>{_json(example['payload'])}{_json(example['headers'])}"
        for example in message.get("examples", ())
    )
    return (
        f"<h3>{escape(message['name'])}</h3><p>Key: {escape(key)}. Value: {escape(message['contentType'])}.</p>"
        f"{_value(message['payload'], schemas)}{_headers(message['headers'])}{examples}"
    )


def _value(payload: Json, schemas: Json) -> str:
    if "description" in payload:
        return f"<p>{escape(payload['description'])}.</p>"
    shown = {name: schemas[name] for name in _names_in(payload, schemas)}
    return f"<details><summary>Schema of the value</summary>{_json(payload)}{_json(shown)}</details>"


def _names_in(schema: Json, schemas: Json) -> list[str]:
    """Return the names of the schemas that this one refers to, and of those that they refer to, in order."""
    found: dict[str, None] = {}
    waiting: list[Any] = [schema]
    while waiting:
        match waiting.pop(0):
            case {"$ref": str(reference)} if (name := reference.rpartition("/")[2]) not in found:
                found[name] = None
                waiting.append(schemas[name])
            case dict() as inner:
                waiting.extend(inner.values())
            case list() as inner:
                waiting.extend(inner)
    return list(found)


def _headers(schema: Json) -> str:
    required = set(schema["required"])
    rows = "".join(
        _row(
            f"<code>{escape(name)}</code>",
            "always" if name in required else "may be absent",
            field["description"],
            _rule(field),
        )
        for name, field in schema["properties"].items()
    )
    return f"<h4>Headers</h4><table><tr><th>Name</th><th></th><th>Meaning</th><th>Form</th></tr>{rows}</table>"


def _row(name: str, *texts: str) -> str:
    return f"<tr><td>{name}</td>{''.join(f'<td>{escape(text)}</td>' for text in texts)}</tr>"


def _rule(field: Json) -> str:
    if "enum" in field:
        return ", ".join(field["enum"])
    return str(field.get("const") or field.get("format") or field.get("pattern") or "text")


def _json(value: object) -> str:
    return f"<pre>{escape(json.dumps(value, indent=2, ensure_ascii=False))}</pre>"
