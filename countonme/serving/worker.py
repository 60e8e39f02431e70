"""gunicorn's worker with threads, whose error responses are JSON."""

import json
import os

from gunicorn import util
from gunicorn.http.errors import ParseException
from gunicorn.workers.gthread import ThreadWorker

from countonme.observability.log_format import request_id


class Worker(ThreadWorker):
    """Gives a request that is not valid HTTP a request id, which is in its log line and in the response."""

    def _keepalive_after(self, conn, keepalive) -> bool:
        """Read the rest of the body. If it is not valid HTTP, close the connection: the client has its response."""
        try:
            return super()._keepalive_after(conn, keepalive)
        except ParseException:
            return False

    def handle_error(self, req, client, addr, exc) -> None:
        token = request_id.set(os.urandom(16).hex())
        try:
            super().handle_error(req, client, addr, exc)
        finally:
            request_id.reset(token)


def write_error(sock, status_int: int, reason: str, mesg: str) -> None:
    """Send an error as JSON. gunicorn calls this for a request that the application does not get."""
    body = json.dumps({"detail": mesg or reason.capitalize()})
    head = (
        f"HTTP/1.1 {status_int} {reason}",
        "Connection: close",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        f"X-Request-ID: {request_id.get()}",
    )
    util.write_nonblock(sock, "\r\n".join((*head, "", body)).encode())


util.write_error = write_error
