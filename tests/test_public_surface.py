import ast
import inspect
import subprocess
import sys
from importlib import import_module
from types import ModuleType

import pytest

import tidings
import tidings.client
import tidings.testing
from tidings import exceptions
from tidings.exceptions import TidingsError
from tidings.protocol import message_types, payloads
from tidings.protocol.payloads import Payload

HOMES = {
    "Contract": "tidings.contract.contract",
    "EventType": "tidings.contract.event_types",
    "event": "tidings.contract.event_types",
    "CancelOutcome": "tidings.protocol.messages",
    "load_contract": "tidings.contract.loading",
    "TypedEvent": "tidings.client.events",
    "ChannelType": "tidings.protocol.message_types",
    "EventClass": "tidings.protocol.message_types",
    "MessageType": "tidings.protocol.message_types",
    **dict.fromkeys(("Client", "connect", "Gap", "Live", "Outcome", "ReceivedEvent"), "tidings.client"),
    **dict.fromkeys(("operation", "start"), "tidings.producer.api"),
    "current_operation": "tidings.producer.operation",
    "Operation": "tidings.producer.operation",
    "Step": "tidings.producer.tracking",
    **dict.fromkeys(("Reconnect", "State", "Status", "Watch"), "tidings.client"),
    **{
        name: module.__name__
        for module, base in ((payloads, Payload), (exceptions, TidingsError))
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, base)
    },
}


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def test_public_names_are_exactly_the_documented_ones() -> None:
    assert sorted(tidings.__all__) == sorted([*HOMES, "__version__"])
    assert dir(tidings) == sorted(tidings.__all__)


@pytest.mark.parametrize("name", HOMES)
def test_public_name_is_the_object_of_its_module(name: str) -> None:
    assert getattr(tidings, name) is getattr(import_module(HOMES[name]), name)


def typed_imports(package: ModuleType) -> dict[str, str]:
    """Return the module of each name that `package` imports for type checkers."""
    tree = ast.parse(inspect.getsource(package))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {str(alias.asname): str(node.module) for node in imports for alias in node.names}


def test_type_checkers_read_the_same_names_from_the_same_modules() -> None:
    assert typed_imports(tidings) == HOMES


def test_testing_tools_are_the_same_for_type_checkers() -> None:
    imports = typed_imports(tidings.testing)
    assert sorted(imports) == tidings.testing.__all__
    for name, module in imports.items():
        assert getattr(tidings.testing, name) is getattr(import_module(module), name)


def test_names_of_the_client_are_the_same_for_type_checkers() -> None:
    imports = typed_imports(tidings.client)
    assert sorted(imports) == tidings.client.__all__
    for name, module in imports.items():
        assert getattr(tidings.client, name) is getattr(import_module(module), name)


def test_http_client_loads_no_websocket() -> None:
    loaded = python("import sys, tidings.client.http, tidings.client.tokens; print(*sys.modules)").split()
    assert "tidings.client.http" in loaded
    assert "websockets" not in loaded


def test_import_loads_only_the_package_itself() -> None:
    loaded = python(
        "import sys; before = set(sys.modules); import tidings; "
        "print(*sorted(name for name in set(sys.modules) - before if not name.startswith('importlib')))"
    )
    third_party = set(loaded.split()) & {"asyncio", "msgspec", "websockets", "ssl", "socket"}
    assert not third_party
    assert "tidings.version" in loaded
    assert "tidings.contract" not in loaded


def test_message_types_and_payloads_load_no_client() -> None:
    loaded = python(
        "import sys, tidings; tidings.MessageType, tidings.OperationProgressData; print(*sys.modules)"
    ).split()
    assert "tidings.protocol.payloads" in loaded
    assert not {"tidings.client", "websockets", "asyncio"} & set(loaded)


def test_name_that_is_not_public_raises_attribute_error() -> None:
    assert not hasattr(tidings, "Envelope")
    with pytest.raises(AttributeError, match="module 'tidings' has no attribute 'Enevelope'"):
        tidings.Enevelope  # noqa: B018


def test_star_import_brings_every_public_name() -> None:
    assert python("from tidings import *; print(MessageType.OPERATION_START, connect.__name__)") == (
        "operation:start connect"
    )


def test_deprecated_constant_is_the_same_member_and_warns() -> None:
    with pytest.warns(DeprecationWarning, match="use MessageType.OPERATION_START"):
        assert tidings.MessageType.PIPELINE_START is message_types.MessageType.OPERATION_START
