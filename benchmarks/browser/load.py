"""Publishes the events of many jobs at a steady rate, over HTTP, until stdin ends.

python -m benchmarks.browser.load URL --running 1000 --rate 10000
python -m benchmarks.browser.load URL --running 60 --rate 160 --updates 25 --logs 5
"""

import argparse
import http.client
import itertools
import json
import select
import sys
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

BATCHES_PER_S = 50


def job(lane: int, updates: int, logs: int, names: int) -> Iterator[bytes]:
    """Yield the events of one run after the other, as lines of NDJSON."""

    def event(verb: str, **data: object) -> bytes:
        return json.dumps({"type": f"operation:{verb}", "data": {"operation_id": run, **data}}).encode() + b"\n"

    for number in itertools.count():
        run = f"load-{lane}-{number}"
        yield event("start", name=f"Job {(lane + 7 * number) % names}", steps=["read", "write"], total_steps=2)
        for update in range(updates):
            # The lanes are spread over their runs, so that ends come evenly.
            done = 100 * ((update + (lane % updates if number == 0 else 0)) % updates) / updates
            if number == 0 and update and done == 0:
                break
            step = "read" if done < 50 else "write"
            yield event("progress", progress=done, current_step=step, total_steps=2, message=f"row {update}")
            if logs and update % max(1, updates // logs) == 0:
                yield event("log", message=f"line {update} of {run}")
        if (lane + number) % 29 == 0:
            yield event("failed", code="UpstreamTimeout", message="no answer within 30 s", recoverable=True)
        else:
            yield event("complete", message=f"{updates} rows")


def large(lane: int, size: int) -> Iterator[bytes]:
    """Yield events of data that carry a text of `size` bytes, as lines of NDJSON."""
    for number in itertools.count():
        data = {"dataset": f"load-{lane}", "rows": number, "note": "x" * size}
        yield json.dumps({"type": "data:update", "data": data}).encode() + b"\n"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--running", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=10_000.0, help="events per second")
    parser.add_argument("--updates", type=int, default=1000, help="progress updates of each run")
    parser.add_argument("--logs", type=int, default=0, help="log lines of each run")
    parser.add_argument("--padding", type=int, default=0, help="bytes of text; publishes data instead of runs")
    parser.add_argument("--names", type=int, default=40)
    parser.add_argument("--events", type=int, default=0, help="end after this many")
    chosen = parser.parse_args()
    url = urlsplit(chosen.url)
    connection = http.client.HTTPConnection(url.hostname or "127.0.0.1", url.port, timeout=60)
    lanes = [
        large(lane, chosen.padding) if chosen.padding else job(lane, chosen.updates, chosen.logs, chosen.names)
        for lane in range(chosen.running)
    ]
    events = (next(lane) for lane in itertools.cycle(lanes))
    sent, began = 0, time.monotonic()
    while not (chosen.events and sent >= chosen.events):
        due = int((time.monotonic() - began) * chosen.rate) - sent
        if due >= 1:
            batch = b"".join(itertools.islice(events, min(due, 20 if chosen.padding else 1000)))
            connection.request("POST", "/v1/events", batch, {"Content-Type": "application/x-ndjson"})
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status < 300, body[:2000]
            sent += batch.count(b"\n")
        if select.select([sys.stdin], [], [], 1 / BATCHES_PER_S if due < 1000 else 0)[0]:
            break
    elapsed = time.monotonic() - began
    sys.stdout.write(json.dumps({"events": sent, "seconds": round(elapsed, 3)}) + "\n")


if __name__ == "__main__":
    main()
