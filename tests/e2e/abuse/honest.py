"""The honest devices: phones that send a few requests a second, one at a time."""

import time
from dataclasses import dataclass
from typing import NamedTuple
from uuid import uuid4

from tests.e2e.abuse.attacks import Caller
from tests.harness.phone import NoResponse, Phone, Response

PAUSE = 0.2  # seconds between two requests: five a second, 300 a minute
WARM_UP = 40  # requests before the attack begins
REQUEST_TIMEOUT = 10  # timeout of a request, in seconds
DAY = "2026-01-05"
TIMEOUT, CLOSED, REJECTED = "timeout", "closed", "rejected rows"


class Sample(NamedTuple):
    request: str
    seconds: float
    wrong: str  # the status, if it is not the expected one; otherwise empty


@dataclass(frozen=True)
class Result:
    status: str
    body: object = None
    etag: str = ""


class HonestDevice:
    """A phone with a persistent connection that measures each request."""

    def __init__(self, port: int, caller: Caller):
        self.caller, self.since = caller, caller.revision
        self.phone = phone_of(caller, port, keeps_connection=True, timeout=REQUEST_TIMEOUT)
        self.samples: list[Sample] = []

    def run(self, until: float) -> list[Sample]:
        """Repeat the requests of a day until the end, and return the samples."""
        day = self.day()
        while time.monotonic() < until:
            next(day)
            time.sleep(PAUSE)
        self.phone.close()
        return self.samples

    def warm_up(self) -> None:
        """Send each request a few times before the measurement, because each thread compiles its queries once."""
        day = self.day()
        for _ in range(WARM_UP):
            next(day)
        self.samples.clear()

    def day(self):
        """Send one request at each step."""
        while True:
            listed = self.request("GET", "/v1/products", "200")
            yield
            if listed.etag:
                self.request("GET", "/v1/products", "304", headers={"If-None-Match": listed.etag})
                yield
            entry = self.entry()
            created = self.request("POST", "/v1/food-entries", "201", entry)
            yield
            self.request("GET", f"/v1/food-entries?date={DAY}", "200")
            yield
            self.request("GET", f"/v1/food-entries/summary?from={DAY}&to={DAY}", "200")
            yield
            pulled = self.request("GET", f"/v1/sync?last_pulled_at={self.since}", "200")
            if pulled.body and "timestamp" in pulled.body:
                self.since = pulled.body["timestamp"]
            yield
            rows = {"food_entries": {"created": [self.entry(), self.entry()]}}
            self.request("POST", f"/v1/sync?last_pulled_at={self.since}", "200", rows)
            yield
            if created.status == "201":
                self.request("DELETE", f"/v1/food-entries/{entry['id']}", "204")
                yield

    def entry(self) -> dict:
        eaten = {"product_id": self.caller.product_id, "grams": 70, "date": DAY, "meal_type": "lunch"}
        return {"id": str(uuid4()), **eaten}

    # --- requests ----------------------------------------------------------------------------------

    def request(self, method: str, path: str, expected: str, body=None, headers: dict | None = None) -> Result:
        """Send a request, record its time and whether it has the expected status, and return the result."""
        began = time.monotonic()
        result = self.send(method, path, body, headers or {})
        seconds = time.monotonic() - began
        wrong = "" if result.status == expected else result.status
        if not wrong and isinstance(result.body, dict) and result.body.get("rejected"):
            wrong = REJECTED
        self.samples.append(Sample(f"{method} {path.partition('?')[0]}", seconds, wrong))
        return result

    def send(self, method: str, path: str, body, headers: dict) -> Result:
        """Send a request. If the server has closed the persistent connection, send it once more, as all clients do."""
        was_kept = self.phone.is_connected
        try:
            try:
                return result_of(self.phone.send(method, path, body, headers))
            except NoResponse as failure:
                if failure.timed_out or not was_kept:
                    raise
                result = result_of(self.phone.send(method, path, body, headers))
                # The first attempt may have stored the row.
                return Result("201", result.body) if method == "POST" and result.status == "200" else result
        except NoResponse as failure:
            return Result(TIMEOUT if failure.timed_out else CLOSED)


def result_of(response: Response) -> Result:
    is_json = response.content and response.headers.get_content_type() == "application/json"
    return Result(str(response.status_code), response.json() if is_json else None, response.headers.get("ETag") or "")


def phone_of(caller: Caller, port: int, **options) -> Phone:
    """Return a phone with the token and the IP address of this caller."""
    return Phone(port, token=caller.token, headers={"X-Forwarded-For": caller.address}, **options)


class Newcomers:
    """Devices whose tokens no worker has cached. One after the other, they read their products."""

    def __init__(self, port: int, callers: list[Caller]):
        self.port, self.callers = port, callers

    def run(self, until: float) -> list[Sample]:
        samples, pause = [], max(PAUSE, (until - time.monotonic()) / len(self.callers))
        for caller in self.callers:
            if time.monotonic() >= until:
                break
            device = HonestDevice(self.port, caller)
            device.request("GET", "/v1/products", "200")
            device.phone.close()
            samples += device.samples
            time.sleep(pause)
        return samples
