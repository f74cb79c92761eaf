from pathlib import Path

import pytest

from tidings.contract.loading import load_contract
from tidings.exceptions import InvalidContract

MODULE = """
import msgspec
from tidings.contract.event_types import event
from tidings.contract.contract import Contract

class TradeExecuted(msgspec.Struct, frozen=True, kw_only=True):
    trade_id: str

class events:
    contract = Contract.of(event("trade:executed", TradeExecuted, channel="trades", key="trade_id"))

number = 5
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "shop_events.py").write_text(MODULE)
    (tmp_path / "broken_events.py").write_text("1 / 0")
    return tmp_path


def test_a_contract_of_a_module(here: Path) -> None:
    assert [event.type for event in load_contract("shop_events:events.contract").own] == ["trade:executed"]


def test_a_contract_of_a_file(here: Path) -> None:
    path = here / "shop.json"
    path.write_text('{"events":[{"type":"trade:executed","channel":"trades","fields":{"trade_id":"string"}}]}')
    assert [event.type for event in load_contract(str(path)).own] == ["trade:executed"]


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        ("shop_events", "is no contract"),
        ("", "is no contract"),
        ("shop_events:", "is no contract"),
        ("shop_events:nothing", "shop_events has no nothing"),
        ("shop_events:number", "shop_events:number is a int"),
        ("no_such_module_at_all:contract", "cannot be imported"),
        ("broken_events:contract", "ZeroDivisionError"),
        ("missing.toml", "missing.toml: No such file"),
    ],
)
def test_what_is_none_is_told(here: Path, spec: str, fault: str) -> None:
    with pytest.raises(InvalidContract, match=fault):
        load_contract(spec)
