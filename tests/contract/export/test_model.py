import pytest
from tests.contract.export.odd_contract import ODD
from tests.contract.export.test_document import OWN

from tidings.contract.contract import Contract
from tidings.contract.export.model import (
    Namer,
    build_model,
    join_names,
    to_class_name,
    to_constant_case,
    to_pascal_case,
)
from tidings.protocol.messages import COMMANDS, HUB_MESSAGES


def test_model_has_every_message_of_the_protocol() -> None:
    model = build_model(Contract())
    assert {message.type for message in model.messages} == {*Contract().events, *HUB_MESSAGES, "operation:error"}
    assert {message.type for message in model.commands} == set(COMMANDS)
    push, command = (
        next(each for each in group if each.type == "operation:cancel")
        for group in (model.hub_messages, model.commands)
    )
    assert (push.payload, push.answered_by) == ("CancelPush", "operation:cancel_answer")
    assert (command.payload, command.answered_by) == ("Cancel", "operation:cancel_outcome")


def test_definitions_of_commands_only_are_not_received() -> None:
    model = build_model(Contract())
    assert model.definitions.keys() - model.received == {
        *("Subscribe", "Unsubscribe", "Attach", "Claim", "Cancel", "CancelAnswer", "AuthToken")
    }


@pytest.mark.parametrize(
    ("owner", "field", "name"),
    [
        ("OperationLogData", "level", "OperationLogLevel"),
        ("Verdict", "verdict", "Verdict"),
        ("CancelOutcome", "outcome", "CancelOutcome"),
        ("OrderSide", "side_of_book", "OrderSideOfBook"),
        ("HTTPError", "errorKind", "HTTPErrorKind"),
        ("Data", "data", "Data"),
    ],
)
def test_name_of_a_field_does_not_repeat_its_owner(owner: str, field: str, name: str) -> None:
    assert join_names(owner, field) == name


def test_model_has_the_definitions_that_messages_refer_to() -> None:
    model = build_model(ODD)
    assert {message.payload for message in model.messages} <= set(model.definitions)
    assert {"Circle", "Square", "Side", "Level", "Point", "Extra", "Node"} <= set(model.definitions)


def test_definitions_of_an_application_come_last() -> None:
    assert list(build_model(OWN).definitions)[-2:] == ["Trade", "Bare"]


def test_data_may_be_null_only_if_all_fields_are_optional() -> None:
    empty = {message.type for message in build_model(Contract()).events if message.empty}
    assert {"data:update", "report:ready"} <= empty
    assert not empty & {"operation:start", "system:status", "connection:established"}


def test_message_has_the_facts_of_its_event() -> None:
    (executed,) = (event for event in build_model(OWN).events if event.type == "trade:executed")
    assert (executed.channel, executed.key, executed.event_class) == ("trades", "trade_id", "durable")
    assert (executed.about, executed.deprecated) == ("Sent when a trade was made.", "Publish another.")


@pytest.mark.parametrize(
    ("text", "name"),
    [("operation:cancel_outcome", "OperationCancelOutcome"), ("Box_int_", "BoxInt"), ("", "N"), ("1a", "N1a")],
)
def test_pascal_case(text: str, name: str) -> None:
    assert to_pascal_case(text) == name


@pytest.mark.parametrize(
    ("text", "name"), [("operation:cancel_outcome", "OPERATION_CANCEL_OUTCOME"), ("9:to_5", "N9_TO_5")]
)
def test_constant_case(text: str, name: str) -> None:
    assert to_constant_case(text) == name


def test_class_name_has_no_module() -> None:
    assert to_class_name("my_app.events.Trade") == to_class_name("Trade") == "Trade"


def test_namer_assigns_unique_names() -> None:
    namer = Namer(["Taken"])
    assert [namer.take(name) for name in ("Taken", "A", "A", "A2", "A")] == ["Taken2", "A", "A2", "A22", "A3"]
