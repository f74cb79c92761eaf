"""Recurring jobs: each runs again whatever happened in it, and one that no longer runs makes the hub not ready."""

from collections.abc import Callable, Iterator
from functools import partial

import structlog

from tidings.exceptions import JobOverdue, TidingsError
from tidings.hub.clock import Clock
from tidings.log.base import Scheduler

MAX_MISSED_RUNS = 3
"""Number of intervals after which a job that has not run is overdue."""

log = structlog.get_logger("tidings.hub.recurring_jobs")


class RecurringJob:
    """One job, and when it last ran without an error."""

    __slots__ = ("failures", "interval_s", "name", "ran_at", "run", "series")

    def __init__(self, name: str, interval_s: float, run: Callable[[], float | None], now: float) -> None:
        self.name = name
        self.interval_s = interval_s
        """Maximum time between two runs, in seconds."""
        self.run = run
        """The work of one run; returns the delay of the next one in seconds, None for the interval."""
        self.ran_at = now
        """When it last ran without an error, or was started, in seconds of the monotonic clock."""
        self.failures = 0
        """Runs that failed so far."""
        self.series = 0
        """Runs that failed since the last one that did not."""


class RecurringJobs:
    """All recurring jobs of a hub, on its event loop.

    Args:
        scheduler: The event loop.
        clock: The hub's clock.
    """

    def __init__(self, scheduler: Scheduler, clock: Clock) -> None:
        self._scheduler = scheduler
        self._clock = clock
        self._jobs: dict[str, RecurringJob] = {}
        self._closed = False

    def __iter__(self) -> Iterator[RecurringJob]:
        return iter(self._jobs.values())

    def start(
        self, name: str, interval_s: float, run: Callable[[], float | None], *, delay_s: float | None = None
    ) -> None:
        """Run a job again and again until `close`.

        Args:
            name: Name of the job, for people; unique in the hub.
            interval_s: Maximum time between two runs, in seconds.
            run: The work of one run; returns the delay of the next one in seconds, None for the interval. After an
                error, the next one has the delay of the interval.
            delay_s: Delay of the first run. Default: the interval.
        """
        job = self._jobs[name] = RecurringJob(name, interval_s, run, self._clock.monotonic())
        self._scheduler.call_later(interval_s if delay_s is None else delay_s, partial(self._run, job))

    def overdue(self) -> list[JobOverdue]:
        """Return an error for each job that has not run without an error for three of its intervals."""
        now = self._clock.monotonic()
        return [
            JobOverdue(
                f"the job {job.name!r} has not run for {now - job.ran_at:.3g} s; its interval is {job.interval_s:g} s",
                job=job.name,
            )
            for job in self
            if now - job.ran_at > MAX_MISSED_RUNS * job.interval_s
        ]

    def close(self) -> None:
        """Stop running jobs."""
        self._closed = True

    def _run(self, job: RecurringJob) -> None:
        if self._closed:
            return
        delay_s: float | None = None
        try:
            delay_s = job.run()
        except Exception as error:
            self._record_failure(job, error)
        else:
            job.ran_at = self._clock.monotonic()
            if job.series:
                log.info("a recurring job runs again", job=job.name, failures=job.series)
                job.series = 0
        finally:
            self._scheduler.call_later(job.interval_s if delay_s is None else delay_s, partial(self._run, job))

    def _record_failure(self, job: RecurringJob, error: Exception) -> None:
        job.failures += 1
        job.series += 1
        if job.series & (job.series - 1):
            return  # only the 1st, 2nd, 4th, 8th, … failure is logged: some jobs run four times a second
        facts = {"job": job.name, "error": str(error), "failures": job.series}
        if isinstance(error, TidingsError):
            log.error("a recurring job failed", code=error.code, **facts)
        else:
            log.exception("a recurring job failed", **facts)
