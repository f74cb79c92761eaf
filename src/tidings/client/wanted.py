"""What a watch is asked for: paths, or the payloads of a contract."""

from collections.abc import Sequence

from msgspec import Struct

from tidings.contract.contract import Contract
from tidings.exceptions import ConfigError
from tidings.protocol.paths import check_key


def wanted(
    contract: Contract, what: Sequence[str | type[Struct]], key: str | None
) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the paths to read, and the types of which events are wanted; none is all.

    Args:
        contract: The client's.
        what: Paths, or payloads; not both.
        key: Of payloads: only the events of this key.

    Raises:
        InvalidContract: A payload is that of no event, or of more than one.
        InvalidKey: The key is none.
        ConfigError: There are both, or a key beside paths.
    """
    paths = [each for each in what if isinstance(each, str)]
    payloads = [each for each in what if not isinstance(each, str)]
    if paths and payloads:
        raise ConfigError("a watch reads either paths or payloads", hint="Open one for each, or name paths only.")
    if not payloads:
        if key is not None:
            raise ConfigError("a key is of a payload's events", hint="Write it into the path: channel/key.")
        return tuple(paths) or ("*",), frozenset()
    events = [contract.type_of(payload) for payload in payloads]
    suffix = "" if key is None else f"/{check_key(key)}"
    channels = dict.fromkeys(f"{event.channel}{suffix}" for event in events)
    return tuple(channels), frozenset(str(event.type) for event in events)
