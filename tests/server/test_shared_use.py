"""What senders use at several processes of a hub: notes that arrive late, or not at all, on a manual clock."""

import msgspec
import pytest

from tidings.access.grants import Grants
from tidings.access.quotas import Quota
from tidings.access.subjects import Subject
from tidings.exceptions import RateLimited, TooManyRequests
from tidings.hub.config import HubConfig
from tidings.hub.inbound_rates import BURST_S, MAX_DEBT_S
from tidings.server.cluster.notes import Receiver
from tidings.server.shared_use import MAX_NOTE_BYTES, MAX_SILENCE_S, SEND_S, SharedUse
from tidings.testing.clock import ManualClock
from tidings.testing.in_memory_hub import InMemoryHub
from tidings.testing.loop import ManualLoop

DELAY_S = 0.1
SETTLED_S = 2 * (SEND_S + DELAY_S)
RATE = 10.0


class Process:
    """A process of a hub; a `NoteExchange`."""

    def __init__(self, processes: "Processes", source: str, limit: int, rate: float) -> None:
        self.source = source
        self.receivers: dict[str, Receiver] = {}
        self.notes: list[bytes] = []
        self.is_cut_off = False
        """Whether its notes are lost, and those of the others, too."""
        self._processes = processes
        config = HubConfig(status_s=0, metrics_s=0, subject_events_per_s=rate)
        self.hub = InMemoryHub(config, clock=processes.clock, loop=processes.loop).hub
        self.quota = Quota(limit, "connections")
        self.subject = Subject(name="ada", grants=Grants.parse(["read *"], ["data"]))
        SharedUse(self, self.hub, {"subject": self.quota}, lambda: len(processes.running)).start()

    def tell(self, about: str, body: bytes) -> None:
        self.notes.append(body)
        if not self.is_cut_off:
            self._processes.loop.call_later(DELAY_S, lambda: self._processes.deliver(about, body))

    def publish(self) -> int:
        """Publish until it is refused; return how often it was not."""
        count = 0
        while True:
            try:
                self.hub.rates.check_event(self.subject)
            except RateLimited:
                return count
            count += 1


class Processes:
    """Several processes on one clock."""

    def __init__(self, *, limit: int = 0, rate: float = 0.0, count: int = 3) -> None:
        self.clock = ManualClock()
        self.loop = ManualLoop(self.clock)
        self._limit = limit
        self._rate = rate
        self.running: list[Process] = []
        for number in range(count):
            self.start(f"node-{number}")

    def start(self, source: str) -> Process:
        process = Process(self, source, self._limit, self._rate)
        self.running.append(process)
        return process

    def kill(self, process: Process) -> None:
        self.running.remove(process)
        process.hub.jobs.close()

    def deliver(self, about: str, body: bytes) -> None:
        for process in self.running:
            if not process.is_cut_off:
                process.receivers[about](0, body)

    def allowed(self, user: str = "ada") -> list[bool]:
        return [can_take(process.quota, user) for process in self.running]


def can_take(quota: Quota, user: str) -> bool:
    try:
        quota.check(user)
    except TooManyRequests:
        return False
    return True


def test_connections_of_all_processes_count_within_a_second() -> None:
    hub = Processes(limit=3)
    for process in hub.running:
        process.quota.take("ada")
    assert hub.allowed() == [True] * 3
    hub.loop.advance(SEND_S + DELAY_S)
    assert hub.allowed() == [False] * 3
    assert hub.allowed("eve") == [True] * 3
    hub.running[1].quota.release("ada")
    hub.loop.advance(SEND_S + DELAY_S)
    assert hub.allowed() == [True] * 3


def test_new_process_counts_what_was_there_before_it() -> None:
    hub = Processes(limit=3)
    for process in hub.running:
        process.quota.take("ada")
    hub.loop.advance(60.0)
    new = hub.start("new")
    hub.loop.advance(3.0)
    assert not can_take(new.quota, "ada")
    again = hub.running[0]
    hub.kill(again)
    hub.start(again.source)  # without its connections
    hub.loop.advance(MAX_SILENCE_S + 3.0)
    assert hub.allowed() == [True] * 4


def test_dead_process_does_not_count_after_its_silence() -> None:
    hub = Processes(limit=2)
    for process in hub.running[:2]:
        process.quota.take("ada")
    hub.loop.advance(30.0)
    assert hub.allowed() == [False] * 3
    hub.kill(hub.running[0])
    hub.loop.advance(MAX_SILENCE_S - 2.0)
    assert hub.allowed() == [False] * 2
    hub.loop.advance(4.0)
    assert hub.allowed() == [True] * 2


