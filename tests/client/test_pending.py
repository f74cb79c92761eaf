import msgspec
import pytest
from msgspec import Raw

from tidings.client.pending import Draft, PayloadLike, PendingPublications, encode_data
from tidings.exceptions import InvalidPayload, PayloadTooLarge
from tidings.protocol.payloads import OperationProgressData, SystemStatusData


@pytest.mark.parametrize(
    ("payload", "wire"),
    [
        (OperationProgressData(operation_id="a", progress=1), b'"operation_id":"a"'),
        ({"operation_id": "a"}, b'{"operation_id":"a"}'),
        (Raw(b'{"a":1}'), b'{"a":1}'),
        (b'{"a":1}', b'{"a":1}'),
        (None, b"null"),
        (SystemStatusData(status="healthy", uptime=1, active_operations=0, metrics={}), b'"status":"healthy"'),
    ],
)
def test_payloads_of_every_kind_are_encoded(payload: PayloadLike, wire: bytes) -> None:
    assert wire in b"" + encode_data(payload)


@pytest.mark.parametrize("payload", [{"a": object()}, b"{not json", {1.5: {2}, "x": {1j}}])
def test_what_json_cannot_hold_is_refused_here(payload: PayloadLike) -> None:
    with pytest.raises(InvalidPayload) as caught:
        encode_data(payload)
    assert caught.value.path == "$.data"


def test_the_limit_is_the_hubs() -> None:
    assert len(b"" + encode_data({"a": "x" * (65_535 - 8)})) == 65_535
    with pytest.raises(PayloadTooLarge) as caught:
        encode_data({"a": "x" * (65_536 - 8)})
    assert (caught.value.size, caught.value.limit) == (65_536, 65_535)


def make(event_id: str = "0123456789abcdef", trace_id: str | None = None) -> Draft:
    return Draft(type="data:update", data=Raw(b"{}"), timestamp="t", event_id=event_id, trace_id=trace_id)


def test_a_message_has_the_contracts_order_and_leaves_out_what_is_not_given() -> None:
    numbers = iter("12")
    publications = PendingPublications(lambda: next(numbers))
    id = publications.add(make())
    body = publications.body(id)
    assert body == b'{"type":"data:update","timestamp":"t","data":{},"id":"1","event_id":"0123456789abcdef"}'
    publications.add(make(trace_id="t"))
    assert list(publications) == ["1", "2"]
    assert list(msgspec.json.decode(publications.body("2") or b"")) == [
        "type", "timestamp", "trace_id", "data", "id", "event_id",
    ]  # fmt: skip
    assert publications.settle("1")
    assert not publications.settle("1")
    assert publications.body("1") is None
    assert len(publications) == 1
    assert "2" in publications
