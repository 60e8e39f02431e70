"""Check that all servers return the same responses, before anything is measured."""

import json
from collections.abc import Iterable
from dataclasses import replace
from uuid import uuid4

from benchmarks.data import Data
from benchmarks.measured_calls import CALLS, Call, Request, conditional, send
from tests.harness.servers import Server

GENERATED = {"id", "product_id", "created_at", "token"}  # different in each response that creates something


def compare_responses(ours: Server, others: Iterable[Server], data: Data) -> None:
    """Send each server the first, the middle and the last request of each call, and compare the responses."""
    for call in CALLS:
        requests = call.requests(data)
        for request in {requests[0], requests[len(requests) // 2], requests[-1]}:
            expected = fetch(call, ours, request)
            for other in others:
                compare(call, other, fetch(call, other, request), expected)


def compare(call: Call, other: Server, body: object, expected: object) -> None:
    """Compare a body with that of CountOnMe. FastAPI sends a body instead of a 304. An earlier checkout may differ."""
    resent = call.conditional and body is not None
    if body != expected and not resent and other.name != "before":
        raise SystemExit(f"{call.name}: {other.name} returns {shorten(body)}\ninstead of {shorten(expected)}")


def fetch(call: Call, server: Server, request: Request) -> object:
    request = replace(request, body=request.body.replace("{uuid}", str(uuid4())))
    if call.conditional:
        (request,) = conditional(server, [request])
    response = send(server, request)
    expected = 200 if call.conditional and not request.etag else call.status
    if response.status != expected:
        raise SystemExit(f"{call.name}: {server.name} returns {response.status}, {shorten(response.body)}")
    return comparable(response.body) if request.method == "POST" else response.body


def comparable(body):
    """Return a body without its generated values."""
    if isinstance(body, dict):
        return {name: comparable(value) for name, value in body.items() if name not in GENERATED}
    return [comparable(one) for one in body] if isinstance(body, list) else body


def shorten(body) -> str:
    return json.dumps(body)[:2000]
