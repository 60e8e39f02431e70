"""Print the SQL statements of each call with their plans, as JSON. scale.py runs it, with CountOnMe's environment.

Each request is sent with Django's test client, often enough for PostgreSQL to use a generic plan, and is rolled back.
The plans come from PostgreSQL's module auto_explain, which also covers statements of compiled queries.
"""

import json
import os
import re
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "countonme.settings")
django.setup()

from django.db import connection, transaction  # noqa: E402
from django.test import Client  # noqa: E402

from benchmarks import data  # noqa: E402
from benchmarks.measured_calls import CALLS, Call, Request  # noqa: E402

WARM, TIMED = 7, 5  # runs of each request; PostgreSQL may use a generic plan from the sixth on
EXPLAINED = re.compile(r"duration: ([0-9.]+) ms  plan:\s+Query Text: (.+?)\n(\S.*)", re.S)

notices: list[str] = []


def listen() -> None:
    """Let PostgreSQL send the plan and the time of each statement as a notice on this connection."""
    with connection.cursor() as cursor:
        cursor.execute("LOAD 'auto_explain'")
        for name, value in {
            "auto_explain.log_min_duration": "0",
            "auto_explain.log_analyze": "on",
            "auto_explain.log_buffers": "on",
            "client_min_messages": "log",
        }.items():
            cursor.execute(f"SET {name} = {value}")
    connection.connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))


def send(request: Request, etag: str = ""):
    headers = {"Authorization": f"Bearer {request.token}", "Host": "127.0.0.1"}
    if etag:
        headers["If-None-Match"] = etag
    return Client().generic(
        request.method, request.path, request.body, content_type="application/json", headers=headers
    )


def statements(call: Call, request: Request) -> list[dict]:
    """Return the text, the plan and the milliseconds of each statement of a request."""
    with transaction.atomic():
        etag = send(request).headers.get("ETag", "") if call.conditional else ""
        transaction.set_rollback(True)
    tries = [explain(call, request, etag) for _ in range(WARM + TIMED)][WARM:]
    return [min(of_statement, key=lambda one: one["ms"]) for of_statement in zip(*tries, strict=True)]


def explain(call: Call, request: Request, etag: str) -> list[dict]:
    with transaction.atomic():
        notices.clear()
        response = send(request, etag)
        transaction.set_rollback(True)
    # Read the notices only now: a statement's plan comes with the next statement or at the transaction's end.
    explained = [match.groups() for match in map(EXPLAINED.fullmatch, notices) if match]
    if response.status_code != call.status:
        raise SystemExit(f"{request.path}: {response.status_code} {response.content[:500]}")
    if not explained:
        raise SystemExit(f"{call.name}: PostgreSQL sent no plans: {notices}")
    return [{"sql": sql, "plan": plan.splitlines(), "ms": float(ms)} for ms, sql, plan in explained]


def main() -> None:
    dataset = data.generate()
    listen()
    plans = {call.name: statements(call, call.requests(dataset)[0]) for call in CALLS if call.name != "register"}
    json.dump(plans, sys.stdout)


if __name__ == "__main__":
    main()
