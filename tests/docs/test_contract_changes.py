"""The transcripts of docs/contract-changes.md, played, and its tables, held against the code."""

import re
import subprocess
from pathlib import Path

import pytest
from tests.cli.processes import TIDINGS, TIMEOUT_S, environment
from tests.transcripts.markdown import Document

from tidings.contract.diff.rules import RULES, Compatibility, Effect

DOCUMENT = Document("docs/contract-changes.md")
TRANSCRIPTS = [block.text for block in DOCUMENT.blocks_in("console")]
OLD = """
[[events]]
type = "trade:executed"
channel = "trades"
key = "trade_id"
fields = { trade_id = "string", price = "integer" }
"""
NEW = OLD.replace('price = "integer"', 'price = "number", note = "string?", fee = "number"')
RECORDING = """
{"type":"trade:executed","data":{"trade_id":"a","price":1}}
{"type":"trade:executed","data":{"trade_id":"b","price":2}}
{"type":"trade:executed","data":{"trade_id":"c","price":"3"}}
{"type":"trade:execute","data":{"trade_id":"d","price":4}}
{"type":"operation:error","data":{"operation_id":"o","code":"x","message":"y","recoverable":false}}
{"type":"channel:live","data":{"channels":["trades"],"position":"0badc0de:1"}}
"""


@pytest.mark.parametrize("transcript", TRANSCRIPTS, ids=lambda text: text.splitlines()[0])
def test_console_block_matches_the_output(transcript: str, tmp_path: Path) -> None:
    for name, text in {"old.toml": OLD, "new.toml": NEW, "recording.ndjson": RECORDING}.items():
        (tmp_path / name).write_text(text)
    command, _, printed = transcript.partition("\n")
    prompt, program, *arguments = command.split()
    assert (prompt, program) == ("$", "tidings")
    done = subprocess.run(
        [*TIDINGS, *arguments], capture_output=True, timeout=TIMEOUT_S, cwd=tmp_path, env=environment(), check=False
    )
    assert done.stdout.decode().strip() == printed.strip()


def test_guide_has_two_console_blocks() -> None:
    assert len(TRANSCRIPTS) == 2


def told(effect: Effect) -> str:
    words = {Compatibility.BREAKING: "**break**: ", Compatibility.COMPATIBLE: "fit: "}
    return "–" if effect.verdict is Compatibility.ANNOTATION else f"{words[effect.verdict]}{effect.because}"


def test_table_of_rules_matches_the_code() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (.+) \| (.+) \| (.+) \|$", DOCUMENT.text, re.MULTILINE)
    assert rows == [(rule.id, rule.sentence, told(rule.readers), told(rule.writers)) for rule in RULES.values()]
