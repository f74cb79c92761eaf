import functools
import gc
import inspect
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module

import httpx
import pytest
from hypothesis import HealthCheck, settings

from tidings.producer.runtime import RUNTIME

# httpx gives up after 5 s by default, which a busy machine may need.
_TIMEOUT = inspect.signature(httpx.Client).parameters["timeout"].default
_TIMEOUT.connect = _TIMEOUT.read = _TIMEOUT.write = _TIMEOUT.pool = 150.0

# Where SSL_CERT_FILE is set, each client of httpx reads the certificates of all authorities: 20 ms of CPU.
_transports = import_module("httpx._transports.default")
vars(_transports)["create_ssl_context"] = functools.cache(vars(_transports)["create_ssl_context"])


# A runner in the background (`make test &` in a script, nohup) ignores the keyboard's signals, and so would every
# process that a test starts and then interrupts: what is ignored stays ignored over exec.
for _number, _default in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _default)

# Without compiled modules, each of the thousand processes that tests start would spend half its time on compiling ours.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# How long an example takes depends on the machine's load, and is no property of the code.
settings.register_profile("tests", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


def pytest_configure(config: pytest.Config) -> None:
    # What jobs leave behind on disk must neither reach the developer's own spool nor come from it.
    folder = tempfile.TemporaryDirectory(prefix="tidings-tests-")
    os.environ["XDG_STATE_HOME"] = folder.name
    config.add_cleanup(folder.cleanup)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # The files with a timeout of their own take the longest. In parallel, the last one must not keep others waiting.
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)


def pytest_collection_finish() -> None:
    # Half a million objects of 13,000 tests, which each full collection would visit: a quarter of a second.
    gc.freeze()


@pytest.fixture(autouse=True)
def no_event_left() -> Iterator[None]:
    """Fail the test that leaves events behind for a hub that is away: each later test would wait for them."""
    yield
    assert RUNTIME.close() == 0
