"""A file that cannot be fetched, or is another than it was to be, is named by its address, without the password."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
FILE = b"what is published"


class Publisher(BaseHTTPRequestHandler):
    """Has one file for who knows the password, and one that breaks off."""

    def do_GET(self) -> None:
        known = self.headers.get("Authorization") == "Basic " + base64.b64encode(b"me:hunter2").decode()
        self.send_response(401 if not known else 200 if self.path in ("/file", "/broken") else 404)
        self.send_header("WWW-Authenticate", 'Basic realm="files"')
        self.send_header("Content-Length", str(len(FILE) if known else 0))
        self.end_headers()
        self.wfile.write(b"" if not known else FILE[:-5] if self.path == "/broken" else FILE)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture
def publisher() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Publisher)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/file", r"has the checksum [0-9a-f]{64} and not 0{64}\. It was not used\..* run this again\."),
        ("/nowhere", r"could not be fetched: HTTP Error 404: Not Found\. Run this again"),
        ("/broken", r"could not be fetched: Incomplete read.*\. Run this again"),
    ],
)
def test_a_file_that_is_not_as_promised_is_named(tmp_path: Path, publisher: str, path: str, told: str) -> None:
    fetch = {
        "ansible.builtin.get_url": {
            "url": f"http://me:hunter2@{publisher}{path}",
            "dest": str(tmp_path / "fetched"),
            "checksum": f"sha256:{'0' * 64}",
        }
    }
    message = "{{ ansible_failed_result | gpulab.workstation.failure_text(inventory_hostname) }}"
    tell = {"ansible.builtin.copy": {"content": message, "dest": str(tmp_path / "message")}}
    play = {"hosts": "workstations", "gather_facts": False, "tasks": [{"block": [fetch], "rescue": [tell]}]}
    (tmp_path / "play.yml").write_text(json.dumps([play]))
    command = ["ansible-playbook", tmp_path / "play.yml", "-i", "inventories/quickstart", "-vv"]
    run = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "hunter2" not in run.stdout + run.stderr
    assert re.fullmatch(f"this-machine: http://{publisher}{path} {told}.*", (tmp_path / "message").read_text())
    assert not (tmp_path / "fetched").exists()
