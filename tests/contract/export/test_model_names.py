import pytest

from tidings.contract.export.model import Namer, class_name, constant, pascal


@pytest.mark.parametrize(
    ("text", "name"),
    [("operation:cancel_outcome", "OperationCancelOutcome"), ("Box_int_", "BoxInt"), ("", "N"), ("1a", "N1a")],
)
def test_pascal(text: str, name: str) -> None:
    assert pascal(text) == name


@pytest.mark.parametrize(
    ("text", "name"), [("operation:cancel_outcome", "OPERATION_CANCEL_OUTCOME"), ("9:to_5", "N9_TO_5")]
)
def test_constants(text: str, name: str) -> None:
    assert constant(text) == name


def test_a_class_is_called_without_its_module() -> None:
    assert class_name("my_app.events.Trade") == class_name("Trade") == "Trade"


def test_no_two_are_alike() -> None:
    namer = Namer(["Taken"])
    assert [namer.take(name) for name in ("Taken", "A", "A", "A2", "A")] == ["Taken2", "A", "A2", "A22", "A3"]
