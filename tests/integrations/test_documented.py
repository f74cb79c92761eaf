"""The code in docs/integrations.md is part of the examples, which have tests of their own."""

import json
import re
import subprocess
import sys

import pytest
from tests.transcripts.markdown import ROOT, Document

DOCUMENT = Document("docs/integrations.md")
EXAMPLES = {
    **{path.name: path.read_text() for path in sorted((ROOT / "examples").glob("*.py"))},
    **{
        path.name: "\n\n".join("".join(cell["source"]) for cell in json.loads(path.read_text())["cells"])
        for path in sorted((ROOT / "examples").glob("*.ipynb"))
    },
}


def lines(source: str) -> str:
    """Return source without empty lines and indentation."""
    return "\n".join(line.strip() for line in source.splitlines() if line.strip())


@pytest.mark.parametrize("block", DOCUMENT.blocks_in("python"), ids=lambda block: f"{block.heading}, line {block.line}")
def test_documented_code_is_part_of_an_example(block: object) -> None:
    shown = lines(getattr(block, "text", ""))
    assert [name for name, source in EXAMPLES.items() if shown in lines(source)]


def test_documented_examples_exist() -> None:
    named = set(re.findall(r"\.\./examples/([\w.]+)", DOCUMENT.text))
    assert named
    assert named <= EXAMPLES.keys()


def test_import_of_tidings_imports_no_adapter() -> None:
    code = (
        "import sys, tidings; tidings.operation, tidings.start, tidings.connect; "
        "print(*(name for name in sys.modules if name.partition('.')[0] in "
        "('sqlalchemy', 'starlette', 'fastapi', 'IPython', 'celery') or name.startswith('tidings.integrations')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("name", ["logging", "jupyter"])
def test_adapter_without_framework_imports_none(name: str) -> None:
    code = (
        f"import sys, tidings.integrations.{name}; "
        "print(*(name for name in sys.modules if name.partition('.')[0] in ('starlette', 'IPython', 'uvicorn')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
