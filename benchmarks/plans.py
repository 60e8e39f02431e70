"""What CountOnMe asks PostgreSQL in each call, and how that is planned. Run by scale.py, with CountOnMe's environment.

A request goes through Django's test client, often enough for PostgreSQL to settle on a plan of a prepared statement,
and is undone. PostgreSQL itself tells what it ran, and how (its module auto_explain), however the statement was sent.
Prints JSON.
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
from benchmarks.calls import CALLS, Call, Request  # noqa: E402

WARM, TIMED = 7, 5  # times that a request is sent; a plan for all parameters is taken from the sixth on
EXPLAINED = re.compile(r"duration: ([0-9.]+) ms  plan:\s+Query Text: (.+?)\n(\S.*)", re.S)

notices: list[str] = []


def listen() -> None:
    """Have PostgreSQL say each statement's plan and time on this connection."""
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
    """Return the text, the plan and the milliseconds of what a request asks of the database."""
    with transaction.atomic():
        etag = send(request).headers.get("ETag", "") if call.conditional else ""
        transaction.set_rollback(True)
    tries = [said(call, request, etag) for _ in range(WARM + TIMED)][WARM:]
    return [min(of_statement, key=lambda one: one["ms"]) for of_statement in zip(*tries, strict=True)]


def said(call: Call, request: Request, etag: str) -> list[dict]:
    with transaction.atomic():
        notices.clear()
        answer = send(request, etag)
        transaction.set_rollback(True)
    # Only now: PostgreSQL tells of a statement when the next one takes its place, or the transaction ends.
    heard = [match.groups() for match in map(EXPLAINED.fullmatch, notices) if match]
    if answer.status_code != call.status:
        raise SystemExit(f"{request.path}: {answer.status_code} {answer.content[:500]}")
    if not heard:
        raise SystemExit(f"{call.name}: PostgreSQL told nothing: {notices}")
    return [{"sql": sql, "plan": plan.splitlines(), "ms": float(ms)} for ms, sql, plan in heard]


def main() -> None:
    made = data.made()
    listen()
    plans = {call.name: statements(call, call.requests(made)[0]) for call in CALLS if call.name != "register"}
    json.dump(plans, sys.stdout)


if __name__ == "__main__":
    main()
