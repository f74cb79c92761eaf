"""Results of the whole clients in Go and TypeScript, which use nothing but the exports."""

from typing import Any

from tidings.protocol.codes import should_reconnect

WHOLE_CLIENT: dict[str, Any] = {
    "outcome": "live",
    "resumed": "complete",
    "progress": 45.5,
    "verdict": "held",
    "reason": "not needed",
    "ended": "cancelled",
    "final": [code for code in range(1000, 4200) if not should_reconnect(code)],
}
