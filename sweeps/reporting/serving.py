"""A small server that only reads: the page that `watch.py` shows, on this machine alone unless it is told otherwise."""

from __future__ import annotations

import ipaddress
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from sweeps.reporting.onlooking import REPORT, look
from trainables.errors import UserError

PAGE = Path(__file__).with_name("watch.html")
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; frame-src 'self'"
)
LOCAL = ("localhost", "127.0.0.1", "::1")


@contextmanager
def serve(folder: Path, host: str, port: int) -> Iterator[str]:
    """Serve a study's page meanwhile; yield its address. Raises UserError where that address cannot be had."""
    handler = type("Handler", (_Handler,), {"folder": folder, "only_local": is_loopback(host)})
    try:
        server = ThreadingHTTPServer((host, port), handler)
    except OSError as error:
        raise UserError(f"cannot listen at {host}:{port}: {error.strerror}; --port 0 takes any that is free") from error
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{host}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    """Answers what the page asks for, and nothing else."""

    folder: Path
    only_local: bool  # whether it may be asked for by names of this machine alone: other sites' pages must not read it

    def do_GET(self) -> None:
        """Answer a request."""
        if self.only_local and not self._asked_by_own_name():
            self._answer(403, "text/plain", b"ask for 127.0.0.1\n")
        elif self.path == "/":
            self._answer(200, "text/html; charset=utf-8", PAGE.read_bytes(), policy=POLICY)
        elif self.path == "/state.json":
            self._answer(200, "application/json", json.dumps(look(self.folder).to_json()).encode())
        elif self.path.partition("?")[0] == "/report.html" and (self.folder / REPORT).exists():
            self._answer(200, "text/html; charset=utf-8", (self.folder / REPORT).read_bytes())
        else:
            self._answer(404, "text/plain", b"there is no such page\n")

    def log_message(self, format: str, *_: object) -> None:  # noqa: A002  the name is http.server's
        """Print nothing: a page asks every two seconds."""

    def _answer(self, status: int, kind: str, content: bytes, policy: str = "") -> None:
        self.send_response(status)
        headers = {"Content-Type": kind, "Content-Length": str(len(content)), "Cache-Control": "no-store"}
        headers |= {"X-Content-Type-Options": "nosniff"} | ({"Content-Security-Policy": policy} if policy else {})
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def _asked_by_own_name(self) -> bool:
        name = self.headers.get("Host", "")
        return name.removesuffix(f":{self.server.server_port}").strip("[]") in LOCAL  # type: ignore[attr-defined]


def is_loopback(host: str) -> bool:
    """Tell whether an address, or a name, is this machine's own, which no other reaches."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return False
