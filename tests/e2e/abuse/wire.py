"""Raw HTTP for the hostile clients: send prepared bytes and read the status, with as little CPU as possible."""

import re
import socket
import time
from contextlib import suppress
from dataclasses import dataclass

CHUNK = 256 * 1024
TAIL = 64  # bytes at the end of a response that are kept: they contain the timestamp of a pull
TIMESTAMP = re.compile(rb'"timestamp": ?(\d+)')

# Results of a request without a status.
UNANSWERED, CLOSED, LEFT = "no response", "closed", "left"


@dataclass(frozen=True)
class Request:
    head: bytes
    body: bytes = b""
    leave: bool = False  # disconnect right after sending


@dataclass(frozen=True)
class Reply:
    status: str
    tail: bytes = b""

    def timestamp(self, otherwise: int) -> int:
        """Return the timestamp of a pull."""
        found = TIMESTAMP.search(self.tail)
        return int(found[1]) if found else otherwise


def request(
    method: str, path: str, *, address: str, token: str = "", body: bytes = b"", gzip: bool = False, leave: bool = False
) -> Request:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"X-Forwarded-For: {address}"]
    if token:
        lines.append(f"Authorization: Bearer {token}")
    if gzip:
        lines.append("Accept-Encoding: gzip")
    if method == "POST":
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return Request("\r\n".join([*lines, "", ""]).encode(), body, leave)


class Client:
    """A connection to the service that reconnects after it was closed. All operations time out at `end`."""

    def __init__(self, port: int, end: float):
        self.port, self.end = port, end
        self.socket: socket.socket | None = None
        self.buffer = memoryview(bytearray(CHUNK))

    def exchange(self, request: Request) -> Reply:
        try:
            self.send(request)
            if request.leave:
                self.close()
                return Reply(LEFT)
            return self.receive()
        except TimeoutError:
            self.close()
            return Reply(UNANSWERED)
        except OSError:
            self.close()
            return Reply(CLOSED)

    def send(self, request: Request) -> None:
        if self.socket is None:
            self.socket = socket.create_connection(("127.0.0.1", self.port), timeout=self.left())
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(self.left())
        # A service that rejects a body before its end may have sent its response already.
        with suppress(BrokenPipeError, ConnectionResetError):
            self.socket.sendall(request.head)
            if request.body:
                self.socket.sendall(request.body)

    def receive(self) -> Reply:
        """Return the status and the end of the body. The rest of the body is read and discarded."""
        head = b""
        while b"\r\n\r\n" not in head:
            head += bytes(self.buffer[: self.read()])
        head, _, body = head.lower().partition(b"\r\n\r\n")
        if b"transfer-encoding: chunked" in head:
            tail = self.chunks(body[-TAIL:])
        else:
            length = re.search(rb"content-length: (\d+)", head)
            tail = self.rest(body[-TAIL:], (int(length[1]) if length else 0) - len(body))
        if b"connection: close" in head:
            self.close()
        return Reply(head[9:12].decode(), tail)

    def rest(self, tail: bytes, left: int) -> bytes:
        while left > 0:
            count = self.read()
            left -= count
            tail = (tail + bytes(self.buffer[max(0, count - TAIL) : count]))[-TAIL:]
        return tail

    def chunks(self, tail: bytes) -> bytes:
        while not (tail.endswith(b"\r\n0\r\n\r\n") or tail == b"0\r\n\r\n"):
            count = self.read()
            tail = (tail + bytes(self.buffer[max(0, count - TAIL) : count]))[-TAIL:]
        return tail

    def read(self) -> int:
        self.socket.settimeout(self.left())
        count = self.socket.recv_into(self.buffer)
        if not count:
            raise ConnectionResetError("the service closed the connection")
        return count

    def left(self) -> float:
        """Return the seconds until the end, but never 0: a timeout of 0 makes a socket non-blocking."""
        return max(0.001, self.end - time.monotonic())

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None
