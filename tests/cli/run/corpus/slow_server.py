"""Serves the working folder at about 2 MB/s while a command runs: `python slow_server.py COMMAND …`; see `$URL`."""

import contextlib
import http.server
import os
import subprocess
import sys
import threading
import time


class SlowFiles(http.server.SimpleHTTPRequestHandler):
    """Server of files that are slow enough for clients to show progress."""

    def copyfile(self, source: object, outputfile: object) -> None:
        assert hasattr(source, "read")
        assert hasattr(outputfile, "write")
        with contextlib.suppress(ConnectionError):  # a client that has looked at the beginning asks again
            while data := source.read(32 * 1024):
                outputfile.write(data)
                time.sleep(0.016)

    def log_message(self, format: str, *args: object) -> None:
        return


with http.server.ThreadingHTTPServer(("127.0.0.1", 0), SlowFiles) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    done = subprocess.run(
        sys.argv[1:], env={**os.environ, "URL": f"http://127.0.0.1:{server.server_port}"}, check=False
    )
    server.shutdown()
sys.exit(done.returncode)
