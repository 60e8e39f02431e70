"""An HTTP client that calls a running service as one device."""

import json
import time
from collections.abc import Container
from dataclasses import dataclass, field
from email.message import Message
from http.client import HTTPConnection, HTTPException
from typing import Self
from urllib.parse import urlencode
from uuid import uuid4


class NoResponse(OSError):
    """No response was received, so it is unknown whether the request was carried out."""

    @property
    def timed_out(self) -> bool:
        return isinstance(self.__cause__, TimeoutError)


@dataclass(frozen=True)
class Response:
    status_code: int
    headers: Message = field(repr=False)
    content: bytes
    seconds: float  # from the connection to the last byte

    def json(self, **options):
        return json.loads(self.content, **options)


class Phone:
    """A device. `register` gets it a token.

    By default, each request opens a new connection, so that several threads can use one phone. A phone that keeps its
    connection sends one request at a time. Use it as `with Phone(port, keeps_connection=True) as phone:`.
    """

    unavailable: Container[int] = (502, 503, 504)  # statuses after which a request is retried, as without a response
    retry_seconds = 30  # seconds for which a request is retried

    def __init__(self, port: int, *, token: str = "", headers: dict | None = None, keeps_connection=False, timeout=30):
        self.port, self.token, self.headers, self.timeout = port, token, headers or {}, timeout
        self.device_id = str(uuid4())
        self.keeps_connection = keeps_connection
        self.connection: HTTPConnection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised) -> None:
        self.close()

    def register(self) -> None:
        response = self.attempt("POST", "/v1/auth/register", {"device_id": self.device_id})
        assert response.status_code == 200, response
        self.token = response.json()["token"]

    # --- requests ----------------------------------------------------------------------------------

    def get(self, path: str, query: dict | None = None) -> Response:
        return self.send("GET", f"{path}?{urlencode(query)}" if query else path)

    def post(self, path: str, body=None) -> Response:
        return self.send("POST", path, body)

    def send(self, method: str, path: str, body=None, headers: dict | None = None) -> Response:
        """Send a request once. Raise NoResponse if the connection fails, or after the timeout."""
        headers = self.headers | (headers or {})
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if body is not None:
            headers["Content-Type"] = "application/json"
            body = json.dumps(body, default=float)  # amounts may be decimals
        began = time.monotonic()
        connection = self.connection or HTTPConnection("127.0.0.1", self.port, timeout=self.timeout)
        if self.keeps_connection:
            self.connection = connection
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, HTTPException) as error:
            connection.close()
            raise NoResponse(f"{method} {path}: {error!r}") from error
        if not self.keeps_connection:
            connection.close()
        return Response(response.status, response.headers, content, time.monotonic() - began)

    def attempt(self, method: str, path: str, body=None) -> Response:
        """Send a request once. Raise NoResponse also if the service is unavailable."""
        response = self.send(method, path, body)
        if response.status_code in self.unavailable:
            raise NoResponse(f"{method} {path}: {response.status_code}")
        return response

    def retry(self, method: str, path: str, body=None) -> tuple[Response, int]:
        """Send a request until there is a response. Return it, and the number of failed attempts."""
        end, failures = time.monotonic() + self.retry_seconds, 0
        while True:
            try:
                return self.attempt(method, path, body), failures
            except NoResponse:
                failures += 1
                if time.monotonic() > end:
                    raise
                time.sleep(self.pause())

    def pause(self) -> float:
        """Return the seconds between two attempts."""
        return 0.05

    # --- persistent connection ---------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        return self.connection is not None and self.connection.sock is not None

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None
