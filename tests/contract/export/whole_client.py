"""Results of the whole clients in Go and TypeScript, which use nothing but the exports."""

from typing import Any

import pytest
from tests.access.token_table import TokenTable

from tidings.protocol.codes import should_reconnect

TOKEN = "secret"
_TOKENS = TokenTable()
_TOKENS.add(TOKEN, "read operations", "publish operations", "cancel operations", name="ann")
ACCESS = (pytest.param(None, id="open"), pytest.param(_TOKENS.options, id="identified"))
"""How the hubs identify clients: not at all, and by a token."""

WHOLE_CLIENT: dict[str, Any] = {
    "outcome": "live",
    "resumed": "complete",
    "progress": 45.5,
    "verdict": "held",
    "reason": "not needed",
    "ended": "cancelled",
    "final": [code for code in range(1000, 4200) if not should_reconnect(code)],
}
