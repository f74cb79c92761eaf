import ast
import re
from collections import defaultdict
from collections.abc import Iterator

import pytest
from tests.conventions.source_tree import ROOT, Module, modules
from tests.transcripts.markdown import Document

from tidings.protocol.message_types import MessageType
from tidings.protocol.messages import MESSAGES

SHARED_CLASS_NAMES = {
    # A push on the wire, and what a watch yields for it.
    "Gap": {"tidings.protocol.messages", "tidings.client.events"},
    "Live": {"tidings.protocol.messages", "tidings.client.events"},
    # Each framework's users import the one of their framework.
    "TidingsCallback": {
        "tidings.integrations.huggingface",
        "tidings.integrations.keras",
        "tidings.integrations.lightning",
    },
}
_REFERENCE = re.compile(r"\b((?:[\w-]+/)*[\w-]+\.md)(?:,\s+\"([^\"]+)\"|\s+§\s*(\S+))?")


def test_public_class_names_are_unique() -> None:
    homes = defaultdict(set)
    for module in modules():
        for name in module.classes():
            if not name.startswith("_"):
                homes[name].add(module.name)
    assert {name: found for name, found in homes.items() if len(found) > 1} == SHARED_CLASS_NAMES


def test_imports_form_no_circle() -> None:
    names = {module.name for module in modules()}
    graph = {
        module.name: {target for target in _targets(module, names) if target != module.name} for module in modules()
    }
    assert list(_circles(graph)) == []


def _targets(module: Module, names: set[str]) -> Iterator[str]:
    for source, name in module.imported():
        # The root package imports lazily: its names lead to their modules and not through it.
        if source == "tidings" and f"tidings.{name}" not in names:
            continue
        yield f"{source}.{name}" if f"{source}.{name}" in names else source


def _circles(graph: dict[str, set[str]]) -> Iterator[list[str]]:
    """Yield each group of modules that import one another, found by Tarjan's algorithm."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in graph.get(node, ()):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(graph):
        if node != "tidings" and node not in index:
            visit(node)
    yield from found


def test_private_names_stay_in_their_module() -> None:
    private = {module.name: set(_private_names(module)) for module in modules()}
    everywhere = set[str]().union(*private.values())
    faults = []
    for module in modules():
        faults += [f"{module.file}: from {source} import {name}" for source, name in module.imported() if _hidden(name)]
        for node in module.nodes:
            if isinstance(node, ast.Attribute) and _hidden(node.attr) and node.attr in everywhere:
                owner = node.value
                if isinstance(owner, ast.Name) and owner.id in ("self", "cls"):
                    continue  # its own, or a base class's
                if node.attr not in private[module.name]:
                    faults.append(f"{module.file}:{node.lineno}: {ast.unparse(node)}")
    assert faults == []


def _hidden(name: str | None) -> bool:
    if name is None or name in ("_make", "_replace", "_asdict"):  # public methods of named tuples
        return False
    return name.startswith("_") and not name.startswith("__")


def _private_names(module: Module) -> Iterator[str]:
    for node in module.nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and _hidden(node.name):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and _hidden(node.attr):
            yield node.attr
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and _hidden(node.id):
            yield node.id


@pytest.mark.parametrize("type", sorted({*map(str, MessageType), *(spec.name for spec in MESSAGES)}))
def test_message_type_literal_stands_in_one_module(type: str) -> None:
    homes = {
        module.file
        for module in modules()
        # The conformance suite is a test: it states its input literally.
        if type in module.strings and not module.name.startswith("tidings.testing.log_conformance")
    }
    assert homes == {f"src/tidings/protocol/{'message_types' if type in set(MessageType) else 'messages'}.py"}


def test_documents_named_in_code_exist() -> None:
    headings: dict[str, list[str]] = {}
    faults = []
    for module in modules():
        for line, text in module.texts:
            for file, heading, section in _REFERENCE.findall(" ".join(text.split())):
                path = ROOT / file
                if not path.is_file():
                    faults.append(f"{module.file}:{line}: {file}")
                    continue
                known = headings.setdefault(file, Document(file).headings)
                if section or (heading and heading not in known):
                    faults.append(f"{module.file}:{line}: {file}, {heading or section}")
    assert faults == []
