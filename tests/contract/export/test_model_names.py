import pytest

from tidings.contract.export.model import Namer, to_class_name, to_constant_case, to_pascal_case


@pytest.mark.parametrize(
    ("text", "name"),
    [("operation:cancel_outcome", "OperationCancelOutcome"), ("Box_int_", "BoxInt"), ("", "N"), ("1a", "N1a")],
)
def test_pascal(text: str, name: str) -> None:
    assert to_pascal_case(text) == name


@pytest.mark.parametrize(
    ("text", "name"), [("operation:cancel_outcome", "OPERATION_CANCEL_OUTCOME"), ("9:to_5", "N9_TO_5")]
)
def test_constants(text: str, name: str) -> None:
    assert to_constant_case(text) == name


def test_a_class_is_called_without_its_module() -> None:
    assert to_class_name("my_app.events.Trade") == to_class_name("Trade") == "Trade"


def test_no_two_are_alike() -> None:
    namer = Namer(["Taken"])
    assert [namer.take(name) for name in ("Taken", "A", "A", "A2", "A")] == ["Taken2", "A", "A2", "A22", "A3"]
