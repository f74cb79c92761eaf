"""Running the scenarios: contenders in turn, in rounds, each run against a fresh server."""

import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.fanout.compiler import Binaries
from benchmarks.fanout.load import LoadError, LoadResult, OptionValue, run_load
from benchmarks.fanout.profiler import profiled
from benchmarks.fanout.scenarios import Contender, Metrics, Scenario, metrics_of
from benchmarks.fanout.servers import ServerError, hub_command, running_server

PREFILL_BATCH = 500
PREFILL_CONNECTIONS = 2
PREFILL_LIMIT_S = 900
BASELINE_PATHS: dict[str, OptionValue] = {"path": "/subscribe", "publisher-path": "/publish"}
HUB_PATHS: dict[str, OptionValue] = {"path": "/ws?channel=data", "publisher-path": "/ws?channels=none"}
POST_PATH = "/v1/events"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to measure."""

    binaries: Binaries
    folder: Path
    """Takes the servers' data and their stderr."""
    seconds: float
    """Length of each measured window."""
    warm_up: float
    """Seconds of load before it."""
    rounds: int
    prefill_rows: int
    contenders: Sequence[Contender]
    server_core: int | None
    load_core: int | None
    hub_arguments: Sequence[str] = ()
    """Added to `tidings serve`."""
    profiles: Path | None = None
    """Takes a profile of the hub per scenario; None profiles nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """The medians of one scenario and contender over the rounds."""

    scenario: Scenario
    contender: Contender
    metrics: Metrics
    results: Sequence[LoadResult]
    faults: Sequence[str]
    """Why runs of this row are not valid; empty for a good row."""


@dataclass(slots=True)
class _Runs:
    results: list[LoadResult] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def tell(message: str) -> None:
    """Write a line of progress to stderr, so that stdout holds the report alone."""
    print(message, file=sys.stderr, flush=True)


class Bench:
    """The measuring of a plan; keeps the prefilled log between scenarios."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._prefilled: Path | None = None
        self._servers_started = 0

    def run(self, scenarios: Sequence[Scenario]) -> list[Row]:
        """Measure every scenario and return its rows, in the scenarios' order.

        The rounds are the outer loop and the contenders the inner one, so that a machine that
        slows down for a while does so for both.
        """
        runs: dict[tuple[int, Contender], _Runs] = defaultdict(_Runs)
        for round_number in range(1, self._plan.rounds + 1):
            for place, scenario in enumerate(scenarios):
                for contender in self._contenders(scenario):
                    tell(f"round {round_number}: {self._label(scenario)}, {contender}")
                    self._measure(scenario, contender, runs[place, contender])
        return [
            _summarise(scenario, contender, runs[place, contender])
            for place, scenario in enumerate(scenarios)
            for contender in self._contenders(scenario)
        ]

    def _contenders(self, scenario: Scenario) -> list[Contender]:
        return [contender for contender in scenario.contenders if contender in self._plan.contenders]

    @staticmethod
    def _label(scenario: Scenario) -> str:
        return scenario.name if scenario.subscribers is None else f"{scenario.name} × {scenario.subscribers:,}"

    def _measure(self, scenario: Scenario, contender: Contender, runs: _Runs) -> None:
        try:
            result = self._run_once(scenario, contender)
        except (ServerError, LoadError) as error:
            tell(f"  {error}")
            runs.faults.append(str(error).splitlines()[0])
            return
        if result.fault is not None:
            tell(f"  not valid: {result.fault}")
            runs.faults.append(result.fault)
        runs.results.append(result)

    def _run_once(self, scenario: Scenario, contender: Contender) -> LoadResult:
        plan = self._plan
        if contender is Contender.BASELINE:
            command = [str(plan.binaries.baseline)]
        else:
            command = hub_command(self._data_folder(scenario), plan.hub_arguments)
        log = plan.folder / f"{contender}.log"
        name = f"{scenario.name}-{scenario.subscribers or 0}"
        with running_server(command, core=plan.server_core, log=log) as server:
            options = self._options(scenario, contender)
            with profiled(server.pid, name, plan.profiles if contender is Contender.HUB else None):
                return run_load(plan.binaries.load, scenario.mode, server, options, core=plan.load_core)

    def _options(self, scenario: Scenario, contender: Contender) -> dict[str, OptionValue]:
        options: dict[str, OptionValue] = {"seconds": self._plan.seconds}
        if scenario.mode != "idle":
            options["warm-up"] = self._plan.warm_up
        if self._plan.server_core is not None:
            options["server-core"] = self._plan.server_core
        if scenario.mode == "http":
            options["path"] = POST_PATH
        elif contender is Contender.BASELINE:
            options.update(BASELINE_PATHS)
        else:
            options.update(HUB_PATHS)
            options.update({"greeted": True, "commands": scenario.mode != "idle"})
        if scenario.subscribers is not None:
            options["subscribers"] = scenario.subscribers
        options.update(scenario.options)
        return options

    def _data_folder(self, scenario: Scenario) -> Path:
        if not scenario.prefilled or self._plan.prefill_rows == 0:
            self._servers_started += 1
            return self._plan.folder / f"data-{self._servers_started}"
        if self._prefilled is None:
            self._prefilled = self._prefill()
        return self._prefilled

    def _prefill(self) -> Path:
        """Publish this many events into a new data folder, in HTTP batches, and return the folder."""
        plan = self._plan
        data = plan.folder / "data-prefilled"
        tell(f"preparing a log of {plan.prefill_rows:,} rows")
        options: dict[str, OptionValue] = {
            "path": POST_PATH,
            "connections": PREFILL_CONNECTIONS,
            "batch": PREFILL_BATCH,
            "events": plan.prefill_rows,
            "seconds": PREFILL_LIMIT_S,
        }
        with running_server(
            hub_command(data, plan.hub_arguments), core=plan.server_core, log=plan.folder / "prefill.log"
        ) as server:
            result = run_load(plan.binaries.load, "http", server, options, core=plan.load_core)
        if result.fault is not None or result.events < plan.prefill_rows:
            raise LoadError(f"only {result.events:,} rows were prepared: {result.fault or 'out of time'}")
        tell(f"  {result.events:,} rows in {result.seconds:.1f} s")
        return data


def _summarise(scenario: Scenario, contender: Contender, runs: _Runs) -> Row:
    every = [metrics_of(scenario, result) for result in runs.results]
    medians = {name: statistics.median(metrics[name] for metrics in every) for name in every[0]} if every else {}
    return Row(scenario=scenario, contender=contender, metrics=medians, results=runs.results, faults=runs.faults)


def valid(rows: Iterable[Row]) -> bool:
    """Say whether every run delivered all it should have."""
    return not any(row.faults for row in rows)
