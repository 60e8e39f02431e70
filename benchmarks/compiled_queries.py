"""Measure the CPU time of each call with compiled queries and with the ORM: `python -m benchmarks.compiled_queries`.

One thread handles the calls of `make bench`, with both in turn. Needs PostgreSQL (BENCH_POSTGRES).
"""

import os
import statistics
import time
from contextlib import redirect_stderr

from benchmarks import data
from benchmarks.measured_calls import CALLS, Call
from benchmarks.profiling import disconnect, environ_of, handle, warm_up
from tests.harness.databases import create_databases, url_of
from tests.harness.servers import migrate, our_environment, say

DATABASE = "bench_compiled"
ROUNDS = 20


def main() -> None:
    dataset = data.generate()
    with create_databases(DATABASE), open(os.devnull, "w") as nowhere, redirect_stderr(nowhere):  # the log
        migrate(url_of(DATABASE))
        data.store_ours(url_of(DATABASE), dataset)
        os.environ.update(
            our_environment(url_of(DATABASE)), DJANGO_SETTINGS_MODULE="countonme.settings", LOG_FORMAT="json"
        )
        for call in CALLS:
            if call.name != "register":
                compiled, orm = (1000 * seconds for seconds in compare(call, dataset))
                say(f"{call.name}: {compiled:.2f} ms compiled, {orm:.2f} ms by the ORM")
        disconnect()


def compare(call: Call, dataset: data.Data) -> list[float]:
    """Return the median CPU seconds of a call with compiled queries, and with the ORM."""
    warm_up(call.requests(dataset)[0], 1)  # loads the service
    from countonme.db.compiled.query import CompiledQuery

    requests = call.requests(dataset)[:40]
    etags = [dict(warm_up(request, 2)).get("ETag", "") if call.conditional else "" for request in requests]
    runs = (CompiledQuery.run, run_by_orm)
    seconds: list[list[float]] = [[], []]
    for _ in range(ROUNDS):
        for taken, CompiledQuery.run in zip(seconds, runs, strict=True):
            for request, etag in zip(requests, etags, strict=True):
                began = time.thread_time()
                handle(environ_of(request, etag), call.status)
                taken.append(time.thread_time() - began)
    CompiledQuery.run = runs[0]
    return list(map(statistics.median, seconds))


def run_by_orm(query, mode, limit, offset, values) -> list:
    rows = query.function(**values)
    return list(rows if limit is None else rows[offset : offset + limit])


if __name__ == "__main__":
    main()
