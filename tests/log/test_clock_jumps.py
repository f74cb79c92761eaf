from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.log.sqlite_harness import SqliteHarness

from tidings.log.base import Log, Retention
from tidings.log.clock_jumps import MAX_JUMPS, ClockJumps
from tidings.log.memory import MemoryLog
from tidings.log.sqlite.inspect import verify
from tidings.protocol.message_types import SlotEffect
from tidings.testing.log_conformance.harness import NS, EventFactory

DAY_S = 86_400.0
WEEK = Retention(age_s=7 * DAY_S, newest_age_s=7 * DAY_S, finished_s=900.0, superseded_age_s=60.0)
START_S = 1_000.0
"""Steady clock at the start of a run, in seconds."""


class Machine:
    """A machine with a wall clock that can be set and a steady one, and a hub's log on it."""

    def __init__(self, harness: SqliteHarness, boot_id: "Boot") -> None:
        self.harness = harness
        self.boot_id = boot_id
        self.make = EventFactory()
        self.steady_s = START_S
        self.log = harness.open(WEEK)
        self.start()

    def start(self) -> None:
        self.log.start_clock(self.make.now_ns, int(self.steady_s * NS))

    def pass_time(self, seconds: float) -> None:
        """Let time pass, by both clocks; the hub maintains its log."""
        self.steady_s += seconds
        self.harness.maintain(self.log, self.make.advance(seconds))

    def set_clock(self, seconds: float, *, adopted: bool = True) -> None:
        """Set the wall clock; the running hub adopts that."""
        self.make.advance(seconds)
        if adopted:
            self.log.record_jump(int(seconds * NS))
            self.harness.maintain(self.log, self.make.now_ns)

    def restart(self, *, off_s: float = 0.0, jump_s: float = 0.0, reboot: bool = False, killed: bool = False) -> None:
        """Stop the hub and start it again later, with the wall clock set in between."""
        folder_of = self.harness.crash if killed else self.harness.reopen
        if reboot:
            self.boot_id.restart()
            self.steady_s = START_S
        else:
            self.steady_s += off_s
        self.make.advance(off_s + jump_s)
        self.log = folder_of(self.log, WEEK)
        self.start()
        self.harness.maintain(self.log, self.make.now_ns)

    def publish(self, *keys: str, effect: SlotEffect = SlotEffect.REPLACE) -> None:
        self.harness.append(self.log, *(self.make("data:update", key, effect=effect) for key in keys))

    def keys(self) -> list[str | None]:
        """Return the keys in the range and in the snapshot, in log order."""
        return [record.event.key for record in self.harness.history(self.log)]


class Boot:
    def __init__(self, path: "pytest.TempPathFactory", monkeypatch: pytest.MonkeyPatch) -> None:
        self._file = path.mktemp("boot") / "boot_id"
        self._number = 0
        self.restart()
        monkeypatch.setattr("tidings.log.sqlite.state.BOOT_ID_FILE", self._file)

    def restart(self) -> None:
        self._number += 1
        self._file.write_text(f"boot-{self._number}\n")


