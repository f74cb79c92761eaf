import re
import warnings

import pytest

from tidings.protocol.message_types import (
    LEGACY_TYPES,
    RESERVED_DOMAINS,
    ChannelType,
    EventClass,
    MessageType,
    SlotEffect,
)

SOURCE_TYPES = [
    "operation:start",
    "operation:progress",
    "operation:complete",
    "operation:failed",
    "operation:cancelled",
    "operation:error",
    "data:update",
    "data:processed",
    "data:error",
    "report:ready",
    "system:status",
    "system:alert",
    "system:metrics",
    "connection:established",
    "connection:closed",
    "auth:required",
    "auth:success",
    "auth:failed",
    "license:expired",
]


def test_each_original_type_is_a_member_of_its_name() -> None:
    for text in SOURCE_TYPES:
        assert MessageType[text.replace(":", "_").upper()] == text


def test_only_two_types_are_new() -> None:
    assert {str(member) for member in MessageType} - set(SOURCE_TYPES) == {"operation:log", "operation:estimate"}


def test_each_type_is_domain_and_action() -> None:
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*:[a-z][a-z0-9_]*", member) and len(member) <= 64 for member in MessageType)


def test_channels_have_the_original_order() -> None:
    assert [str(channel) for channel in ChannelType] == ["global", "operations", "data", "system"]


@pytest.mark.parametrize("name", ["START", "PROGRESS", "COMPLETE"])
def test_pipeline_name_is_the_same_member_and_warns(name: str) -> None:
    with pytest.warns(
        DeprecationWarning, match=rf"PIPELINE_{name} is deprecated; use MessageType.OPERATION_{name}"
    ) as told:
        alias = getattr(MessageType, f"PIPELINE_{name}")
    assert alias is MessageType[f"OPERATION_{name}"]
    assert told[0].filename == __file__


def test_unknown_name_raises_and_current_name_does_not_warn() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert MessageType.OPERATION_START.value == "operation:start"
        assert not hasattr(MessageType, "PIPELINE_FAILED")


def test_aliases_add_no_members() -> None:
    assert not [member for member in MessageType if "PIPELINE" in member.name]


def test_old_type_is_read_as_the_current_one() -> None:
    assert LEGACY_TYPES == {"operation:error": MessageType.OPERATION_FAILED}


def test_reserved_domains_are_those_of_the_contract() -> None:
    assert {"connection", "auth", "channel", "event", "producer", "operation"} == RESERVED_DOMAINS


def test_stored_numbers_and_words_are_fixed() -> None:
    assert {effect.name: effect.value for effect in SlotEffect} == {"REPLACE": 0, "CLEAR": 1, "END": 2}
    assert {str(event_class) for event_class in EventClass} == {"durable", "latest", "direct"}
