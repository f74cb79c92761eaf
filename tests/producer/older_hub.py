"""A hub of before there were leases, made of the present one."""

import pytest

from tidings.protocol.messages import ATTACH, COMMANDS


def serve_no_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the hubs of this process not know `producer:attach`."""
    # Not taken out of the table itself: put back, it would be the last of it, and exports are in its order.
    known = {name: command for name, command in COMMANDS.items() if name != ATTACH}
    for module in ("tidings.hub.connection", "tidings.contract.contract"):
        monkeypatch.setattr(f"{module}.COMMANDS", known)