def test_lost_notes_are_made_up_for_and_silence_of_the_exchange_forgets_no_one() -> None:
    hub = Processes(limit=2)
    first, second, third = hub.running
    first.quota.take("ada")
    hub.loop.advance(SETTLED_S)
    for process in hub.running:
        process.is_cut_off = True
    second.quota.take("ada")
    hub.loop.advance(60.0)
    assert third.quota.used_elsewhere["ada"] == 1, "no note arrived: nothing is known of the others"
    assert max(len(process.notes) for process in hub.running) < 20 + 60 / MAX_SILENCE_S
    for process in hub.running:
        process.is_cut_off = False
    hub.loop.advance(MAX_SILENCE_S + 3.0)
    assert hub.allowed() == [False] * 3


def test_few_connections_of_a_high_limit_cost_no_note_and_many_are_counted() -> None:
    hub = Processes(limit=1_000)
    for number in range(500):
        for process in hub.running:
            process.quota.take(f"user-{number}")
    hub.loop.advance(60.0)
    assert [process.notes for process in hub.running] == [[], [], []]
    for process in hub.running:
        for _ in range(334):
            process.quota.count("ada")
    hub.loop.advance(SEND_S + DELAY_S)
    assert hub.allowed() == [False] * 3


def test_notes_stay_small_however_many_senders_change() -> None:
    hub = Processes(limit=2, count=2)
    first, second = hub.running
    users = [f"{'user' * 20}-{number}" for number in range(3_000)]
    for user in users:
        first.quota.take(user)
        first.quota.take(user)
    hub.loop.advance(20 * SEND_S)
    assert max(map(len, first.notes)) < MAX_NOTE_BYTES + 1_000
    assert not any(can_take(second.quota, user) for user in users)
    for user in users:
        first.quota.release(user)
    hub.loop.advance(20 * SEND_S)
    assert all(can_take(second.quota, user) for user in users)
    assert len(second.quota.used_elsewhere) == len(users)


def test_rate_holds_for_all_processes_over_time() -> None:
    hub = Processes(rate=RATE)
    burst = int(RATE * BURST_S)
    assert [process.publish() for process in hub.running] == [burst] * 3
    hub.loop.advance(SEND_S + DELAY_S)
    assert [process.publish() for process in hub.running] == [0, 0, 0]
    total, seconds = 3 * burst, SEND_S + DELAY_S
    for _ in range(600):
        hub.loop.advance(0.1)
        seconds += 0.1
        total += sum(process.publish() for process in hub.running)
    assert total <= RATE * seconds + 4 * burst
    assert total >= RATE * seconds - 2 * burst


def test_sender_at_one_process_keeps_its_whole_rate_and_others_pay_nothing() -> None:
    hub = Processes(rate=RATE)
    first, *others = hub.running
    count = first.publish()
    for _ in range(300):
        hub.loop.advance(0.1)
        count += first.publish()
    assert count == pytest.approx(RATE * (30 + BURST_S), abs=2)
    for process in others:
        process.subject = Subject(name="eve", grants=process.subject.grants)
    assert others[0].publish() == RATE * BURST_S


def test_what_was_taken_while_no_one_listened_is_not_paid_back() -> None:
    hub = Processes(rate=RATE, count=2)
    first, second = hub.running
    for process in hub.running:
        process.is_cut_off = True
    for _ in range(1_200):
        hub.loop.advance(0.1)
        first.publish()
    for process in hub.running:
        process.is_cut_off = False
    hub.loop.advance(MAX_SILENCE_S + 3.0)
    assert second.publish() > RATE
    alone = Processes(rate=RATE, limit=2, count=1)
    (only,) = alone.running
    for number in range(1_000):
        only.publish()
        only.quota.take(f"user-{number}")
        alone.loop.advance(0.1)
        only.quota.release(f"user-{number}")
    for _ in range(2):
        only.quota.take("ada")
    assert only.notes == []
    other = alone.start("other")
    alone.loop.advance(SETTLED_S)
    assert other.publish() > RATE
    assert not can_take(other.quota, "ada")


def test_user_that_leaves_when_a_process_starts_is_not_counted_for_ever() -> None:
    hub = Processes(limit=2, count=2)
    first, second = hub.running
    for _ in range(2):
        first.quota.take("ada")
    hub.loop.advance(SETTLED_S)
    assert not can_take(second.quota, "ada")
    third = hub.start("third")
    for _ in range(2):
        first.quota.release("ada")
    hub.loop.advance(SETTLED_S + 3.0)
    assert can_take(second.quota, "ada")
    assert can_take(third.quota, "ada")


def test_debt_has_a_bound_and_slow_senders_send_no_note() -> None:
    hub = Processes(rate=RATE)
    first, second, _ = hub.running
    for _ in range(100):
        first.hub.rates.check_event(first.subject)
        hub.loop.advance(10.0)
    assert len(first.notes) <= 100 / (RATE * BURST_S / 20)
    body = msgspec.json.encode(["elsewhere", 1, False, [], [["events", "ada", 1e300], ["events", "eve", -5.0]]])
    second.receivers["use"](0, body)
    assert second.publish() == 0
    hub.loop.advance(MAX_DEBT_S + 1)
    assert second.publish() > 0
