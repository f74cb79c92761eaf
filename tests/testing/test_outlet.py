import pytest

from tidings.testing.outlet import MemoryOutlet


class Owner:
    """Notes when the outlet paused, resumed and closed."""

    def __init__(self, outlet: MemoryOutlet) -> None:
        self.calls: list[str] = []
        outlet.on_pause = lambda: self.calls.append("pause")
        outlet.on_resume = lambda: self.calls.append("resume")
        outlet.on_close = lambda: self.calls.append("close")


def test_reading_client_receives_everything_immediately() -> None:
    outlet = MemoryOutlet()
    owner = Owner(outlet)
    outlet.write(b"one")
    assert outlet.direct()(b"two") == 3
    assert (bytes(outlet.received), outlet.writes, outlet.write_buffer_size(), owner.calls) == (b"onetwo", 2, 0, [])


def test_bytes_wait_when_the_kernel_buffer_is_full() -> None:
    outlet = MemoryOutlet()
    owner = Owner(outlet)
    outlet.stall(2)
    outlet.write(b"abcd")
    outlet.write(b"ef")
    assert (bytes(outlet.received), outlet.write_buffer_size(), owner.calls) == (b"ab", 4, ["pause"])
    outlet.take(3)
    assert (bytes(outlet.received), owner.calls) == (b"abcde", ["pause"])
    outlet.take(2)
    assert (bytes(outlet.received), outlet.write_buffer_size(), owner.calls) == (b"abcdef", 0, ["pause", "resume"])
    outlet.write(b"gh")
    assert (bytes(outlet.received), owner.calls[2:]) == (b"abcdefg", ["pause"])
    outlet.take()
    outlet.write(b"i" * 10_000)
    assert (len(outlet.received), owner.calls[2:]) == (10_008, ["pause", "resume"])


def test_direct_returns_the_number_of_bytes_taken() -> None:
    outlet = MemoryOutlet()
    outlet.stall(2)
    send = outlet.direct()
    assert send(b"abc") == 2
    with pytest.raises(BlockingIOError):
        send(b"c")
    assert (bytes(outlet.received), outlet.write_buffer_size(), outlet.writes) == (b"ab", 0, 0)
    outlet.write(b"c")
    with pytest.raises(RuntimeError, match="overtake"):
        send(b"d")


def test_direct_without_access_to_the_kernel_fills_the_transport() -> None:
    outlet = MemoryOutlet(past_transport=False)
    assert outlet.direct()(b"abc") == 3
    assert bytes(outlet.received) == b"abc"
    with pytest.raises(BlockingIOError):
        outlet.direct()(b"x" * (64 << 10) + b"x")


def test_aborted_outlet_drops_unsent_bytes() -> None:
    outlet = MemoryOutlet()
    outlet.stall()
    outlet.write(b"abc")
    outlet.abort()
    outlet.take()
    assert (outlet.write_buffer_size(), outlet.closed, bytes(outlet.received)) == (0, (1006, ""), b"")


def test_closed_outlet_writes_nothing() -> None:
    outlet = MemoryOutlet()
    owner = Owner(outlet)
    outlet.close(1000, "done")
    outlet.close(1001, "again")
    outlet.write(b"abc")
    with pytest.raises(BrokenPipeError):
        outlet.direct()(b"abc")
    assert (bytes(outlet.received), outlet.closed, owner.calls) == (b"", (1000, "done"), ["close"])
