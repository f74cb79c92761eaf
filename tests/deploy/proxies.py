"""nginx, Caddy and Traefik as processes, with the configurations of `deploy/proxies`."""

import os
import shutil
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import trustme
from tests.cli.processes import TIMEOUT_S
from tests.deploy.files import DEPLOY
from tests.nats_server import free_port

PROXIES = DEPLOY / "proxies"
NAME = "localhost"
EXAMPLE_HUBS = [f"10.0.0.{number}:8765" for number in (11, 12, 13)]


class Proxy:
    """A running proxy.

    Args:
        port: Where it serves `https://localhost`.
        authority: The PEM file of the authority that signed its certificate.
    """

    def __init__(self, port: int, authority: Path) -> None:
        self.url = f"https://{NAME}:{port}"
        self.port = port
        self.authority = authority


@contextmanager
def run_nginx(folder: Path, hubs: Sequence[str]) -> Iterator[Proxy]:
    """Run nginx before hubs, given by their hosts and ports."""
    port, authority = free_port(), write_certificate(folder)
    text = _with_hubs((PROXIES / "nginx.conf").read_text(), hubs, "    server {} max_fails=1 fail_timeout=5s;\n")
    text = _replace(text, {"listen 443 ssl": f"listen 127.0.0.1:{port} ssl"})
    text = _replace(text, {"tidings.example.com": NAME, "/etc/ssl/": f"{folder}/"})
    with serve_nginx(folder, text, port):
        yield Proxy(port, authority)


@contextmanager
def serve_nginx(folder: Path, text: str, port: int) -> Iterator[None]:
    """Run nginx with a configuration of its `http` block, which listens on `port`, until the block ends."""
    paths = ""
    for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
        (folder / name).mkdir()
        paths += f"{name}_temp_path {folder}/{name};"
    user = "user root;" if os.geteuid() == 0 else ""  # its workers read the files of this user
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; pid {folder}/pid; error_log stderr; worker_processes 1;\n"
        f"events {{ worker_connections 64; }}\nhttp {{ access_log off; {paths}\n{text}\n}}\n"
    )
    command = [_find("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    subprocess.run([*command, "-t"], check=True, capture_output=True)
    with _running(command, folder, {}, port):
        yield


@contextmanager
def run_caddy(folder: Path, hubs: Sequence[str]) -> Iterator[Proxy]:
    """Run Caddy before hubs; its own authority signs its certificate."""
    port = free_port()
    text = (PROXIES / "Caddyfile").read_text()
    # It adds nothing to the authorities that this machine trusts.
    options = f"admin off\nskip_install_trust\ndefault_bind 127.0.0.1\nhttp_port {free_port()}\nhttps_port {port}\n"
    (folder / "Caddyfile").write_text(f"{{\n{options}}}\n{text}")
    variables = {"TIDINGS_SITE": NAME, "TIDINGS_HUBS": " ".join(hubs), "XDG_DATA_HOME": str(folder)}
    command = [_find("caddy"), "run", "--adapter", "caddyfile", "--config", str(folder / "Caddyfile")]
    with _running(command, folder, variables, port):
        yield Proxy(port, folder / "caddy/pki/authorities/local/root.crt")


@contextmanager
def run_traefik(folder: Path, hubs: Sequence[str]) -> Iterator[Proxy]:
    """Run Traefik before hubs."""
    port, authority = free_port(), write_certificate(folder)
    text = _with_hubs((PROXIES / "traefik-tidings.yaml").read_text(), hubs, "          - url: http://{}\n")
    text = _replace(text, {"tidings.example.com": NAME, "/etc/ssl/": f"{folder}/"})
    (folder / "tidings.yaml").write_text(text)
    static = (PROXIES / "traefik.yaml").read_text()
    static = _replace(static, {'":443"': f"127.0.0.1:{port}", "/etc/traefik/": f"{folder}/"})
    (folder / "traefik.yaml").write_text(static)
    command = [_find("traefik"), f"--configFile={folder}/traefik.yaml"]
    with _running(command, folder, {}, port):
        yield Proxy(port, authority)


RUNNERS = {"nginx": run_nginx, "caddy": run_caddy, "traefik": run_traefik}


@contextmanager
def _running(command: Sequence[str], folder: Path, variables: Mapping[str, str], port: int) -> Iterator[None]:
    with (folder / "stderr").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **variables}, cwd=folder)
    try:
        give_up = time.monotonic() + TIMEOUT_S
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (folder / "stderr").read_text()
            assert time.monotonic() < give_up, (folder / "stderr").read_text()
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)


def write_certificate(folder: Path) -> Path:
    """Write `tidings.pem` and `tidings.key` for this machine into a folder; return the file of their authority."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    certificate = authority.issue_cert(NAME)
    certificate.private_key_pem.write_to_path(str(folder / "tidings.key"))
    for part in certificate.cert_chain_pems:
        part.write_to_path(str(folder / "tidings.pem"), append=True)
    return folder / "authority.pem"


def _with_hubs(text: str, hubs: Sequence[str], line: str) -> str:
    """Return a configuration with other hubs in place of those of the example."""
    example = "".join(map(line.format, EXAMPLE_HUBS))
    assert example in text
    return text.replace(example, "".join(map(line.format, hubs)))


def _replace(text: str, pairs: Mapping[str, str]) -> str:
    for stands, is_ in pairs.items():
        assert stands in text, stands
        text = text.replace(stands, is_)
    return text


def find_program(name: str) -> str | None:
    """Return the path of a program; None if it is not installed."""
    places = [sysconfig.get_path("scripts"), os.environ.get("PATH", ""), "/usr/sbin"]
    return shutil.which(name, path=os.pathsep.join(places))


def _find(name: str) -> str:
    found = find_program(name)
    assert found, f"{name} is not installed"
    return found
