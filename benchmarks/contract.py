"""What the contract costs an event: `python -m benchmarks.contract`.

Progress events of 250 bytes as a Go publisher writes them, each with its own timestamp and operation, are decoded,
validated and encoded. Times are the best of many short rounds, which is what the work costs when nothing disturbs it.
"""

import argparse
import gc
import os
import platform
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

import msgspec

from tidings.contract.contract import Contract
from tidings.protocol.envelope import Envelope, Event, decode_envelope, encode_event
from tidings.protocol.payloads import OperationProgressData
from tidings.protocol.timestamps import from_nanoseconds

EVENT_BYTES = 250
ROUND_EVENTS = 1_000
START_NS = 1_753_876_800_123_456_789
STEP_NS = 50_001
"""Between two events: 20,000 a second, and no two with the same fraction."""


class NoReceipt:
    """An unused receipt: these events lack nothing."""

    def timestamp(self) -> str:
        raise AssertionError("an event came without a timestamp")

    def trace_id(self, channel: str, key: str | None) -> str:
        raise AssertionError(f"an event of {channel}/{key} came without a trace id")


def progress_events(count: int) -> list[bytes]:
    """Return `count` messages of `EVENT_BYTES` bytes."""
    events = []
    for number in range(count):
        head = (
            f'{{"type":"operation:progress","timestamp":"{from_nanoseconds(START_NS + number * STEP_NS)}",'
            f'"trace_id":"{number * 0x9E3779B97F4A7C15 % 2**128:032x}","data":{{"operation_id":"op-{number:06}",'
            f'"progress":{number % 100}.5,"current_step":"parse","total_steps":5,"message":"'
        )
        tail = '"},"channel":"operations"}'
        events.append((head + "m" * (EVENT_BYTES - len(head) - len(tail)) + tail).encode())
    return events


def best_us(work: Callable[[], object], *, rounds: int) -> float:
    """Return microseconds an event of `work`, which does `ROUND_EVENTS` of them."""
    best = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - start)
    return best / ROUND_EVENTS * 1e6


def measure(rounds: int) -> dict[str, float]:
    """Return microseconds an event, by what is done with it."""
    contract, receipt = Contract(), NoReceipt()
    bodies = progress_events(ROUND_EVENTS)
    envelopes = [decode_envelope(body) for body in bodies]
    events = [contract.read(envelope, receipt) for envelope in envelopes]
    assert all(type(body) is bytes and len(body) == EVENT_BYTES for body in bodies)
    assert [encode_event(event) for event in events] == bodies

    decode_any = msgspec.json.Decoder(Envelope).decode
    decode_payload = msgspec.json.Decoder(OperationProgressData).decode

    def everything() -> list[bytes]:
        return [encode_event(contract.read(decode_envelope(body), receipt, body=body)) for body in bodies]

    def decoding() -> list[Envelope]:
        return [decode_envelope(body) for body in bodies]

    def validating() -> list[Event]:
        return [contract.read(envelope, receipt, body=body) for envelope, body in zip(envelopes, bodies, strict=True)]

    def unchecked() -> list[Event]:
        return [contract.read(envelope, receipt) for envelope in envelopes]

    def encoding() -> list[bytes]:
        return [encode_event(event) for event in events]

    def msgspec_alone() -> None:
        for body, event in zip(bodies, events, strict=True):
            decode_any(body)
            decode_payload(event.data)

    return {
        "decode + validate + encode": best_us(everything, rounds=rounds),
        "  decode_envelope": best_us(decoding, rounds=rounds),
        "  Contract.read": best_us(validating, rounds=rounds),
        "  Contract.read, members unchecked": best_us(unchecked, rounds=rounds),
        "  encode_event": best_us(encoding, rounds=rounds),
        "msgspec's two decodes alone": best_us(msgspec_alone, rounds=rounds),
    }


def _machine() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    processor = names[0] if names else platform.processor() or platform.machine()
    return f"{processor}, {os.cpu_count()} cores, {platform.system()} {platform.release()}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.contract", description=__doc__)
    parser.add_argument("--rounds", type=int, default=2_000, help=f"of {ROUND_EVENTS} events each (default: 2000)")
    rounds = parser.parse_args(arguments).rounds
    print(f"machine   {_machine()}")
    interpreter = f"{platform.python_implementation()} {platform.python_version()}"
    print(f"python    {interpreter}, msgspec {metadata.version('msgspec')}")
    print(f"event     operation:progress, {EVENT_BYTES} bytes; best of {rounds} rounds of {ROUND_EVENTS}\n")
    gc.disable()
    try:
        for name, microseconds in measure(rounds).items():
            print(f"{name:<30}{microseconds:6.2f} µs")
    finally:
        gc.enable()


if __name__ == "__main__":
    main()
