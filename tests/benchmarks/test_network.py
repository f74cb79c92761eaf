"""The private network: entered in a process of its own, because there is no way back."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="network namespaces are Linux's")

ROOT = Path(__file__).parents[2]
PROGRAM = """
import os, socket
from benchmarks.fanout.network import enter_private_network
before = os.readlink("/proc/self/ns/net")
print(enter_private_network())
print(before != os.readlink("/proc/self/ns/net"))
with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
    print("connected")
"""


def test_the_report_names_the_network_that_is_used_and_loopback_works_in_it() -> None:
    command = [sys.executable, "-c", PROGRAM]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    sentence, moved, connected = done.stdout.splitlines()
    assert sentence.startswith("a private namespace" if moved == "True" else "the host's own network")
    assert connected == "connected"
