"""Starts `tidings` as processes that are forked from one that has imported all of its code already.

Importing takes most of the time of a short command, and the tests start a thousand of them. What is forked is a process
like any other: with its own arguments, environment, folder, session and standard streams, and a child of the test's
process. The server ends when its socket is closed.
"""

import atexit
import ctypes
import functools
import gc
import json
import os
import pkgutil
import runpy
import socket
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from fcntl import ioctl
from importlib import import_module
from typing import Any

TIDINGS = (sys.executable, "-W", "error", "-m", "tidings")
_PACKAGES = ("access", "cli", "client", "contract", "hub", "log", "operations", "producer", "protocol", "server")
_LIBRARIES = ("uvloop", "uvicorn.loops.auto", "uvicorn.lifespan.on", "truststore", "encodings.idna", "rich.live")
_SERVERS = ("jetstream", "postgres")
"""Modules with these words in their names need libraries that no test of a command uses."""
_READ_BY_PYTHON = ("PYTHON", "LC_", "LANG", "COV", "LD_")
"""Beginnings of variables that Python itself, or the loader of its libraries, reads when it starts."""
_PR_SET_CHILD_SUBREAPER = 36
_MAX_REQUEST_BYTES = 1 << 20


def take_terminal() -> None:
    """Make the terminal on stdin that of this process's session, so that Ctrl-C in it is a signal."""
    ioctl(0, termios.TIOCSCTTY, 0)


class ForkServer:
    """One server; its children are those of this process."""

    def __init__(self) -> None:
        own, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            self._server = subprocess.Popen(
                [*TIDINGS[:-1], "tests.cli.fork_server", str(its.fileno())], pass_fds=[its.fileno()]
            )
        self._socket = own
        self._lock = threading.Lock()
        self._prctl = ctypes.CDLL(None, use_errno=True).prctl

    def start(self, request: Mapping[str, Any], files: Sequence[int]) -> int:
        """Start a process with these standard streams, and return its id."""
        with self._lock:
            # A process whose parent has ended becomes ours only while this is set.
            assert self._prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
            try:
                socket.send_fds(self._socket, [json.dumps(request).encode()], files)
                return int(self._socket.recv(64))
            finally:
                self._prctl(_PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)

    def close(self) -> None:
        """End the server."""
        self._socket.close()
        self._server.wait()


@functools.cache
def fork_server() -> ForkServer:
    """Return the server of this process, which its end closes."""
    server = ForkServer()
    atexit.register(server.close)
    return server


def can_fork(command: Sequence[object], env: Mapping[str, str]) -> bool:
    """Return whether a command is ours, and Python itself would read the same from `env` as from our environment."""
    if sys.platform != "linux" or tuple(command[: len(TIDINGS)]) != TIDINGS:
        return False
    read = {name for name in {*env, *os.environ} if name.startswith(_READ_BY_PYTHON)}
    return all(env.get(name) == os.environ.get(name) for name in read) and all(type(each) is str for each in command)


class ForkedPopen(subprocess.Popen[bytes]):
    """A `Popen` that lets the server start the process."""

    def _execute_child(
        self,
        args: Sequence[str],
        executable: object,
        preexec_fn: Callable[[], None] | None,
        close_fds: bool,
        pass_fds: object,
        cwd: str | None,
        env: Mapping[str, str] | None,
        startupinfo: object,
        creationflags: object,
        shell: bool,
        p2cread: int,
        p2cwrite: int,
        c2pread: int,
        c2pwrite: int,
        errread: int,
        errwrite: int,
        *others: Any,
    ) -> None:
        assert preexec_fn in (None, take_terminal)
        request = {
            "arguments": list(args[len(TIDINGS) :]),
            "environment": dict(os.environ if env is None else env),
            "folder": os.fspath(cwd or os.getcwd()),
            "session": preexec_fn is not None,
        }
        files = [own if given == -1 else given for own, given in enumerate((p2cread, c2pwrite, errwrite))]
        try:
            self.pid = fork_server().start(request, files)
            self._child_created = True
        finally:
            self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)  # type: ignore[attr-defined]


def open_process(command: Sequence[str], *, env: Mapping[str, str], **options: Any) -> "subprocess.Popen[bytes]":
    """Start a process as `Popen` does, by the server if it can."""
    kind = ForkedPopen if can_fork(command, env) else subprocess.Popen
    return kind(command, env=env, **options)


def _preload() -> None:
    import tidings

    for package in _PACKAGES:
        module = import_module(f"tidings.{package}")
        for found in pkgutil.walk_packages(module.__path__, f"{module.__name__}."):
            if not found.name.endswith("__main__") and not any(word in found.name for word in _SERVERS):
                import_module(found.name)
    for name in _LIBRARIES:
        import_module(name)
    assert tidings.__version__
    gc.collect()
    gc.freeze()


def _serve(requests: socket.socket) -> dict[str, Any] | None:
    """Start processes until the socket is closed; return the request in each of them."""
    while True:
        data, files, _, _ = socket.recv_fds(requests, _MAX_REQUEST_BYTES, 3)
        if not data:
            return None
        between = os.fork()
        if between == 0:
            parent = os.getpid()
            if os.fork() != 0:
                os._exit(0)
            while os.getppid() == parent:  # once it has ended, the test's process is the parent
                time.sleep(0.0002)
            requests.send(str(os.getpid()).encode())
            for number, file in enumerate(files):
                os.dup2(file, number)
            for file in files:
                os.close(file)
            request: dict[str, Any] = json.loads(data)
            return request
        os.waitpid(between, 0)
        for file in files:
            os.close(file)


def _become(request: Mapping[str, Any]) -> None:
    """Take on what a new process would have got."""
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    time.tzset()
    if request["session"]:
        os.setsid()
        take_terminal()
    for name, file, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        # As Python opens them: the output of a terminal is line-buffered, and so are errors.
        old, buffering = getattr(sys, name), 1 if name == "stderr" else -1
        stream = open(file, mode, buffering, old.encoding, old.errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    sys.argv = ["tidings", *request["arguments"]]


def main() -> None:
    """Serve, and run the command in each process that is started."""
    requests = socket.socket(fileno=int(sys.argv[1]))
    _preload()
    request = _serve(requests)
    requests.close()
    if request is not None:
        _become(request)
        runpy.run_module("tidings", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
