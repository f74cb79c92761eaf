"""Each attempt ends exactly once, with two producers, repeated events, failing commits and restarts in any order."""

from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from tidings.exceptions import LogUnavailable
from tidings.hub.config import HubConfig
from tidings.log.base import Log, Record, Retention
from tidings.log.memory import MemoryLog
from tidings.log.sqlite.log import SqliteLog
from tidings.operations.lifecycle import END_STATES, TRANSITIONS
from tidings.testing.clock import ManualClock
from tidings.testing.faulty_log import FaultyLog
from tidings.testing.in_memory_hub import EPOCH, InMemoryClient, InMemoryHub, Message
from tidings.testing.loop import ManualLoop

RETENTION = Retention(events=12, superseded_events=2, finished_s=5.0, newest_age_s=60.0, superseded_age_s=0.0)
"""Most of an operation's events are trimmed before it ends."""
CONFIG = HubConfig(
    status_s=0, metrics_s=0, batch_events=3, maintain_s=0.5, lease_s=4.0, unattended_s=100.0, retention=RETENTION
)
KEYS = ("a", "b")
NAMES = ("", "p", "q")
BODIES: dict[str, Message] = {
    "start": {},
    "progress": {"progress": 5},
    "log": {"message": "m"},
    "complete": {},
    "failed": {"code": "c", "message": "m", "recoverable": True},
    "cancelled": {},
}
SAYINGS = st.tuples(
    st.sampled_from(NAMES),
    st.sampled_from(KEYS),
    st.sampled_from(sorted(BODIES)),
    st.sampled_from([None, None, None, 1, 2, 3]),
    st.booleans(),
    st.booleans(),
)


class OperationMachine(RuleBasedStateMachine):
    """Producers that connect and disconnect, and a hub that restarts."""

    def open_log(self, loop: ManualLoop) -> Log:
        return MemoryLog(EPOCH, RETENTION)

    def reopen_log(self, loop: ManualLoop) -> Log:
        return self.log

    @initialize()
    def begin(self) -> None:
        self.clock = ManualClock()
        self.loop = ManualLoop(self.clock)
        self.log = self.open_log(self.loop)
        self.records: list[Record] = []
        self.numbers = count(1)
        self.repeatable: list[tuple[str, str, Message, str]] = []
        self._start_hub()

    def _start_hub(self) -> None:
        self.faulty = FaultyLog(self.log)
        self.hub = InMemoryHub(CONFIG, log=self.faulty, clock=self.clock, loop=self.loop)
        tail = self.hub.hub._deliver

        def recording(records: Any) -> None:
            self.records.extend(records)
            tail(records)

        self.log.follow(recording)
        self.clients: dict[str, InMemoryClient] = {}
        for name in NAMES:
            self._connect(name)

    def _connect(self, name: str, *claims: str) -> None:
        client = self.clients[name] = self.hub.connect("channels=none")
        if name:
            operations = [{"operation_id": key} for key in claims]
            client.send("producer:attach", {"producer_id": name, "operations": operations, "lease_s": 3})

    @rule(publications=st.lists(SAYINGS, min_size=1, max_size=6))
    def publish(self, publications: list[tuple[str, str, str, int | None, bool, bool]]) -> None:
        for name, key, action, attempt, queued, named in publications:
            data: Message = {"operation_id": key, **BODIES[action]}
            if attempt is not None:
                data["attempt"] = attempt
            if action == "start" and queued:
                data["queued"] = True
            event_id = f"event-{next(self.numbers):0>16}"
            if named:
                self.repeatable.append((name, f"operation:{action}", data, event_id))
            self.clients[name].send(f"operation:{action}", data, event_id=event_id)

    @rule(data=st.data())
    def publish_again(self, data: st.DataObject) -> None:
        if self.repeatable:
            name, type, body, event_id = data.draw(st.sampled_from(self.repeatable))
            self.clients[name].send(type, body, event_id=event_id)

    @rule(name=st.sampled_from(NAMES), claims=st.lists(st.sampled_from(KEYS), unique=True))
    def reconnect(self, name: str, claims: list[str]) -> None:
        self.clients[name].drop()
        self._connect(name, *claims)

    @rule(name=st.sampled_from(NAMES))
    def cancel(self, name: str) -> None:
        self.clients[name].send("operation:cancel", {"operation_id": "a", "timeout_s": 1})

    @rule(rounds=st.integers(1, 4))
    def run(self, rounds: int) -> None:
        for _ in range(rounds):
            self.loop.run_round()

    @rule(seconds=st.sampled_from([0.5, 2.0, 3.5, 70.0, 200.0]))
    def pass_time(self, seconds: float) -> None:
        self.loop.advance(seconds)

    @rule()
    def fail_append(self) -> None:
        self.faulty.fail_append(LogUnavailable("as if the disk had gone"))

    @rule()
    def restart(self) -> None:
        """End the hub abruptly: its staged events are lost."""
        self.hub.hub.closed = True
        self.loop.run_until_idle()
        self.log = self.reopen_log(self.loop)
        self._start_hub()

    @invariant()
    def each_attempt_has_one_end_at_most(self) -> None:
        ends: Counter[tuple[str | None, int]] = Counter()
        attempts: dict[str | None, int] = {}
        live: dict[str | None, bool] = {}
        for record in getattr(self, "records", ()):
            event = record.event
            if event.type not in TRANSITIONS or event.type == "operation:log":
                continue
            key = event.key
            if not live.get(key):
                assert event.type == "operation:start" or key not in live or b'"attempt"' in event.data
                attempts[key] = attempts.get(key, 0) + 1  # at least
                live[key] = True
            if TRANSITIONS[event.type] in END_STATES:
                ends[key, attempts[key]] += 1
                live[key] = False
        assert all(number == 1 for number in ends.values())
        for key, alive in live.items():
            status = self.log.operations.get(str(key)) if hasattr(self, "log") else None
            if status is not None:
                assert status.live is alive, (key, alive, status)

    @invariant()
    def every_end_is_of_an_attempt_that_had_not_ended(self) -> None:
        seen: Counter[tuple[str, int]] = Counter()
        for status in self.log.operations.ended if hasattr(self, "log") else ():
            for moment in status.timeline:
                if moment.state in END_STATES.values():
                    seen[status.operation_id, moment.attempt] += 1
        assert all(number == 1 for number in seen.values()), seen


SETTINGS = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)


def test_attempts_in_a_memory_log_end_once() -> None:
    run_state_machine_as_test(OperationMachine, settings=SETTINGS)


def test_attempts_in_a_reopened_file_end_once(tmp_path: Path) -> None:
    folders = (tmp_path / f"{number}" for number in count())
    epochs = (f"{number:08x}" for number in count())  # every opening begins a new one

    class SqliteMachine(OperationMachine):
        def open_log(self, loop: ManualLoop) -> Log:
            self.folder = next(folders)
            return self._open(loop)

        def _open(self, loop: ManualLoop) -> SqliteLog:
            return SqliteLog(self.folder, loop, epochs.__next__, retention=RETENTION, ballast_bytes=0)

        def reopen_log(self, loop: ManualLoop) -> Log:
            known = _known(self.log)
            self.log.close()
            log = self._open(loop)
            assert _known(log) == known
            return log

        def teardown(self) -> None:
            if hasattr(self, "log"):
                self.log.close()

    run_state_machine_as_test(SqliteMachine, settings=settings(SETTINGS, max_examples=50))


def _known(log: Log) -> list[Any]:
    return [sorted((*log.operations.live, *log.operations.ended), key=lambda status: status.number)]
