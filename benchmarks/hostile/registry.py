"""The registry of attacks: each is a function in a module of `benchmarks.hostile.attacks`, one module per family."""

import importlib
import math
import pkgutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.hostile import attacks


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The hub under attack, as the attacker sees it."""

    host: str
    port: int
    seconds: float
    """Length of the attack; one that is over earlier waits, with its connections open (`hold`)."""
    scale: float = 1.0
    """Factor for the numbers of an attack (connections, paths, bytes), so that a test can run a small one."""
    hold_s: float = math.inf
    """Time in seconds after which `hold` ends earlier."""
    began: float = field(default_factory=time.monotonic)

    def scaled(self, number: int) -> int:
        """Return `number` times the scale, at least 1."""
        return max(1, int(number * self.scale))

    def over(self) -> bool:
        """Return whether the time of the attack is over."""
        return time.monotonic() - self.began >= self.seconds

    def hold(self) -> None:
        """Wait for the end of the attack, or for `hold_s`, with everything open."""
        time.sleep(max(0.0, min(self.hold_s, self.began + self.seconds - time.monotonic())))


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """One attack."""

    name: str
    family: str
    about: str
    """What it does, in a line."""
    run: Callable[[Target], None]
    hub_options: tuple[str, ...] = ()
    """Options of `tidings serve` that the attack needs."""
    open_files: int | None = None
    """Limit of open files of the hub, where the attack is about descriptors."""
    identified: bool = False
    """Whether the hub asks for JWTs: the innocent clients have one, and the attacker has none."""


_ATTACKS: dict[str, Attack] = {}


def attack(
    name: str,
    about: str,
    *,
    hub_options: tuple[str, ...] = (),
    open_files: int | None = None,
    identified: bool = False,
) -> Callable[[Callable[[Target], None]], Callable[[Target], None]]:
    """Register a function as the attack `name`. It runs in a process of its own, which is killed at the end.

    Its connections must stay referenced while it runs: a socket that is collected is closed.
    """

    def register(run: Callable[[Target], None]) -> Callable[[Target], None]:
        family = run.__module__.rpartition(".")[2]
        assert name not in _ATTACKS, f"two attacks are named {name}"
        _ATTACKS[name] = Attack(
            name=name,
            family=family,
            about=about,
            run=run,
            hub_options=hub_options,
            open_files=open_files,
            identified=identified,
        )
        return run

    return register


def all_attacks() -> dict[str, Attack]:
    """Return the attacks of all families, by name."""
    for module in pkgutil.iter_modules(attacks.__path__):
        importlib.import_module(f"{attacks.__name__}.{module.name}")
    return dict(sorted(_ATTACKS.items(), key=lambda item: (item[1].family, item[0])))
