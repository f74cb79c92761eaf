"""The undeclared types that a lenient hub accepts: each raises an alert, once, and their number is bounded."""

from tidings.contract.contract import Contract
from tidings.exceptions import LimitExceeded
from tidings.hub.interfaces import HubCore
from tidings.hub.internal_events import publish_internal
from tidings.operations.owned_names import OwnedNames
from tidings.protocol.message_types import MessageType
from tidings.protocol.payloads import SystemAlertData

MAX_UNDECLARED_TYPES = 1_000
"""Undeclared types that a lenient hub accepts from its start on. Each raises an alert and has its own table of newest
events: a publisher that puts an id into the type would slow down every snapshot."""
MAX_UNDECLARED_TYPES_OF_SUBJECT = 100
"""Undeclared types of one subject, so that no subject uses up those of the others."""


class UndeclaredTypes:
    """The undeclared types that one hub has accepted since its start.

    Args:
        hub: The hub.
        contract: Its contract.
    """

    def __init__(self, hub: HubCore, contract: Contract) -> None:
        self._hub = hub
        self._contract = contract
        self._alerted = OwnedNames()
        """Types for which an alert was raised, by the subjects that published them first."""

    def admit(self, type: str, owner: str) -> None:
        """Accept a type, and raise its alert the first time.

        Args:
            type: The type of an event.
            owner: Name of the subject that publishes it; "" without authentication.

        Raises:
            LimitExceeded: The hub accepted `MAX_UNDECLARED_TYPES` others already, or as many as one subject may have.
        """
        if type in self._alerted:
            return
        own = self._alerted.count(owner) if owner else 0
        if own >= MAX_UNDECLARED_TYPES_OF_SUBJECT or len(self._alerted) >= MAX_UNDECLARED_TYPES:
            raise LimitExceeded(
                f"this hub accepted {own or MAX_UNDECLARED_TYPES:,} undeclared types already; {type} is one more",
                hint="Put what varies into `data`, not into the type, or declare the types in a contract.",
            )
        self._alerted.add(type, owner)
        unknown = self._contract.explain_unknown(type)
        alert = SystemAlertData(
            alert_id=f"{unknown.code}:{type}",
            severity="warning",
            state="raised",
            code=unknown.code,
            message=f"undeclared event type {type}: its events are accepted unchecked",
            recoverable=True,
            hint=unknown.hint,
        )
        publish_internal(self._hub, MessageType.SYSTEM_ALERT, alert)
