"""A hub without leases, made from the current one."""

import pytest

from tidings.protocol.messages import ATTACH, COMMANDS


def serve_no_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove `producer:attach` from the hubs of this process."""
    # The table itself stays unchanged: a command added again would be its last, and exports follow its order.
    known = {name: command for name, command in COMMANDS.items() if name != ATTACH}
    for module in ("tidings.hub.connection", "tidings.contract.contract"):
        monkeypatch.setattr(f"{module}.COMMANDS", known)
