"""How a record header is described, beside the code that writes it, and the schemas made of that."""

from collections.abc import Iterable
from types import MappingProxyType
from typing import Any, NamedTuple

JsonSchema = dict[str, Any]


class HeaderField(NamedTuple):
    """A header whose bytes are UTF-8 text; `rules` is what JSON Schema says of the text, `required` if we write it."""

    name: str
    meaning: str
    example: str
    rules: MappingProxyType[str, object] = MappingProxyType({})
    required: bool = True


def rules(**keywords: object) -> MappingProxyType[str, object]:
    return MappingProxyType(keywords)


def headers_schema(title: str, fields: Iterable[HeaderField]) -> JsonSchema:
    """Return the schema of a record's headers as an object of texts; the last header of a name counts."""
    fields = tuple(fields)
    return {
        "title": title,
        "type": "object",
        "properties": {
            field.name: {"type": "string", "description": field.meaning, **field.rules, "examples": [field.example]}
            for field in fields
        },
        "required": [field.name for field in fields if field.required],
    }


def headers_example(fields: Iterable[HeaderField]) -> dict[str, str]:
    return {field.name: field.example for field in fields if field.required}
