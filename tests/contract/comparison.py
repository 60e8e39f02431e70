"""Make a call to the model and to the service, and compare the two responses."""

import json
from collections.abc import Callable
from urllib.parse import parse_qsl, urlencode, urlsplit

from django.db import connection
from django.test import Client

from tests.contract.model import Device, Refused, Response, Unknown, Unordered, known

Respond = Callable[[], Response]  # makes a call to the model, and returns the expected response or raises Refused
LAST_CALLS = 10  # in the message of a failure


class Difference(AssertionError):
    """The service's response is not the one that the model expects."""


class Comparison:
    """Compares the responses of one sequence of calls. `command` repeats the sequence."""

    def __init__(self, command: str):
        self.command = command
        self.calls: list[tuple[Device | None, str]] = []
        self.failed = False
        self.etags: dict[tuple[str, str], tuple[str, int]] = {}  # by device and path: the ETag, and the revision then

    def call(self, device: Device | None, method: str, path: str, body, respond: Respond, token=None) -> None:
        """Make a call with this token, or with the device's token if there is none."""
        token = known(device.token if token is None else token)

        expected = expected_response(respond)
        actual = send(token, method, path, body)

        sent = "" if body is None else f" {json.dumps(body)}"
        self.check(device, f"{method} /v1/{path}{sent}", expected, actual, differences(expected, actual))

    def read(self, device: Device, path: str, query: dict, respond: Respond, *, conditional: bool) -> None:
        """Make a GET request, with the last ETag if `conditional`. The ETag changes only if the revision changes."""
        path += f"?{urlencode(query)}" if query else ""
        etag, revision = self.etags.get((device.id, path), ("", 0))
        headers = {"If-None-Match": etag} if conditional and etag else {}
        unchanged = revision == device.revision

        expected = Response(304) if headers and unchanged else expected_response(respond)
        actual = send(known(device.token), "GET", path, **headers)

        found = differences(expected, actual) or etag_differences(actual, etag, unchanged=unchanged)
        self.check(device, f"GET /v1/{path} {headers or ''}", expected, actual, found)
        if actual.status_code == 200:
            self.etags[device.id, path] = actual["ETag"], device.revision

    def check(self, device: Device | None, call: str, expected: Response | Refused, actual, found: list[str]) -> None:
        if found:
            self.failed = True
            raise Difference(self.report(device, call, expected, actual, found))
        self.calls.append((device, f"{call[:300]} -> {actual.status_code}"))

    def report(self, device: Device | None, call: str, expected: Response | Refused, actual, found: list[str]) -> str:
        calls = [line for caller, line in self.calls if caller is device]
        headers = {name: actual[name] for name in ("Link", "ETag") if name in actual}
        sections = {
            f"The last {LAST_CALLS} calls of this device": calls[-LAST_CALLS:],
            "The differing call": [call],
            "Expected, by the model": [str(expected)],
            "Actual, by the service": [f"{actual.status_code} {actual.content.decode()} {headers or ''}"],
            "Differences": found,
            f"To repeat it, on {connection.vendor}": [self.command],
        }
        texts = ["\n    ".join([f"{title}:", *lines]) for title, lines in sections.items()]
        return "\n".join(["The service and the model differ.", *texts])


def expected_response(respond: Respond) -> Response | Refused:
    try:
        return respond()
    except Refused as refused:
        return refused


def send(token: str, method: str, path: str, body=None, **headers):
    """Send a request to the service, and return its response."""
    headers |= {"Authorization": f"Bearer {token}"} if token else {}
    data = "" if body is None else json.dumps(body)
    return Client().generic(method, f"/v1/{path}", data, content_type="application/json", headers=headers)


def differences(expected: Response | Refused, actual) -> list[str]:
    """Return the differences between the expected and the actual response, one in each line."""
    if actual.status_code != expected.status:
        return [f"status: expected {expected.status}, actual {actual.status_code}"]
    body = actual.json() if actual.content else None
    if isinstance(expected, Refused):
        return error_differences(expected, body)
    query = parse_qsl(urlsplit(actual.headers.get("Link", "").strip("<").partition(">")[0]).query)
    next_page = {name: value for name, value in query if name in ("limit", "offset")}
    return [
        *value_differences(expected.body, body, "body"),
        *value_differences(expected.next_page, next_page, "Link"),
    ]


def error_differences(expected: Refused, body: dict) -> list[str]:
    keys = {"detail", *{409: ["conflict"], 422: ["errors"]}.get(expected.status, [])}
    errors = body.get("errors", ())
    locs = {tuple(error["loc"]) for error in errors}
    fields = [".".join(map(str, error["loc"])) for error in errors]
    conflict = sorted(body.get("conflict", ()))
    return [
        *value_differences(sorted(keys), sorted(body), "keys"),
        *value_differences(expected.detail or Unknown("text"), body.get("detail"), "detail"),
        *value_differences(conflict if expected.conflict is None else expected.conflict, conflict, "conflict"),
        *value_differences(fields, [error.get("field") for error in errors], "fields of the errors"),
        *value_differences(sorted(expected.locs, key=repr), sorted(locs, key=repr), "locs of the errors"),
    ]


def etag_differences(actual, etag: str, *, unchanged: bool) -> list[str]:
    """Return what is wrong with the ETag of a response. `etag` is the previous one."""
    new = actual.headers.get("ETag", "")
    if actual.status_code not in (200, 304):
        return [f"ETag: expected none, actual {new}"] if new else []
    if (new == etag) != unchanged or not new.startswith('W/"'):
        return [f"ETag: expected {'still' if unchanged else 'another than'} {etag or 'none'}, actual {new}"]
    return []


MISSING = object()


def value_differences(expected, actual, place: str) -> list[str]:
    if isinstance(expected, dict) and isinstance(actual, dict):
        pairs = {name: (expected.get(name, MISSING), actual.get(name, MISSING)) for name in {**expected, **actual}}
        return [line for name, pair in pairs.items() for line in value_differences(*pair, f"{place}.{name}")]
    if isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        if isinstance(expected, Unordered):
            expected, actual = sorted(expected, key=row_id), sorted(actual, key=row_id)
        pairs = enumerate(zip(expected, actual, strict=True))
        return [line for index, pair in pairs for line in value_differences(*pair, f"{place}[{index}]")]
    if expected.accepts(actual) if isinstance(expected, Unknown) else expected == actual:
        return []
    expected, actual = ("nothing" if value is MISSING else repr(value) for value in (expected, actual))
    return [f"{place}: expected {expected}, actual {actual}"]


def row_id(row: dict | str) -> str:
    return row["id"] if isinstance(row, dict) else row
