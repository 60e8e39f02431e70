"""The services answer the same, or nothing is timed."""

import json
from dataclasses import replace
from uuid import uuid4

from benchmarks.calls import CALLS, Call, Request, asked, conditional
from benchmarks.data import Data
from tests.harness.servers import Server

MADE_ANEW = {"id", "product_id", "created_at", "token"}  # in what is created, each service says something else


def agreed(ours: Server, peer: Server, limit: Server, data: Data) -> None:
    """Ask each service the first, the middle and the last request of each call, and compare the answers."""
    for call in CALLS:
        requests = call.requests(data)
        for request in {requests[0], requests[len(requests) // 2], requests[-1]}:
            compare(call, request, ours, peer, limit)


def compare(call: Call, request: Request, ours: Server, peer: Server, limit: Server) -> None:
    said = {server.name: answered(call, server, request) for server in (ours, peer, limit)}
    wanted = said[ours.name]
    for name, body in said.items():
        if name == peer.name and call.conditional:
            continue
        if body != wanted and not (name == peer.name and same_but_portions(call, body, wanted)):
            raise SystemExit(f"{call.name}: {name} answers {shown(body)}\nand {ours.name} {shown(wanted)}")


def answered(call: Call, server: Server, request: Request) -> object:
    request = replace(request, body=request.body.replace("{uuid}", str(uuid4())))
    if call.conditional:
        (request,) = conditional(server, [request])
    answer = asked(server, request)
    wanted = 200 if call.conditional and not request.etag else call.status
    if answer.status != wanted:
        raise SystemExit(f"{call.name}: {server.name} answers {answer.status}, {shown(answer.body)}")
    return comparable(answer.body) if request.method == "POST" else answer.body


def comparable(body):
    """Return a body without what is different at every creation."""
    if isinstance(body, dict):
        return {name: comparable(value) for name, value in body.items() if name not in MADE_ANEW}
    return [comparable(one) for one in body] if isinstance(body, list) else body


def same_but_portions(call: Call, body, wanted) -> bool:
    """The FastAPI peer makes no portion with a product."""
    return call.name == "create a product" and {**body, "portions": None} == {**wanted, "portions": None}


def shown(body) -> str:
    return json.dumps(body)[:2000]
