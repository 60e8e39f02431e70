"""Check that the services return the same, before anything is timed."""

import json
from collections.abc import Iterable
from dataclasses import replace
from uuid import uuid4

from benchmarks.calls import CALLS, Call, Request, asked, conditional
from benchmarks.data import Data
from tests.harness.servers import Server

GENERATED = {"id", "product_id", "created_at", "token"}  # different in each response that creates something


def agreed(ours: Server, others: Iterable[Server], data: Data) -> None:
    """Send each service the first, the middle and the last request of each call, and compare the responses."""
    for call in CALLS:
        requests = call.requests(data)
        for request in {requests[0], requests[len(requests) // 2], requests[-1]}:
            wanted = answered(call, ours, request)
            for other in others:
                compare(call, other, answered(call, other, request), wanted)


def compare(call: Call, other: Server, body: object, wanted: object) -> None:
    """Compare a body with that of CountOnMe. An earlier checkout may have another API; FastAPI has no 304."""
    resent = call.conditional and body is not None
    if body != wanted and not resent and other.name != "before":
        raise SystemExit(f"{call.name}: {other.name} returns {shown(body)}\ninstead of {shown(wanted)}")


def answered(call: Call, server: Server, request: Request) -> object:
    request = replace(request, body=request.body.replace("{uuid}", str(uuid4())))
    if call.conditional:
        (request,) = conditional(server, [request])
    answer = asked(server, request)
    wanted = 200 if call.conditional and not request.etag else call.status
    if answer.status != wanted:
        raise SystemExit(f"{call.name}: {server.name} returns {answer.status}, {shown(answer.body)}")
    return comparable(answer.body) if request.method == "POST" else answer.body


def comparable(body):
    """Return a body without what is different at every creation."""
    if isinstance(body, dict):
        return {name: comparable(value) for name, value in body.items() if name not in GENERATED}
    return [comparable(one) for one in body] if isinstance(body, list) else body


def shown(body) -> str:
    return json.dumps(body)[:2000]
