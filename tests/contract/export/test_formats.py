"""All formats: the export of a small contract, byte by byte, and its determinism."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.contract.export.odd_contract import ODD
from tests.contract.export.test_document import SHOP

from tidings.contract.contract import Contract
from tidings.contract.export.formats import FORMATS, Format

GOLDEN = Path(__file__).parent / "golden"
"""Golden files. TIDINGS_WRITE_GOLDEN=1 writes them again; review the changes."""
SMALL = Contract(SHOP.own)
ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("format", FORMATS.values(), ids=lambda format: format.name)
def test_small_contract_matches_its_golden_file(format: Format) -> None:
    golden = GOLDEN / format.file
    text = format.render(SMALL)
    if os.environ.get("TIDINGS_WRITE_GOLDEN"):
        golden.write_text(text)
    assert text == golden.read_text()


def test_typescript_client_has_the_present_export() -> None:
    committed = ROOT / "clients" / "typescript" / "src" / "generated" / "contract.ts"
    assert committed.read_text() == FORMATS["typescript"].render(Contract()), "run `npm run generate`"


def test_formats_have_unique_names() -> None:
    assert list(FORMATS) == ["json", "json-schema", "asyncapi", "typescript", "go"]
    assert len({format.file for format in FORMATS.values()}) == len(FORMATS)
    assert all(format.title and format.about for format in FORMATS.values())


_DIGEST = """
import hashlib
from tests.contract.export.odd_contract import ODD
from tidings.contract.export.formats import FORMATS
print(*(hashlib.sha256(format.render(ODD).encode()).hexdigest() for format in FORMATS.values()))
"""


def test_exports_do_not_depend_on_hash_order() -> None:
    here = [hashlib.sha256(format.render(ODD).encode()).hexdigest() for format in FORMATS.values()]
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", _DIGEST], env=environment, capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == here
