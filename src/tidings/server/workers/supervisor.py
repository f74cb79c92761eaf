"""The parent of workers: starts each with its sockets, restarts those that die, and ends all of them.

If the journal of its workers is lost, it ends all of them, prepares the folder as at its start, and starts them again.
"""

import asyncio
import contextlib
import itertools
import os
import secrets
import signal
import socket
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Sequence

import msgspec
import structlog
from msgspec import Raw

from tidings.exceptions import LogCorrupt, LogError, LogForeign, LogTooNew, ServeError
from tidings.server.workers.messages import (
    MAX_LINE_BYTES,
    WorkerAlive,
    WorkerAnswer,
    WorkerAnswers,
    WorkerListening,
    WorkerNote,
    WorkerQuestion,
    WorkerReady,
    WorkerRole,
    decode_from_worker,
)
from tidings.server.workers.supervised_worker import MIN_BACKOFF_S, SupervisedWorker

LINK_VARIABLE = "_TIDINGS_WORKER"
"""Variable with the descriptor of a worker's socket: a process that has it is a worker."""
MAX_DEATHS = 5
DEATHS_WINDOW_S = 60.0
"""Time within which `MAX_DEATHS` deaths of workers end the hub: it would not get better."""
MAX_BACKOFF_S = 5.0
HUNG_S = 10.0
"""Time without a sign of life after which a worker is killed: its event loop stands still, or the process does."""
QUESTION_TIMEOUT_S = 2.0
_WATCH_INTERVAL_S = 1.0
_MAX_LATE_S = 2.0
"""Delay of the parent's own timer above which silence is not the workers' fault: the machine slept, or was too busy."""

log = structlog.get_logger("tidings.serve")