@pytest.fixture
def machine(
    sqlite: SqliteHarness, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Machine:
    return Machine(sqlite, Boot(tmp_path_factory, monkeypatch))


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("reboot", [False, True])
def test_clock_8_days_ahead_at_the_start_trims_nothing(machine: Machine, reboot: bool, killed: bool) -> None:
    machine.publish("a", "a", "b")
    machine.pass_time(60)
    machine.restart(jump_s=8 * DAY_S, reboot=reboot, killed=killed)
    assert machine.keys() == ["a", "a", "b"]
    machine.pass_time(DAY_S)
    machine.set_clock(-8 * DAY_S)
    machine.restart(reboot=True)
    assert machine.keys() == ["a", "a", "b"]
    machine.pass_time(6.1 * DAY_S)
    assert machine.keys() == []
    assert verify(machine.harness.folder_of(machine.log)).faults == ()


@pytest.mark.parametrize("killed", [False, True])
def test_hub_started_before_time_sync_loses_nothing_at_the_next_start(machine: Machine, killed: bool) -> None:
    machine.publish("before")
    machine.restart(jump_s=-50 * 365 * DAY_S, reboot=True)
    machine.publish("unsynced")
    machine.pass_time(20)
    machine.set_clock(50 * 365 * DAY_S)
    machine.publish("synced")
    machine.pass_time(60)
    for _ in range(2):
        machine.restart(off_s=60, reboot=True, killed=killed)
        assert machine.keys() == ["before", "unsynced", "synced"]
    machine.pass_time(7 * DAY_S - 200)
    assert machine.keys() == ["before", "unsynced", "synced"]
    machine.pass_time(DAY_S / 10)
    assert machine.keys() == []


def test_run_with_a_clock_a_year_ahead_stops_no_expiry(machine: Machine) -> None:
    machine.publish("before", "before")
    machine.restart(jump_s=365 * DAY_S, reboot=True)
    machine.publish("ahead", "ahead")
    machine.pass_time(DAY_S)
    machine.restart(jump_s=-365 * DAY_S, reboot=True)
    machine.publish("after", "after")
    assert machine.keys() == ["before", "before", "ahead", "ahead", "after", "after"]
    machine.pass_time(5.9 * DAY_S)
    assert machine.keys() == ["before", "before", "ahead", "ahead", "after", "after"]
    machine.pass_time(0.2 * DAY_S)
    assert machine.keys() == ["after", "after"]
    machine.pass_time(DAY_S)
    assert machine.keys() == []


@pytest.mark.parametrize("killed", [False, True])
def test_time_that_the_machine_ran_without_a_hub_counts(machine: Machine, killed: bool) -> None:
    machine.publish("a")
    machine.pass_time(60)
    machine.restart(off_s=6 * DAY_S, killed=killed)
    assert machine.keys() == ["a"]
    machine.restart(off_s=1.5 * DAY_S, killed=killed)
    assert machine.keys() == []


def test_time_that_nothing_measured_does_not_count(machine: Machine) -> None:
    machine.publish("a")
    machine.restart(off_s=30 * DAY_S, reboot=True)
    assert machine.keys() == ["a"]


def test_finished_key_expires_on_time_over_jumps(machine: Machine) -> None:
    machine.publish("a", effect=SlotEffect.END)
    machine.restart(jump_s=365 * DAY_S, reboot=True)
    machine.pass_time(800)
    assert machine.log.newest.offset("data", "data:update", "a") == 1
    machine.set_clock(-365 * DAY_S)
    machine.pass_time(50)
    assert machine.log.newest.offset("data", "data:update", "a") == 1
    machine.pass_time(100)
    assert machine.log.newest.offset("data", "data:update", "a") is None


def test_entries_from_the_future_of_an_older_version_count_as_now(machine: Machine) -> None:
    """Without saved clocks and jumps, as older versions leave the file."""
    for jump_s in (0.0, 365 * DAY_S, -365 * DAY_S):
        machine.make.advance(jump_s)
        machine.publish("a", "a")
    machine.log = machine.harness.reopen(machine.log, WEEK)
    with machine.log._state._transaction():
        machine.log._state._connection.execute("DELETE FROM meta WHERE name IN ('wall_ns', 'steady_ns')")
    machine.restart()
    assert machine.keys() == ["a"] * 6
    machine.pass_time(3 * DAY_S)
    assert machine.keys() == ["a"] * 6
    machine.pass_time(4.1 * DAY_S)
    assert machine.keys() == []


def test_jump_in_memory_trims_nothing() -> None:
    log: Log = MemoryLog("epoch", WEEK)
    make = EventFactory()
    log.start_clock(make.now_ns, 0)
    log.append([make("data:update", "a"), make("data:update", "a")], lambda result: None)
    make.advance(365 * DAY_S)
    log.record_jump(int(365 * DAY_S * NS))
    log.maintain(make.now_ns)
    assert log.statistics().durable_events == 2
    assert log.received_ns(1, make.now_ns) == make.now_ns + int(365 * DAY_S * NS)
    while log.maintain(make.advance(8 * DAY_S)):
        pass
    assert log.statistics().durable_events == 0


steps = st.lists(st.tuples(st.integers(1, 5), st.integers(-(10**18), 10**18)), max_size=20)


@given(steps)
def test_jumps_keep_the_ages_of_all_events(steps: list[tuple[int, int]]) -> None:
    """Events come a nanosecond apart; between them, the clock jumps."""
    jumps, stored, now, offset = ClockJumps(), [], 0, 0
    for events, jump_ns in steps:
        for _ in range(events):
            now, offset = now + 1, offset + 1
            stored.append(now)
        now += jump_ns
        jumps.add(offset, jump_ns)
    seen = [jumps.adjust(number, at) for number, at in enumerate(stored, 1)]
    assert seen == [now - offset + number for number in range(1, offset + 1)]
    assert list(ClockJumps(jumps)) == list(jumps)
    assert jumps.adjust(offset + 1, 7) == 7


@pytest.mark.parametrize(
    ("off_s", "behind_s", "ahead_s"),
    [
        pytest.param(8 * 3_600, 0, 0, id="off"),
        pytest.param(8 * 3_600, 8 * 3_600, 0, id="clock stood still"),
        pytest.param(600, 50 * 365 * DAY_S, 0, id="clock began in 1970"),
        pytest.param(600, 0, 3_600, id="clock was ahead"),
    ],
)
def test_times_before_a_restart_are_shown_as_they_were(
    machine: Machine, off_s: float, behind_s: float, ahead_s: float
) -> None:
    """The clock is wrong after the machine was started again, until it is set; the times before it were right."""
    machine.publish("a")
    began_ns = machine.make.now_ns
    machine.pass_time(60)
    machine.restart(off_s=off_s, jump_s=ahead_s - behind_s, reboot=True)
    machine.publish("b")
    machine.set_clock(behind_s - ahead_s)
    for _ in range(2):
        assert machine.log.shown_ns(1, began_ns) == began_ns
        machine.restart(off_s=5)


def test_time_that_the_clock_skipped_is_shown_as_no_time(machine: Machine) -> None:
    machine.publish("a")
    began_ns = machine.make.now_ns
    machine.restart(off_s=60, jump_s=3_600)
    machine.set_clock(7_200)
    assert machine.log.shown_ns(1, began_ns) == began_ns + int(10_800 * NS)


def test_many_jumps_forget_the_oldest() -> None:
    jumps = ClockJumps((offset, 1) for offset in range(1, MAX_JUMPS + 11))
    assert len(list(jumps)) == MAX_JUMPS
    assert jumps.adjust(1, 0) == MAX_JUMPS
    assert all(earlier < later for (earlier, _), (later, _) in pairwise(jumps))
