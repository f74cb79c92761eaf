"""API keys of a hub of several machines: a key in the file of one node is accepted by all (docs/cluster.md)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Final

import structlog
from msgspec import Struct

from tidings.access.key_file import KEEP_REVOKED_NS, LoadedKeys
from tidings.access.keys import ApiKey, decode_key, encode_key
from tidings.exceptions import AccessError, InvalidKeyFile
from tidings.hub.hub import Hub
from tidings.log.base import ReceivedControl
from tidings.log.journal.controls import MAX_KEY_BYTES, KeyRemoved, KeyShared
from tidings.log.replicated import ReplicatedLog
from tidings.log.shared_keys import MAX_KEYS
from tidings.protocol.timestamps import to_nanoseconds

MAX_PROPOSED: Final = 1_000
"""Keys that are put into the log at each look: one entry."""
_ACCEPT_DELAY_S: Final = 0.1
"""Time in which changes are gathered before they are applied: a node that starts may bring thousands of keys."""
_LOOKS: Final = 20
"""Number of looks after which keys are compared that did not change: some may have expired."""
_HINT: Final = "Add another key, such as one that expires; or use tokens."

log = structlog.get_logger("tidings.serve")


class SharedKeyChanges(Struct, frozen=True, kw_only=True):
    """Keys that nodes have put into the log, this one included."""

    added: Sequence[ApiKey]
    edited: Sequence[ApiKey]
    """As they are now."""
    removed: Sequence[ApiKey]


class SharedKeys:
    """Puts the keys of a node's file into the log, and accepts those of the other nodes.

    A key is in the log because the file of one node has it, and leaves it when that file has it no longer. Only that
    node replaces the line in the log by its own; another node does so once, when its line was edited while it ran. So
    two files that differ do not replace each other's lines for ever.

    Args:
        hub: The hub.
        hub_log: Its log.
        keys: The keys of the file.
        check: Raises `ValueError` or `AccessError` for a key that cannot be accepted.
        changed: Called when keys in the log have changed.
    """

    def __init__(
        self,
        hub: Hub,
        hub_log: ReplicatedLog,
        keys: LoadedKeys,
        *,
        check: Callable[[ApiKey], None],
        changed: Callable[[SharedKeyChanges], None],
    ) -> None:
        self._hub = hub
        self._log = hub_log
        self._keys = keys
        self._check = check
        self._changed = changed
        self._edited: set[str] = set()
        """Ids of the lines that changed while this node runs, and are not in the log yet."""
        self._decoded: dict[str, tuple[bytes, ApiKey | None]] = {}
        """The lines in the log by id, with their keys; None for one that cannot be accepted."""
        self._accepted: dict[str, ApiKey] = {}
        """The keys in the log that are accepted, by their ids."""
        self._unshared: dict[str, str] = {}
        """Why keys of the file are not in the log, by their ids."""
        self._is_accepting = False
        self._looks = 0
        """Number of looks until keys are compared again."""
        hub.on_control.append(self._receive)
        self._replace()

    def file_changed(self, before: Mapping[str, ApiKey]) -> None:
        """Propose the changes of the file, which was read again.

        Args:
            before: The keys that it had, by their ids.
        """
        self._looks = 0
        self._edited |= {key.id for key in self._keys.keys if before.get(key.id, key) != key}
        self.look()

    def has_live_grant(self, grant: str) -> bool:
        """Return whether a key of another node is valid, and has a grant."""
        now_ns = self._log.now_ns
        keys = [key for key in self._accepted.values() if grant in key.grants and key.is_live(now_ns)]
        return any(not self._is_revoked(key.id) for key in keys)

    def look(self) -> None:
        """Propose what the log lacks, some at a time; to be called at an interval."""
        self._looks -= 1
        if self._looks >= 0 or not self._log.shares_keys:
            return
        if self._keys.has_changed():
            return  # nodes may share one file: a line that another node has removed must not come back
        reported, self._unshared = self._unshared, {}
        proposed = list(islice(self._find_differences(), MAX_PROPOSED))
        for control in proposed:
            self._hub.log.record(control)
        self._looks = 0 if proposed else _LOOKS
        new = [id for id in self._unshared if id not in reported]
        if new:
            log.error(
                "API keys are valid at this node only",
                keys=len(self._unshared),
                first=new[0],
                reason=self._unshared[new[0]],
                hint=_HINT,
            )

    # Comparing the file with the log.

    def _find_differences(self) -> Iterator[KeyShared | KeyRemoved]:
        # The clock of the journal, which is the same for all: else a node whose clock is fast removes keys for ever
        # that another one adds.
        now_ns = self._log.now_ns
        rows = self._log.shared_keys
        own = {key.id: key for key in self._keys.keys}
        for key in own.values():
            row = rows.get(key.id)
            if row is None:
                is_wanted = key.is_live(now_ns) and not self._is_revoked(key.id)
            elif self._is_same_key(row, key):
                is_wanted = row.node == self._log.node or key.id in self._edited
            else:
                is_wanted = False
                self._unshared[key.id] = f"the log has another key with this id, of the node {row.node!r}"
            if is_wanted:
                shared = KeyShared(key.id, self._log.node, encode_key(key)[: MAX_KEY_BYTES + 1])
                if row is not None and row.line == shared.line:
                    self._edited.discard(key.id)  # also where another node has put it there, as from one file of all
                elif self._has_room(key, shared):
                    yield shared
        if self._keys.is_loaded:
            yield from (KeyRemoved(id, row.node) for id, row in rows.items() if self._is_removed(id, row, own, now_ns))

    def _is_removed(self, id: str, row: KeyShared, own: Mapping[str, ApiKey], now_ns: int) -> bool:
        if row.node == self._log.node and id not in own:
            return True
        # The node that put it there may be gone for good, so the lead removes what ended long ago.
        key = self._decode(row) if self._log.leads else None
        ended = None if key is None else key.revoked or key.expires
        return ended is not None and now_ns - to_nanoseconds(ended) > KEEP_REVOKED_NS

    def _is_revoked(self, id: str) -> bool:
        return self._log.revocations.find("credential", id) is not None

    def _is_same_key(self, row: KeyShared, key: ApiKey) -> bool:
        shared = self._decode(row)
        return shared is None or shared.sha256 == key.sha256

    def _has_room(self, key: ApiKey, shared: KeyShared) -> bool:
        if len(shared.line) > MAX_KEY_BYTES:
            self._unshared[key.id] = f"its line has more than {MAX_KEY_BYTES:,} bytes"
        elif not self._log.has_room_for(shared):
            self._unshared[key.id] = f"the log has as many as it keeps; {MAX_KEYS:,} are possible"
        else:
            return True
        return False

    # Accepting the keys in the log.

    def _receive(self, received: ReceivedControl) -> None:
        control = received.control
        if isinstance(control, KeyShared | KeyRemoved):
            self._looks = 0
            if received.own:
                self._edited.discard(control.id)
            if not self._is_accepting:
                self._is_accepting = True
                self._hub.scheduler.call_later(_ACCEPT_DELAY_S, self._accept)

    def _accept(self) -> None:
        self._is_accepting = False
        before = self._accepted
        self._replace()
        after = self._accepted
        self._changed(
            SharedKeyChanges(
                added=[key for id, key in after.items() if id not in before],
                edited=[key for id, key in after.items() if before.get(id, key) != key],
                removed=[key for id, key in before.items() if id not in after],
            )
        )

    def _replace(self) -> None:
        rows = self._log.shared_keys
        self._decoded = {id: self._decoded[id] for id in rows if id in self._decoded}
        found = {id: key for id, row in rows.items() if (key := self._decode(row)) is not None}
        try:
            self._keys.replace_shared(found.values())
        except InvalidKeyFile as error:  # each was checked
            log.error("the API keys of other nodes are refused", error=str(error))
        else:
            self._accepted = found

    def _decode(self, row: KeyShared) -> ApiKey | None:
        line, key = self._decoded.get(row.id, (b"", None))
        if line == row.line:
            return key
        found: ApiKey | None = None
        try:
            found = decode_key(row.line)
            if found.id != row.id:
                raise ValueError(f"the line is that of the key {found.id}")
            self._check(found)
        except (ValueError, AccessError) as error:
            log.warning("an API key of another node is refused", key=row.id, node=row.node, error=str(error))
            found = None
        self._decoded[row.id] = row.line, found
        return found
