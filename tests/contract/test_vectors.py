"""Envelopes of Go's encoding/json, read as vectors/README.md specifies."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.contract.envelopes import CONTRACT, MINTED, STAMPED, FixedDefaults, read

from tidings.exceptions import ContractError
from tidings.protocol.envelope import decode_envelope, encode_event

FILE = Path(__file__).parent / "vectors/go-encoding-json.json"
TRACE = '"trace_id":"4bf92f3577b34da6a3ce929d0e0e4736",'


def mended(vector: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the vector; where it expects a minted trace id and sends one, once without either (see the README)."""
    if vector.get("trace_id") != "minted" or TRACE not in vector["wire"]:
        return [vector]
    kept = {name: value for name, value in vector.items() if name != "trace_id"}
    return [kept, {**vector, "wire": vector["wire"].replace(TRACE, "")}]


VECTORS = [each for vector in json.loads(FILE.read_text()) for each in mended(vector)]
CHANGED = ("type", "timestamp", "trace_id", "channel")
every_vector = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.get("note", vector["wire"][:60]))


def expected(vector: dict[str, Any]) -> dict[str, Any]:
    """Return the envelope that the hub makes of a vector."""
    envelope: dict[str, Any] = json.loads(vector["wire"])
    for name in CHANGED:
        if name in vector:
            envelope[name] = {"minted": MINTED, "stamped": STAMPED}.get(vector[name], vector[name])
    return envelope


@every_vector
def test_vector_is_read_as_it_specifies(vector: dict[str, Any]) -> None:
    event = CONTRACT.read(decode_envelope(vector["wire"].encode()), FixedDefaults(), by_hub=True)
    written = encode_event(event).decode()
    assert json.loads(written) == expected(vector)
    assert list(json.loads(written)) == ["type", "timestamp", "trace_id", "data", "channel"]
    if vector["reads"] == "as is":
        assert written == vector["wire"]
    if "key" in vector:
        assert event.key is vector["key"]


@every_vector
def test_vector_is_rejected_as_it_specifies(vector: dict[str, Any]) -> None:
    if "publish" not in vector:
        assert read(vector["wire"]).type == expected(vector)["type"]
        return
    with pytest.raises(ContractError) as caught:
        read(vector["wire"])
    assert caught.value.code == vector["publish"]


def test_one_vector_contradicts_itself() -> None:
    assert len(VECTORS) == len(json.loads(FILE.read_text())) + 1


def test_vectors_cover_readings_a_rejection_and_a_missing_key() -> None:
    assert {vector["reads"] for vector in VECTORS} == {"as is", "with changes"}
    assert [vector["publish"] for vector in VECTORS if "publish" in vector] == ["not_publishable"]
    assert sum("key" in vector for vector in VECTORS) == 2
