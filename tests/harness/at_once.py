"""Make several calls at the same moment, each in a thread with its own database connection.

    created, deleted = at_once(call(api, "POST", path, body), call(api, "DELETE", other_path))

The order of the calls is random. A test that needs different orders makes the calls several times.
"""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from functools import partial
from threading import Barrier

from django.db import connection, connections


def call(client, method: str, path: str, body=None, **extra) -> Callable:
    """Return a function that sends this request with a copy of the client, because threads must not share one."""
    own = copy(client)
    own.handler.load_middleware()  # takes longer than most requests, so it is done before the threads start
    return partial(getattr(own, method.lower()), path, body, **extra)


def at_once(*calls: Callable) -> list:
    """Make all calls at the same moment. Return what they return, in order."""
    barrier = Barrier(len(calls))

    def run(call: Callable):
        try:
            connection.ensure_connection()
            barrier.wait(20)
            return call()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


def statuses(responses: list) -> Counter:
    """Count the responses by status."""
    return Counter(response.status_code for response in responses)
