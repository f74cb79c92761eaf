import pytest
from msgspec import Raw

from tidings.client.drafts import PayloadLike, encode_data
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
