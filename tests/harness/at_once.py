"""Several requests at the same moment, each on a connection of its own."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier

from django.db import connection, connections


def at_once(*calls: Callable) -> list:
    """Make all calls at the same moment; return what they return, in order."""
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


def sent_at_once(api, *requests: Callable) -> list:
    """Send one phone's requests at the same moment, each by a client of its own; return their answers in order."""
    return at_once(*[partial(request, type(api)(api.token)) for request in requests])


def statuses(responses: list) -> Counter:
    return Counter(response.status_code for response in responses)
