"""Targets for what a connection reads: the decoder of messages, the check of events, and the commands."""

import json
from collections import Counter

from hypothesis import strategies as st

from benchmarks.fuzzing.parsers import JSON, TEXTS
from tidings.access.control import AccessOptions
from tidings.access.keys import ApiKeyAuthenticator, generate_key
from tidings.contract.contract import Contract
from tidings.contract.event_types import BUILTIN
from tidings.exceptions import ContractError
from tidings.hub.config import HubConfig
from tidings.protocol.envelope import MAX_ID_CHARS, decode_envelope, encode_event, scan_labels
from tidings.protocol.messages import COMMANDS
from tidings.testing.in_memory_hub import InMemoryHub

_CONTRACT = Contract()
_NOW = "2026-01-01T00:00:00Z"
_TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
_GRANTS = ("read data", "read operations/a.*", "publish data", "cancel operations")
_API_KEY, _SECRET = generate_key("ada", _GRANTS, now_ns=0)
_CONFIG = HubConfig(status_s=0, metrics_s=0, estimate_s=0, heartbeat_s=3_000, maintain_s=3_000, unattended_s=0)
_LATER_S = 3_700
"""Longer than any cancellation waits for its operation, in seconds."""

# Inputs.

_MEMBERS = st.sampled_from(
    ["channels", "since", "token", "operation_id", "timeout_s", "reason", "producer_id", "lease_s", "operations",
     "attempt", "dataset", "message", "progress", "name", "alert_id", "code", "severity", "state", "source", "details",
     "a"]
)  # fmt: skip
_VALUES = st.one_of(
    JSON,
    st.sampled_from(
        [_SECRET, "tdk_", "data", "operations/a.b", "*", "global", "first", "now", "0badc0de:1", "a.b", 1, 0.5]
    ),
    st.lists(st.sampled_from(["data", "data/x", "operations/a.*", "*", "system", "", "nowhere"]), max_size=3),
    st.lists(st.fixed_dictionaries({"operation_id": TEXTS}, optional={"attempt": JSON, "lease_s": JSON}), max_size=2),
)
_DATA = st.one_of(st.dictionaries(_MEMBERS, _VALUES, max_size=5), JSON)
_TYPES = st.one_of(st.sampled_from([*COMMANDS, *(str(each.type) for each in BUILTIN)]), TEXTS)
_ENVELOPES = st.fixed_dictionaries(
    {"type": _TYPES, "data": _DATA},
    optional={
        "id": st.one_of(st.sampled_from(["1", "2", ""]), JSON),
        "trace_id": st.one_of(TEXTS, JSON),
        "timestamp": st.one_of(st.sampled_from([_NOW, "", "0001-01-01T00:00:00Z"]), JSON),
        "channel": st.one_of(st.sampled_from(["global", "data", "operations"]), JSON),
        "event_id": st.one_of(st.just("0123456789abcdef"), JSON),
        "TYPE": JSON,
    },
)
_WHOLE = _ENVELOPES.map(lambda envelope: json.dumps(envelope).encode())


def _changed(body: bytes, at: int, removed: int, added: bytes) -> bytes:
    at %= len(body) + 1
    return body[:at] + added + body[at + removed :]


_ADDED = st.one_of(
    st.binary(max_size=3), st.sampled_from([b'"', b"{", b"[", b"\\u0000", b'"id":"1",', b"1e999", b"[" * 70])
)
BODIES = st.one_of(
    _WHOLE,
    st.builds(_changed, _WHOLE, st.integers(0, 500), st.integers(0, 6), _ADDED),
    st.binary(max_size=60),
)


# Targets.


class _Defaults:
    def timestamp(self) -> str:
        return _NOW

    def trace_id(self, channel: str, key: str | None) -> str:
        return _TRACE_ID


def check_event(body: bytes) -> None:
    """A message is refused with an error of ours, or it is an event that is read back from its line as the same."""
    try:
        event = _CONTRACT.read(decode_envelope(body), _Defaults(), body=body)
    except ContractError:
        return
    sent, line = json.loads(body), encode_event(event)
    assert b"\n" not in line
    assert event.event_id == sent.get("event_id")
    assert json.loads(line)["type"] == event.type
    again = {**json.loads(line), "event_id": event.event_id, "channel": event.channel}
    read = json.dumps({name: value for name, value in again.items() if value is not None}).encode()
    second = _CONTRACT.read(decode_envelope(read), _Defaults(), body=read)
    assert (second.type, second.key, second.channel) == (event.type, event.key, event.channel)
    assert json.loads(second.data) == json.loads(event.data)


def check_commands(bodies: list[bytes], identifies: bool, sends_key: bool) -> None:
    """A connection answers each message that has an id, once, or closes; nothing that it reads raises."""
    keys = ApiKeyAuthenticator(_CONTRACT.channels, lambda: 1)
    keys.replace_keys([_API_KEY])
    access = AccessOptions(authenticators=[keys], max_failures=0) if identifies else None
    hub = InMemoryHub(_CONFIG, contract=_CONTRACT, access=access)
    client = hub.connect("channels=none", token=_SECRET if sends_key else None)
    sent: Counter[str] = Counter()
    for body in bodies:
        if client.connection.closing:
            break
        client.send_raw(body)
        hub.settle()
        sent.update(_ids_of(body))
    was_open = not client.connection.closing
    hub.loop.advance(_LATER_S)
    messages = client.read()
    assert messages[0]["type"] == "connection:established"
    answered = Counter(message["reply_to"] for message in messages if "reply_to" in message)
    assert answered <= sent, "an answer to nothing"
    if was_open:
        assert answered == sent


def _ids_of(body: bytes) -> list[str]:
    try:
        envelope = decode_envelope(body)
    except ContractError:
        envelope = scan_labels(body)
    return [envelope.id] if envelope.id is not None and 1 <= len(envelope.id) <= MAX_ID_CHARS else []
