"""A TCP proxy that misbehaves like a network: it drops, stalls, and cuts connections in the middle of a frame."""

import asyncio
import contextlib
import socket
import struct
from typing import Self


class TcpProxy:
    """Forwards to a port of 127.0.0.1, on the running loop."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.accepted = 0
        self.refusing = False
        """Whether new connections are reset immediately."""
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._cut_after: int | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.drop()
        self._flowing.set()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ws"

    def drop(self) -> None:
        """Reset every connection."""
        self._cut_after = None
        for writer in list(self._writers):
            with contextlib.suppress(OSError):
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    def cut_after(self, size: int) -> None:
        """Drop everything when the hub has sent `size` bytes more: in the middle of a frame, as a rule."""
        self._cut_after = size

    def stall(self) -> None:
        """Forward nothing, and keep the connections open."""
        self._flowing.clear()

    def resume(self) -> None:
        self._flowing.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.accepted += 1
        writers = [writer]
        try:
            self._writers.add(writer)
            if self.refusing:
                return
            hub_reader, hub_writer = await asyncio.open_connection("127.0.0.1", self.target)
            writers.append(hub_writer)
            self._writers.add(hub_writer)
            up = asyncio.create_task(self._pipe(reader, hub_writer, down=False))
            down = asyncio.create_task(self._pipe(hub_reader, writer, down=True))
            try:
                await asyncio.wait([up, down], return_when=asyncio.FIRST_COMPLETED)
                # Each half ends by itself where the other lets it; a reset ends both.
                await asyncio.wait([up, down], timeout=1.0)
            finally:
                up.cancel()
                down.cancel()
                await asyncio.gather(up, down, return_exceptions=True)
        except (OSError, asyncio.CancelledError):
            pass  # the end of it; a cancelled task here would be taken for a fault by asyncio's streams
        finally:
            for opened in writers:
                self._writers.discard(opened)
                opened.transport.abort()
            self._tasks.discard(task)

    async def _pipe(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, down: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(16_384):
                await self._flowing.wait()
                if down and self._cut_after is not None:
                    if len(data) >= self._cut_after:
                        writer.write(data[: self._cut_after])
                        await writer.drain()
                        self.drop()
                        return
                    self._cut_after -= len(data)
                writer.write(data)
                await writer.drain()
            if writer.can_write_eof():
                writer.write_eof()
