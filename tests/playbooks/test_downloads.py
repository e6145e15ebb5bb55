"""A file that cannot be fetched, or is another than it was to be, is named by its address, without the password."""

from __future__ import annotations

import base64
import json
import os
import re
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
FILE = b"what is published"
KNOWN = "Basic " + base64.b64encode(b"me:hunter2").decode()


class Place(ThreadingHTTPServer):
    """Has one file for who knows the password, one that breaks off, and one that is elsewhere, by plain http."""

    daemon_threads = True
    elsewhere = ""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.told: list[str | None] = []  # the Authorization of each request

    def serve(self) -> str:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return f"127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    server: Place

    def do_GET(self) -> None:
        authorization = self.headers.get("Authorization")
        self.server.told.append(authorization)
        body = b""
        if self.path == "/left":
            self.send_response(200)
            body = b"what a stranger put there"
        elif authorization != KNOWN:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="files"')
        elif self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", f"http://{self.server.elsewhere}/left")
        elif self.path in ("/file", "/broken"):
            self.send_response(200)
            body = FILE
        else:
            self.send_response(404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:-5] if self.path == "/broken" else body)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture
def elsewhere() -> Iterator[Place]:
    with Place() as place:
        place.elsewhere = place.serve()
        yield place
        place.shutdown()


@pytest.fixture
def publisher(tmp_path: Path, elsewhere: Place) -> Iterator[str]:
    """The address of a place by https, whose certificate is in ``tmp_path``/certificate."""
    pair = ["-keyout", tmp_path / "key", "-out", tmp_path / "certificate", "-addext", "subjectAltName=IP:127.0.0.1"]
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=publisher", *pair]
    subprocess.run(made, check=True, capture_output=True)
    with Place() as place:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "certificate", tmp_path / "key")
        place.socket = context.wrap_socket(place.socket, server_side=True)
        place.elsewhere = elsewhere.elsewhere
        yield place.serve()
        place.shutdown()


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/file", r"has the checksum [0-9a-f]{64} and not 0{64}\. It was not used\..* run this again\."),
        ("/moved", r"has the checksum [0-9a-f]{64} and not 0{64}\. It was not used\..* run this again\."),
        ("/nowhere", r"could not be fetched: HTTP Error 404: Not Found\. Run this again"),
        ("/broken", r"could not be fetched: Incomplete read.*\. Run this again"),
    ],
)
def test_a_file_that_is_not_as_promised_is_named(
    tmp_path: Path, publisher: str, elsewhere: Place, path: str, told: str
) -> None:
    fetch = {
        "ansible.builtin.get_url": {
            "url": f"https://me:hunter2@{publisher}{path}",
            "dest": str(tmp_path / "fetched"),
            "checksum": f"sha256:{'0' * 64}",
        }
    }
    message = "{{ ansible_failed_result | gpulab.workstation.failure_text(inventory_hostname) }}"
    tell = {"ansible.builtin.copy": {"content": message, "dest": str(tmp_path / "message")}}
    play = {"hosts": "workstations", "gather_facts": False, "tasks": [{"block": [fetch], "rescue": [tell]}]}
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    command = ["ansible-playbook", tmp_path / "play.yml", "-i", "inventories/quickstart", "-vv"]
    trusting = {**os.environ, "SSL_CERT_FILE": str(tmp_path / "certificate")}
    run = subprocess.run(command, cwd=CHECKOUT, env=trusting, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "hunter2" not in run.stdout + run.stderr
    assert re.fullmatch(f"this-machine: https://{publisher}{path} {told}.*", (tmp_path / "message").read_text())
    assert not (tmp_path / "fetched").exists()
    assert elsewhere.told == ([None] if path == "/moved" else []), "who is elsewhere is not told the password"