class Supervisor:
    """Runs workers until a signal.

    Args:
        command: The command line of a worker, whose variable `LINK_VARIABLE` is the descriptor of its socket.
        listeners: For each worker, the sockets that it accepts from. They belong to the supervisor.
        admin_listeners: For each worker, those of the admin listener.
        kept_open: Further descriptors that workers inherit, such as the lock of the data folder.
        on_ready: Called once, when all workers are ready, with what they have for the person at the terminal.
        has_lost_journal: Called in a thread when a worker has ended; see
            `tidings.log.journal.shared_folder.has_lost_journal`.
        prepare: Called in a thread when all workers have ended because the journal was lost: prepares the folder for
            the next ones, or raises LogError. If that may pass, such as a full disk, it is called again.
        grace_s: Time that a worker has to end; then it is killed.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        listeners: Sequence[Sequence[socket.socket]],
        admin_listeners: Sequence[Sequence[socket.socket]],
        kept_open: Sequence[int],
        on_ready: Callable[[str], None],
        has_lost_journal: Callable[[], bool],
        prepare: Callable[[], object],
        grace_s: float,
    ) -> None:
        self._command = command
        self._kept_open = kept_open
        self._on_ready = on_ready
        self._has_lost_journal = has_lost_journal
        self._prepare = prepare
        self._grace_s = grace_s
        self._epoch = secrets.token_hex(4)
        self._workers = [
            SupervisedWorker(number, sockets, admin)
            for number, (sockets, admin) in enumerate(zip(listeners, admin_listeners, strict=True), 1)
        ]
        self._deaths: deque[float] = deque()
        self._stopping = asyncio.Event()
        """Set when the hub ends."""
        self._ending = asyncio.Event()
        """Set when all workers end, and either the hub too, or they are started again."""
        self._lost_journal = False
        self._notices: list[str] = []
        self._reported = False
        self._exit_code = 0
        self._failure: ServeError | None = None
        self._ids = itertools.count(1)
        self._questions: dict[int, tuple[dict[str, Raw], set[int], asyncio.Event]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._numbers: Counter[str] = Counter()
        """Number of notes so far, by what they are about."""

    async def run(self) -> int:
        """Run until SIGTERM, SIGINT or `stop`; return the exit code.

        Raises:
            ServeError: Workers died again and again.
            LogError: The journal was lost, and the folder cannot be prepared.
        """
        with self._signals():
            try:
                await self._run_workers()
                while not self._stopping.is_set():
                    await self._prepare_again()
                    await self._run_workers()
            finally:
                self._close_listeners()
                for task in self._tasks:
                    task.cancel()
        if self._failure is not None:
            raise self._failure
        return self._exit_code

    def stop(self) -> None:
        """End all workers, as SIGTERM does."""
        self._stopping.set()
        self._ending.set()

    # Signals.

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()

        def interrupt() -> None:
            if self._stopping.is_set():  # as in one process: the second Ctrl-C ends it immediately
                self._signal_all(signal.SIGKILL)
                signal.signal(signal.SIGINT, signal.SIG_DFL)
                signal.raise_signal(signal.SIGINT)
            self.stop()

        loop.add_signal_handler(signal.SIGINT, interrupt)
        loop.add_signal_handler(signal.SIGTERM, self.stop)
        reloads = signal.getsignal(signal.SIGHUP) is signal.SIG_DFL  # not below nohup
        if reloads:
            loop.add_signal_handler(signal.SIGHUP, self._reload)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if reloads else [])):
                loop.remove_signal_handler(number)

    def _signal_all(self, number: int) -> None:
        for worker in self._workers:
            worker.signal(number)

    def _reload(self) -> None:
        for worker in self._workers:
            if worker.listening.is_set():
                worker.signal(signal.SIGHUP)
            else:  # it would end by the signal
                worker.must_reload = True

    def _close_listeners(self) -> None:
        for worker in self._workers:
            for opened in (*worker.listeners, *worker.admin):
                opened.close()

    # Workers.

    async def _run_workers(self) -> None:
        """Run all workers until the hub stops or they have lost the journal."""
        keepers: list[asyncio.Task[None]] = []
        try:
            for worker in self._workers:
                keepers.append(asyncio.create_task(self._keep(worker)))
                keepers[-1].add_done_callback(self._keeper_done)
                # One first: an error in the settings is then reported once.
                await _first(worker.listening.wait(), self._ending.wait())
            watching = asyncio.create_task(self._watch())
            await self._ending.wait()
            watching.cancel()
        finally:
            self._ending.set()
            if not self._lost_journal or self._stopping.is_set():
                self._close_listeners()  # or the kernel would go on to accept connections for no one
            self._signal_all(signal.SIGTERM)
            await asyncio.gather(*keepers, return_exceptions=True)
        for keeper in keepers:
            keeper.result()  # an error that no one expected ends the hub

    def _keeper_done(self, keeper: asyncio.Task[None]) -> None:
        if not self._ending.is_set():
            self.stop()

    async def _prepare_again(self) -> None:
        """Prepare the folder for other workers, as soon as that is possible; return when it is, or when the hub stops.

        Raises:
            LogError: It is not possible.
        """
        log.error("the journal was lost: all workers start again behind the log that is furthest")
        delay_s = MIN_BACKOFF_S
        while not self._stopping.is_set():
            try:
                await asyncio.to_thread(self._prepare)
            except (LogCorrupt, LogForeign, LogTooNew):
                raise
            except LogError as error:
                log.error("the folder cannot be prepared now", error=str(error))
                await _first(asyncio.sleep(delay_s), self._stopping.wait())
                delay_s = min(2 * delay_s, MAX_BACKOFF_S)
                continue
            self._epoch = secrets.token_hex(4)
            self._lost_journal = False
            if not self._stopping.is_set():
                self._ending.clear()
            return

    async def _keep(self, worker: SupervisedWorker) -> None:
        """Start a worker's process again and again, until the end."""
        while not self._ending.is_set():
            started = time.monotonic()
            worker.has_started = False
            fault = ""
            try:
                code = await self._run_once(worker)
            except (OSError, RuntimeError) as error:  # such as too many processes, threads or open files
                code, fault = 0, getattr(error, "strerror", None) or str(error)
            if self._ending.is_set():
                return
            if worker.was_ready and await asyncio.to_thread(self._has_lost_journal):
                self._lost_journal = True
                self._ending.set()
                return
            if not worker.was_ready and code > 0:
                self._exit_code = code  # it reported an error itself, such as a log that cannot be opened
                self.stop()
                return
            asked = not fault and code in (0, -signal.SIGTERM)  # a rolling restart
            reason = fault or (f"signal {-code}" if code < 0 else f"exit code {code}")
            is_start = bool(fault) or (code > 0 and not worker.has_started)
            if is_start and any(each.ready.is_set() for each in self._workers):
                # The machine lacks something, or the settings have changed: the others go on.
                log.error("a worker could not start, and is tried again", worker=worker.number, reason=reason)
                with contextlib.suppress(OSError):  # no free descriptor
                    worker.withdraw()
            elif not asked:
                self._count_death(worker, reason)
            if time.monotonic() - started > DEATHS_WINDOW_S or asked:
                worker.backoff_s = MIN_BACKOFF_S
            await _first(asyncio.sleep(worker.backoff_s), self._ending.wait())
            worker.backoff_s = min(2 * worker.backoff_s, MAX_BACKOFF_S)

    def _count_death(self, worker: SupervisedWorker, reason: str) -> None:
        log.error("a worker died", worker=worker.number, reason=reason)
        now = time.monotonic()
        self._deaths.append(now)
        while now - self._deaths[0] > DEATHS_WINDOW_S:
            self._deaths.popleft()
        if len(self._deaths) >= MAX_DEATHS:
            self._failure = ServeError(
                f"{MAX_DEATHS} workers died within {DEATHS_WINDOW_S:.0f} s; the last one with {reason}",
                hint="See the log lines before each death. The kernel's log shows processes that were killed to free "
                "memory.",
            )
            self.stop()

    async def _run_once(self, worker: SupervisedWorker) -> int:
        """Run one process of a worker to its end; return its exit code, negative for a signal."""
        ours, theirs = socket.socketpair()
        listeners, admin = [[each.fileno() for each in sockets] for sockets in (worker.listeners, worker.admin)]
        try:
            with theirs:
                worker.process = process = await asyncio.create_subprocess_exec(
                    *self._command,
                    env={**os.environ, LINK_VARIABLE: str(theirs.fileno())},
                    stdin=asyncio.subprocess.DEVNULL,
                    pass_fds=[theirs.fileno(), *listeners, *admin, *self._kept_open],
                    process_group=0,  # Ctrl-C reaches the parent alone, which ends the workers in order
                )
            worker.seen = time.monotonic()
            ours.setblocking(False)
            reader, worker.writer = await asyncio.open_connection(sock=ours, limit=MAX_LINE_BYTES)
        except BaseException:
            ours.close()
            raise
        worker.send(WorkerRole(worker.number, len(self._workers), self._epoch, listeners, admin))
        if self._ending.is_set():
            worker.signal(signal.SIGTERM)
        reading = asyncio.create_task(self._read(worker, reader))
        try:
            return await self._wait(worker, process)
        finally:
            reading.cancel()
            worker.writer.close()
            worker.listening.clear()
            worker.ready.clear()
            worker.process = worker.writer = None
            self._forget_answers_of(worker)

    async def _wait(self, worker: SupervisedWorker, process: asyncio.subprocess.Process) -> int:
        ended = asyncio.ensure_future(process.wait())
        await _first(asyncio.shield(ended), self._ending.wait())
        if not ended.done():
            _, pending = await asyncio.wait([ended], timeout=2 * self._grace_s + 1.0)
            if pending:
                log.error("a worker does not end and is killed", worker=worker.number)
                worker.signal(signal.SIGKILL)
        return await ended

    async def _watch(self) -> None:
        """Kill workers that give no sign of life."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(_WATCH_INTERVAL_S)
            now = time.monotonic()
            for worker in self._workers:
                if now - before > _WATCH_INTERVAL_S + _MAX_LATE_S:
                    worker.seen = now
                elif worker.ready.is_set() and now - worker.seen > HUNG_S:
                    log.error("a worker gives no sign of life and is killed", worker=worker.number)
                    worker.seen = now
                    worker.signal(signal.SIGKILL)

    # Messages.

    async def _read(self, worker: SupervisedWorker, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                worker.seen = time.monotonic()
                match decode_from_worker(line):
                    case WorkerListening():
                        worker.listening.set()
                        if worker.must_reload:
                            worker.must_reload = False
                            worker.signal(signal.SIGHUP)
                    case WorkerReady() as ready:
                        self._note_ready(worker, ready)
                    case WorkerQuestion() as question:
                        task = asyncio.create_task(self._ask_others(worker, question))
                        self._tasks.add(task)
                        task.add_done_callback(self._tasks.discard)
                    case WorkerAnswer() as answer:
                        self._note_answer(worker.number, answer)
                    case WorkerNote() as note:
                        self._relay(note)
                    case WorkerAlive():
                        pass

    def _note_ready(self, worker: SupervisedWorker, ready: WorkerReady) -> None:
        worker.ready.set()
        worker.was_ready = worker.has_started = True
        if ready.notice:
            self._notices.append(ready.notice)
        if not self._reported and all(each.ready.is_set() for each in self._workers):
            self._reported = True
            self._on_ready("\n".join(self._notices))

    def _relay(self, note: WorkerNote) -> None:
        """Send a note to all workers, with the next number of its kind."""
        self._numbers[note.about] += 1
        numbered = WorkerNote(note.about, Raw(bytes(note.body)), self._numbers[note.about])
        for worker in self._workers:
            worker.send(numbered)

    async def _ask_others(self, sender: SupervisedWorker, question: WorkerQuestion) -> None:
        others = [each for each in self._workers if each is not sender and each.ready.is_set()]
        id, bodies, complete = next(self._ids), dict[str, Raw](), asyncio.Event()
        missing = {each.number for each in others}
        self._questions[id] = bodies, missing, complete
        try:
            for each in others:
                each.send(WorkerQuestion(id, question.about, question.body))
            if missing:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(QUESTION_TIMEOUT_S):
                        await complete.wait()
        finally:
            del self._questions[id]
        sender.send(WorkerAnswers(question.id, bodies))

    def _note_answer(self, worker: int, answer: WorkerAnswer) -> None:
        found = self._questions.get(answer.id)
        if found is not None and worker in found[1]:
            bodies, missing, complete = found
            bodies[str(worker)] = msgspec.Raw(bytes(answer.body))
            missing.discard(worker)
            if not missing:
                complete.set()

    def _forget_answers_of(self, worker: SupervisedWorker) -> None:
        for _, missing, complete in self._questions.values():
            missing.discard(worker.number)
            if not missing:
                complete.set()


async def _first(*waits: Awaitable[object]) -> None:
    """Wait until the first of several has happened, and cancel the others."""
    tasks = [asyncio.ensure_future(each) for each in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


def available_cores() -> int:
    """Return the number of cores that this process may use: by its affinity, and by the quota of its control group."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError), open("/sys/fs/cgroup/cpu.max") as file:
        quota, period = file.read().split()
        if quota != "max":
            cores = min(cores, max(1, -(-int(quota) // int(period))))
    return max(1, cores)
