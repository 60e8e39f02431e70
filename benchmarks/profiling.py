"""Profile calls by package, for the results of `make bench` or alone: `python -m benchmarks.profiling`.

One process handles each call a few hundred times under cProfile. cProfile slows down Python code more than C code, so
the shares show where to look, not how long anything takes.
"""

import cProfile
import io
import os
import pstats
import sys
from collections import Counter
from contextlib import redirect_stderr

from benchmarks import data
from benchmarks.measured_calls import CALLS, Call, Request
from tests.harness.databases import create_databases, url_of
from tests.harness.servers import ROOT, migrate, our_environment, say

DATABASE = "bench_profile"
PROFILED = ("304", "product list of 50", "create an entry")
TIMES = 500

PACKAGES = {  # a function belongs to the first entry that its file or name contains
    # These calls also contain CPU time of PostgreSQL: the kernel often runs it before the call returns.
    "psycopg/connection.py:wait": "sending to PostgreSQL and waiting for it",
    "psycopg/_cursor_base.py:_send_query_prepared": "sending to PostgreSQL and waiting for it",
    "psycopg/_connection_base.py:_exec_command": "sending to PostgreSQL and waiting for it",
    "psycopg": "psycopg",
    "rest_framework": "Django REST framework",
    "django": "Django",
    "corsheaders": "middlewares from elsewhere",
    "whitenoise": "middlewares from elsewhere",
    "orjson": "orjson",
    "bcrypt": "bcrypt",
    str(ROOT): "CountOnMe",
}
OTHER = "Python's standard library"


def main() -> None:
    say("\n".join(section(profile_calls())))


def profile_calls() -> dict[str, Counter]:
    """Return the shares of the calls in PROFILED."""
    dataset = data.generate()
    with create_databases(DATABASE), open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):  # the log
        migrate(url_of(DATABASE))
        data.store_ours(url_of(DATABASE), dataset)
        os.environ.update(
            our_environment(url_of(DATABASE)), DJANGO_SETTINGS_MODULE="countonme.settings", LOG_FORMAT="json"
        )
        shares = {call.name: shares_of(call, dataset) for call in CALLS if call.name in PROFILED}
        disconnect()
    return shares


def disconnect() -> None:
    from django.db import connection

    connection.close()


def shares_of(call: Call, dataset: data.Data) -> Counter:
    """Return the share of each package in the time of a call, without the time of other packages that it calls."""
    requests = call.requests(dataset)[:50]
    etags = [dict(warm_up(request, 2)).get("ETag", "") for request in requests]
    profile = cProfile.Profile()
    for number in range(TIMES):
        which = number % len(requests)
        environ = environ_of(requests[which], etags[which] if call.conditional else "")
        profile.runcall(handle, environ, call.status)
    spent = Counter()
    for (file, _, name), (_, _, seconds, *_) in pstats.Stats(profile).stats.items():
        spent[package_of(file, name)] += seconds
    return Counter({package: seconds / spent.total() for package, seconds in spent.items()})


def warm_up(request: Request, times: int) -> list[tuple[str, str]]:
    """Handle a request several times, so that all caches are filled. Return the headers of the response."""
    for _ in range(times):
        headers = handle(environ_of(request, ""), None)
    return headers


def handle(environ: dict, wanted: int | None) -> list[tuple[str, str]]:
    from countonme.wsgi import application

    head = []
    response = application(environ, lambda status, headers, *_: head.extend((status, headers)))
    b"".join(response)
    response.close()
    if wanted is not None and not head[0].startswith(str(wanted)):
        raise SystemExit(f"{environ['PATH_INFO']} returns {head[0]}")
    return head[1]


def environ_of(request: Request, etag: str) -> dict:
    path, _, query = request.path.partition("?")
    body = request.body.encode()
    environ = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "8000",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "127.0.0.1",
        "HTTP_AUTHORIZATION": f"Bearer {request.token}",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        "wsgi.url_scheme": "http",
        "wsgi.errors": sys.stderr,
    }
    return environ | ({"HTTP_IF_NONE_MATCH": etag} if etag else {})


def package_of(file: str, name: str) -> str:
    where = f"{file}:{name}" if file != "~" else name
    return next((package for part, package in PACKAGES.items() if part in where), OTHER)


def section(shares: dict[str, Counter]) -> list[str]:
    packages = sorted({*PACKAGES.values(), OTHER}, key=lambda package: -sum(of[package] for of in shares.values()))
    return [
        "## Where the time goes",
        "",
        "Shares of a request's time in one process, under cProfile. Calls to other packages count as theirs.",
        "",
        f"| | {' | '.join(shares)} |",
        "|---" + "|--:" * len(shares) + "|",
        *(f"| {package} | {' | '.join(f'{of[package]:.0%}' for of in shares.values())} |" for package in packages),
        "",
    ]


if __name__ == "__main__":
    main()
