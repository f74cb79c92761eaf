"""One attack on a fresh `tidings serve`: what innocent clients waited, and what memory the hub took."""

import math
import re
import secrets
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import jwt

from benchmarks.fanout.servers import Server, hub_command, running_server
from benchmarks.hostile.innocents import Innocents, Waits, percentile
from benchmarks.hostile.registry import Attack
from benchmarks.hostile.timed_hub import LongestTurn

ATTACK_LIMIT_S = 60.0
"""Time beyond its own after which an attacker is killed: a hub that stands still lets it wait."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pauses:
    """The times of a measurement in which nothing new happens, in seconds."""

    quiet_s: float = 3.0
    """With innocent clients only, before the attack: what they wait then is the baseline."""
    hold_s: float = math.inf
    """With all that the attacker opened, once it has nothing left to send; at most up to the end of the attack."""
    recovery_s: float = 3.0
    """After the attacker's process was killed, until what it left behind is read."""


SHORT_PAUSES = Pauses(quiet_s=0.2, hold_s=0.5, recovery_s=0.2)
"""For tests of what an attack does at its peak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The figures of one attack."""

    attack: Attack
    waits: Waits
    baseline: Waits
    """What the same clients waited just before the attack."""
    longest_turn_s: float
    """Longest turn of the hub's event loop during the attack, in seconds of CPU time."""
    peak_over_idle_bytes: int
    """Greatest resident memory of the hub during the attack, over what it had before."""
    left_bytes: int
    """Resident memory over idle a few seconds after the attacker was killed."""
    hub_ended: bool
    """Whether the hub's process ended under the attack."""

    @property
    def p99_s(self) -> float:
        """The worst of the p99 of acknowledgements and of deliveries, in seconds."""
        return _p99_s(self.waits)

    @property
    def baseline_p99_s(self) -> float:
        """The same without an attack."""
        return _p99_s(self.baseline)


def _p99_s(waits: Waits) -> float:
    return max(percentile(waits.accepted, 0.99), percentile(waits.delivered, 0.99))


def memory_bytes(pid: int, field: str) -> int:
    """Return a field of /proc/PID/status in bytes, such as `VmRSS` or `VmHWM`; 0 if the process has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return 0
    found = re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
    return int(found[1]) * 1024 if found is not None else 0


def reset_peak(pid: int) -> None:
    """Let `VmHWM` begin again at what is resident now (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def measure(
    attack: Attack,
    folder: Path,
    *,
    seconds: float,
    scale: float = 1.0,
    hub_core: int | None = None,
    hub_arguments: Sequence[str] = (),
    pauses: Pauses = Pauses(),
) -> Outcome:
    """Run an attack against a hub of its own, whose data and stderr go into `folder`."""
    options = [*attack.hub_options, *hub_arguments]
    token = ""
    if attack.identified:
        secret = folder / "secret"
        secret.touch(0o600)
        secret.write_text(secrets.token_hex(32))
        options += ["--auth", "jwt", "--jwt-secret-file", str(secret)]
        token = _issue(secret.read_text())
    longest = LongestTurn(folder / "longest_turn")
    timed = [sys.executable, "-m", "benchmarks.hostile.timed_hub", str(folder / "longest_turn")]
    command = [*timed, *hub_command(folder / "data", options)[1:]]
    if attack.open_files is not None:
        command = ["prlimit", f"--nofile={attack.open_files}", *command]
    with running_server(command, core=hub_core, log=folder / "stderr") as server:
        return _measure(attack, server, longest, token=token, seconds=seconds, scale=scale, pauses=pauses)


def _issue(secret: str) -> str:
    """Return a token for innocent clients."""
    now_s = int(time.time())
    claims = {"sub": "innocent", "iat": now_s, "exp": now_s + 3_600, "tidings": ["publish data", "read data"]}
    return jwt.encode(claims, secret, "HS256")


def _measure(
    attack: Attack,
    server: Server,
    longest: LongestTurn,
    *,
    token: str,
    seconds: float,
    scale: float,
    pauses: Pauses,
) -> Outcome:
    attacker = subprocess.Popen(
        [
            *(sys.executable, "-m", "benchmarks.hostile.attacker"),
            *(attack.name, server.host, *map(str, (server.port, seconds, scale, pauses.hold_s))),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert attacker.stdin is not None
    assert attacker.stdout is not None
    with attacker.stdin, attacker.stdout, Innocents(server.host, server.port, token=token) as innocents:
        try:
            attacker.stdout.readline()
            quiet = time.monotonic()
            time.sleep(pauses.quiet_s)
            reset_peak(server.pid)
            idle = memory_bytes(server.pid, "VmRSS")
            longest.reset()
            began = time.monotonic()
            attacker.stdin.write("go\n")
            attacker.stdin.flush()
            select.select([attacker.stdout], [], [], seconds + ATTACK_LIMIT_S)
            ended = time.monotonic()
            longest_turn_s = longest.seconds
        finally:
            attacker.kill()
            attacker.wait()
        time.sleep(pauses.recovery_s)
        left = memory_bytes(server.pid, "VmRSS") - idle
        waits = innocents.finish(began, ended)
        baseline = innocents.waits(quiet, began)
        peak = memory_bytes(server.pid, "VmHWM") - idle
        return Outcome(
            attack=attack,
            waits=waits,
            baseline=baseline,
            longest_turn_s=longest_turn_s,
            peak_over_idle_bytes=max(0, peak),
            left_bytes=max(0, left),
            hub_ended=memory_bytes(server.pid, "VmRSS") == 0,
        )
