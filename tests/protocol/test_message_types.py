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


def test_every_name_of_the_source_is_a_member_named_after_it() -> None:
    for text in SOURCE_TYPES:
        assert MessageType[text.replace(":", "_").upper()] == text


def test_beyond_the_source_there_are_only_our_two() -> None:
    assert {str(member) for member in MessageType} - set(SOURCE_TYPES) == {"operation:log", "operation:estimate"}


def test_every_type_has_the_form_of_the_contract() -> None:
    assert all(re.fullmatch(r"[a-z][a-z0-9_]*:[a-z][a-z0-9_]*", member) and len(member) <= 64 for member in MessageType)


def test_channels_are_the_source_s_in_its_order() -> None:
    assert [str(channel) for channel in ChannelType] == ["global", "operations", "data", "system"]


@pytest.mark.parametrize("name", ["START", "PROGRESS", "COMPLETE"])
def test_pipeline_names_are_the_same_members_and_warn(name: str) -> None:
    with pytest.warns(
        DeprecationWarning, match=rf"PIPELINE_{name} is deprecated; use MessageType.OPERATION_{name}"
    ) as told:
        alias = getattr(MessageType, f"PIPELINE_{name}")
    assert alias is MessageType[f"OPERATION_{name}"]
    assert told[0].filename == __file__


def test_current_names_do_not_warn_and_unknown_ones_are_no_attributes() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert MessageType.OPERATION_START.value == "operation:start"
        assert not hasattr(MessageType, "PIPELINE_FAILED")


def test_aliases_add_no_members() -> None:
    assert not [member for member in MessageType if "PIPELINE" in member.name]


def test_the_one_old_type_is_read_as_the_new_one() -> None:
    assert LEGACY_TYPES == {"operation:error": MessageType.OPERATION_FAILED}


def test_reserved_domains_are_the_contract_s() -> None:
    assert {"connection", "auth", "channel", "event", "producer", "operation"} == RESERVED_DOMAINS


def test_stored_numbers_and_words_stay_as_they_are() -> None:
    assert {effect.name: effect.value for effect in SlotEffect} == {"REPLACE": 0, "CLEAR": 1, "END": 2}
    assert {str(event_class) for event_class in EventClass} == {"durable", "latest", "direct"}
