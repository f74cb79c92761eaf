import json
from typing import Any

import msgspec
import pytest

from tidings.contract.event_types import BUILTIN
from tidings.hub.commands import HANDLERS
from tidings.protocol import messages
from tidings.protocol.message_types import MessageType
from tidings.protocol.messages import (
    COMMANDS,
    HUB_MESSAGES,
    MESSAGES,
    Accepted,
    Nothing,
    Subscribe,
    Subscribed,
    Unsubscribe,
)
from tidings.protocol.payloads import Payload, encode_payload


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("channel:subscribe", {"channels": ["data"]}, Subscribe(channels=["data"], since="snapshot")),
        ("channel:subscribe", {"channels": ["data", "*"], "since": ""}, Subscribe(channels=["data", "*"], since="")),
        ("channel:unsubscribe", {"channels": ["data"]}, Unsubscribe(channels=["data"])),
        ("connection:ping", None, Nothing()),
        ("connection:ping", {"unknown": 1}, Nothing()),
    ],
)
def test_command_data_is_decoded(name: str, data: Any, expected: Payload) -> None:
    assert COMMANDS[name].decode(json.dumps(data).encode()) == expected


@pytest.mark.parametrize(
    ("name", "data", "fault"),
    [
        ("channel:subscribe", None, "missing required field `channels`"),
        ("channel:subscribe", {"channels": []}, "length >= 1 - at `$.channels`"),
        ("channel:subscribe", {"channels": ["a"] * 1001}, "length <= 1000 - at `$.channels`"),
        ("channel:subscribe", {"channels": "data"}, "Expected `array`, got `str` - at `$.channels`"),
        ("channel:subscribe", {"channels": ["data"], "since": 5}, "Expected `str`, got `int` - at `$.since`"),
        ("channel:unsubscribe", {"channels": [1]}, "Expected `str`, got `int` - at `$.channels[0]`"),
        ("connection:ping", [], "Expected `object`, got `array`"),
    ],
)
def test_invalid_command_data_names_the_member(name: str, data: Any, fault: str) -> None:
    with pytest.raises(msgspec.ValidationError) as caught:
        COMMANDS[name].decode(json.dumps(data).encode())
    assert fault in str(caught.value)


def test_commands_replies_and_events_share_no_name() -> None:
    publishable = {event.type for event in BUILTIN if event.publishable}
    groups = [set(COMMANDS), set(HUB_MESSAGES) - {messages.CANCEL}, publishable]
    assert sum(map(len, groups)) == len(set().union(*groups))


def test_each_direct_event_is_a_message_of_the_hub() -> None:
    assert {event.type for event in BUILTIN if event.channel is None} <= set(HUB_MESSAGES)


def test_accepted_has_duplicate_only_for_a_duplicate() -> None:
    assert encode_payload(Accepted(position="abc:1")) == b'{"position":"abc:1"}'
    assert encode_payload(Accepted(position="abc:1", attempt=2, duplicate=True)) == (
        b'{"position":"abc:1","attempt":2,"duplicate":true}'
    )


@pytest.mark.parametrize(
    "reply",
    [Subscribed(channels=[], position="abc:1", outcome="live"), messages.Live(channels=[], position="abc:1")],
)
def test_empty_channels_are_encoded_as_an_empty_list(reply: Payload) -> None:
    assert json.loads(encode_payload(reply))["channels"] == []


def test_subprotocol_is_tidings_v1() -> None:
    assert messages.SUBPROTOCOL == "tidings.v1"


def test_each_served_command_has_a_handler() -> None:
    assert HANDLERS.keys() == COMMANDS.keys()


def test_answers_are_replies_of_the_other_direction() -> None:
    replies = {(spec.name, spec.direction) for spec in MESSAGES if spec.kind == "reply"}
    answers = {
        (spec.answered_by, "to_client" if spec.direction == "to_hub" else "to_hub")
        for spec in MESSAGES
        if spec.answered_by is not None
    }
    assert answers <= replies
    # `event:accepted` answers events, and an error answers any command.
    assert {name for name, _ in replies - answers} == {messages.ACCEPTED, messages.ERROR, MessageType.AUTH_FAILED}


def test_each_struct_is_the_data_of_one_message() -> None:
    structs = [spec.data for spec in MESSAGES]
    assert len(structs) == len(set(structs))
