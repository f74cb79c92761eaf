from tests.contract.export.odd_contract import ODD
from tests.contract.export.test_document import OWN

from tidings.contract.contract import Contract
from tidings.contract.export.model import build_model
from tidings.protocol.messages import COMMANDS, HUB_MESSAGES, REPLIES_AND_PUSHES


def test_everything_that_the_hub_says_is_in_it() -> None:
    model = build_model(Contract())
    assert {message.type for message in model.messages} == {*Contract().events, *REPLIES_AND_PUSHES, "operation:error"}
    by_hub_only = HUB_MESSAGES.keys() - COMMANDS
    assert {message.type for message in model.messages} >= by_hub_only
    assert set(REPLIES_AND_PUSHES) == by_hub_only - set(Contract().events)


def test_every_definition_that_is_referred_to_is_there_and_no_other() -> None:
    model = build_model(ODD)
    assert {message.payload for message in model.messages} <= set(model.definitions)
    assert {"Circle", "Square", "Side", "Level", "Point", "Extra", "Node"} <= set(model.definitions)


def test_an_applications_definitions_come_last() -> None:
    assert list(build_model(OWN).definitions)[-2:] == ["Trade", "Bare"]


def test_data_may_be_null_only_where_everything_is_optional() -> None:
    empty = {message.type for message in build_model(Contract()).events if message.empty}
    assert {"data:update", "report:ready"} <= empty
    assert not empty & {"operation:start", "system:status", "connection:established"}


def test_facts_of_an_event() -> None:
    (executed,) = (event for event in build_model(OWN).events if event.type == "trade:executed")
    assert (executed.channel, executed.key, executed.event_class) == ("trades", "trade_id", "durable")
    assert (executed.about, executed.deprecated) == ("Sent when a trade was made.", "Publish another.")
