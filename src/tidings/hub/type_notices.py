"""Notices about message types that a client uses by mistake: unknown ones, and old names."""

from tidings.contract.contract import Contract
from tidings.protocol.message_types import LEGACY_TYPES
from tidings.protocol.messages import Notice
from tidings.protocol.revisions import Revision

MAX_HANDLED_TYPE_CHARS = 64
"""Characters of a type in `handles` that the hub compares with its own types and repeats in a notice."""

MAX_TYPE_NOTICES = 100
"""Unknown or deprecated types for which one connection receives notices; a client has a few, by mistake."""

_NO_TYPES: frozenset[str] = frozenset()  # shared: most connections need no notice


class TypeNotices:
    """The notices of one connection about types, at most one for each type.

    Args:
        contract: The hub's contract.
    """

    __slots__ = ("_contract", "_notified")

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._notified = _NO_TYPES

    def explain_unavailable(self, type: str, revision: Revision) -> Notice | None:
        """Return a notice if a client of `revision` never receives events of `type`, because of what the type is."""
        contract = self._contract
        type = type[:MAX_HANDLED_TYPE_CHARS]
        if type in contract.deprecated:
            return self.explain_deprecated(type, revision)
        if type in self._notified or len(self._notified) >= MAX_TYPE_NOTICES:
            return None
        if type in contract.events or type in revision.accepts:
            return None
        self._notified |= {type}
        unknown = contract.explain_unknown(type)
        return Notice(code=unknown.code, message=str(unknown), hint=unknown.hint)

    def explain_deprecated(self, type: str, revision: Revision) -> Notice | None:
        """Return a notice with the replacement of a deprecated type, unless it is a type of `revision`."""
        if type in self._notified or type in revision.accepts:
            return None
        self._notified |= {type}
        now = LEGACY_TYPES.get(type)
        message = f"{type} is deprecated" if now is None else f"{type} is the old name of {now}"
        return Notice(code="deprecated", message=message, hint=self._contract.deprecated[type])
