"""STAND-IN for a mirror: serves a folder by http, well or badly by how the address begins. serve.py FOLDER

/truncated/…  packages end half way, though the header promises all     /portal/…     everything is a page to sign in at
/forwarded/…  is forwarded to the same address without it                anything else  is what is in the folder
"""

from __future__ import annotations

import io
import shutil
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

SIGN_IN = b"<html><title>Please sign in</title></html>"


class Mirror(SimpleHTTPRequestHandler):
    def send_head(self):
        fault, _slash, rest = self.path.lstrip("/").partition("/")
        if fault == "forwarded":
            self.send_response(301)
            self.send_header("Location", f"/{rest}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None
        if fault == "portal":
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(SIGN_IN)))
            self.end_headers()
            return io.BytesIO(SIGN_IN)
        self.cut = fault == "truncated" and rest.endswith((".deb", ".rpm"))
        if fault == "truncated":
            self.path = f"/{rest}"
        return super().send_head()

    def copyfile(self, source, outputfile):
        if getattr(self, "cut", False):
            body = source.read()
            outputfile.write(body[: len(body) // 2])
            self.close_connection = True
        else:
            shutil.copyfileobj(source, outputfile)


if __name__ == "__main__":
    ThreadingHTTPServer(("", 80), lambda *words: Mirror(*words, directory=sys.argv[1])).serve_forever()
