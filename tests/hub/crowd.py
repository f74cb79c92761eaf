"""Thousands of clients that come back at once: `python -m tests.hub.crowd PORT CLIENTS QUERY LAST`.

A process of its own, so that it takes neither the hub's interpreter nor its descriptors. Each client reads until it has
seen an event at the position LAST. Prints how many events each has read, least and most, when all have.
"""

import selectors
import socket
import sys

from tests.server.raw_client import handshake_request

_EVENT = b'"channel":"data","position":"'
_BURST = 200
"""Connections opened before what they were sent is looked at: the listening queue is finite."""


def main() -> None:
    port, clients, query = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    last = b'%b%b"' % (_EVENT, sys.argv[4].encode())
    request = handshake_request(f"/ws?{query}", headers=("Sec-WebSocket-Protocol: tidings.v1",))
    selector = selectors.DefaultSelector()
    counts = dict.fromkeys(range(clients), 0)
    tails = dict.fromkeys(range(clients), b"")
    unfinished = clients
    opened = 0
    while unfinished:
        for number in range(opened, min(opened + _BURST, clients)):
            client = socket.create_connection(("127.0.0.1", port))
            client.sendall(request)
            client.setblocking(False)
            selector.register(client, selectors.EVENT_READ, number)
            opened = number + 1
        for key, _ in selector.select(0 if opened < clients else None):
            number = key.data
            assert isinstance(key.fileobj, socket.socket)
            received = key.fileobj.recv(1 << 18)
            assert received, "the hub closed a connection"
            data = tails[number] + received
            # The last event may be cut in two: it is looked at again, and only then counted.
            cut = max(data.rfind(_EVENT), 0)
            counts[number] += data.count(_EVENT, 0, cut)
            tails[number] = data[cut:] if cut else data[-(1 << 10) :]
            if last in data:
                counts[number] += 1
                selector.unregister(key.fileobj)
                unfinished -= 1
    print(min(counts.values()), max(counts.values()), flush=True)  # noqa: T201 - it is this program's output


if __name__ == "__main__":
    main()
