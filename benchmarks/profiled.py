"""Where the time of a request goes; a part of the results, and alone `python -m benchmarks.profiled`.

One process answers each call a few hundred times under cProfile, which makes Python code look dearer than C code: the
shares tell where to look, not how long anything takes.
"""

import cProfile
import io
import os
import pstats
import sys
from collections import Counter
from contextlib import redirect_stderr

from benchmarks import data
from benchmarks.calls import CALLS, Call, Request
from tests.harness.databases import create_databases, url_of
from tests.harness.servers import ROOT, migrate, our_environment, say

DATABASE = "bench_profile"
PROFILED = ("304", "product list of 50", "create an entry")
TIMES = 500

PACKAGES = {  # the first that a function's file or name contains
    # What the kernel does meanwhile: often it has PostgreSQL run at once, where the call would return.
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
    say("\n".join(section(profiled())))


def profiled() -> dict[str, Counter]:
    """Return the shares of each call that is looked at."""
    made = data.made()
    with create_databases(DATABASE), open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):  # the log
        migrate(url_of(DATABASE))
        data.store_ours(url_of(DATABASE), made)
        os.environ.update(
            our_environment(url_of(DATABASE)), DJANGO_SETTINGS_MODULE="countonme.settings", LOG_FORMAT="json"
        )
        shares = {call.name: shares_of(call, made) for call in CALLS if call.name in PROFILED}
        disconnect()
    return shares


def disconnect() -> None:
    from django.db import connection

    connection.close()


def shares_of(call: Call, made: data.Data) -> Counter:
    """Return the share of the time that each package takes, what it calls in others left out."""
    requests = call.requests(made)[:50]
    etags = [dict(answered(request, 2)).get("ETag", "") for request in requests]
    profile = cProfile.Profile()
    for number in range(TIMES):
        which = number % len(requests)
        environ = environ_of(requests[which], etags[which] if call.conditional else "")
        profile.runcall(answer, environ, call.status)
    spent = Counter()
    for (file, _, name), (_, _, seconds, *_) in pstats.Stats(profile).stats.items():
        spent[package_of(file, name)] += seconds
    return Counter({package: seconds / spent.total() for package, seconds in spent.items()})


def answered(request: Request, times: int) -> list[tuple[str, str]]:
    """Answer a request until all that is kept is there; return the headers."""
    for _ in range(times):
        headers = answer(environ_of(request, ""), None)
    return headers


def answer(environ: dict, wanted: int | None) -> list[tuple[str, str]]:
    from countonme.wsgi import application

    said = []
    response = application(environ, lambda status, headers, *_: said.extend((status, headers)))
    b"".join(response)
    response.close()
    if wanted is not None and not said[0].startswith(str(wanted)):
        raise SystemExit(f"{environ['PATH_INFO']} answers {said[0]}")
    return said[1]


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
        "Shares of a request's time in one process, under cProfile. What a package calls in others counts as theirs.",
        "",
        f"| | {' | '.join(shares)} |",
        "|---" + "|--:" * len(shares) + "|",
        *(f"| {package} | {' | '.join(f'{of[package]:.0%}' for of in shares.values())} |" for package in packages),
        "",
    ]


if __name__ == "__main__":
    main()
