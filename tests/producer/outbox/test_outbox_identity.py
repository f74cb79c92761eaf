import os
import socket

import msgspec
import pytest

from tidings.producer.outbox.outbox import new_producer_id
from tidings.protocol.messages import Attach


def test_a_person_can_read_it_and_no_two_are_the_same() -> None:
    first, second = new_producer_id(), new_producer_id()
    assert first != second
    assert f".{os.getpid()}." in first


@pytest.mark.parametrize("host", ["web-1", "a" * 200, "größer host", ""])
def test_the_contract_allows_it_whatever_the_machine_is_called(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    monkeypatch.setattr(os, "getpid", lambda: 2**31)
    msgspec.convert({"producer_id": new_producer_id()}, Attach)
