"""docs/contract.md is true: its contract is one, in both forms, and its code is compiled against what is exported."""

import re
from pathlib import Path
from typing import Any

import pytest
from tests.contract.export.toolchains import STRICTEST, Go, Node
from tests.transcripts.markdown import Document

from tidings.contract.contract import Contract
from tidings.contract.export.formats import FORMATS
from tidings.contract.export.golang import export_go
from tidings.contract.export.typescript.source_file import export_typescript
from tidings.contract.loading import read_contract
from tidings.server.http.contract import DOCUMENTS, PAGE_PATH

PAGE_TEXT = Document("docs/contract.md")


def blocks(language: str) -> list[str]:
    return [block.text for block in PAGE_TEXT.blocks_in(language)]


@pytest.fixture(scope="module")
def contract() -> Contract:
    names: dict[str, Any] = {"__name__": "my_app.events"}
    (python,) = blocks("python")
    exec(python, names)
    found: Contract = names["contract"]
    return found


def test_file_declares_the_same_contract_as_the_module(contract: Contract) -> None:
    (toml,) = blocks("toml")
    (declared,) = read_contract(toml, "events.toml", form="toml").own
    (own,) = contract.own
    assert (declared.type, declared.channel, declared.key) == (own.type, own.channel, own.key)
    assert declared.payload.__doc__ == own.payload.__doc__
    assert declared.payload.__struct_fields__ == own.payload.__struct_fields__


def test_every_path_and_format_is_listed() -> None:
    (table,) = PAGE_TEXT.tables_with("path", "content")
    assert {row[0].strip("`") for row in table.rows} == {*DOCUMENTS, PAGE_PATH}
    sentence = re.search(r"The formats are (.*?)\.", PAGE_TEXT.text)
    assert sentence is not None
    assert re.findall(r"`([a-z-]+)`", sentence[1]) == list(FORMATS)


@pytest.mark.timeout(900)
def test_typescript_of_the_guide_compiles(contract: Contract, node: Node, tmp_path: Path) -> None:
    (tmp_path / "tidings.ts").write_text(export_typescript(contract))
    around = (
        "declare const socket: { onmessage: (event: { data: string }) => void };\n"
        "declare const console: { warn(text: string): void };\n"
        "declare function show(price: number): void;\n",
        "declare function show(percent: number): void;\ndeclare function connectAgain(): void;\n",
    )
    for number, (code, given) in enumerate(zip(blocks("ts"), around, strict=True)):
        application = tmp_path / f"application{number}.ts"
        application.write_text(code + "\n" + given)
        options = {**STRICTEST, "lib": ["es2022", "dom"]} if "new WebSocket" in code else STRICTEST
        node.compile(tmp_path, application, options=options)


@pytest.mark.timeout(900)
def test_go_of_the_guide_compiles(contract: Contract, go: Go, tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module example.test/shop\n\ngo 1.22\n")
    (tmp_path / "tidings").mkdir()
    (tmp_path / "tidings" / "tidings.go").write_text(export_go(contract))
    (code,) = blocks("go")
    body = "\n".join(f"\t{line}" if line else "" for line in code.splitlines())
    (tmp_path / "shop.go").write_text(
        'package shop\n\nimport (\n\t"encoding/json"\n\n\t"example.test/shop/tidings"\n)\n\n'
        f"func read(text []byte, show func(float64)) error {{\n{body}\n\treturn nil\n}}\n"
    )
    assert go.unformatted(tmp_path) == ""
    go.run("build", "./...", folder=tmp_path)
