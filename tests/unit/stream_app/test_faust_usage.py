"""What of Faust loses or reorders records is not used (docs/decisions/0001-window-instead-of-fausts-acks.md)."""

import ast
from pathlib import Path

import stream_app

NAMES = {
    "take",
    "noack_take",
    "send_soon",
    "Table",
    "GlobalTable",
    "SetTable",
    "group_by",
    "through",
    "sink",
    "add_sink",
}
OPTIONS = {
    "concurrency",
    "sink",
    "isolated_partitions",
    "processing_guarantee",
    "producer_threaded",
    "transactional_id",
}


def test_no_module_uses_what_loses_records() -> None:
    found = []
    modules = sorted(Path(stream_app.__file__).parent.glob("*.py"))
    for module in modules:
        for node in ast.walk(ast.parse(module.read_text())):
            match node:
                case ast.Attribute(attr=name) if name in NAMES:
                    found.append((module.name, node.lineno, name))
                case ast.keyword(arg=name) if name in OPTIONS:
                    found.append((module.name, node.value.lineno, name))
    assert modules
    assert found == []
