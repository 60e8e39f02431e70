"""How gunicorn serves. Read by `gunicorn countonme.wsgi` on its own; the settings are in .env.example."""

import gc
from pathlib import Path

import environ

from countonme.server_log import ServerLogger

env = environ.Env()
env.read_env(Path(__file__).parent / ".env")

_host = env.str("HOST", default="127.0.0.1")
_port = env.int("PORT", default=8000)

bind = f"{_host}:{_port}"
workers = env.int("WEB_CONCURRENCY", default=2)
# A few threads each: a client that sends slowly holds a thread, not the worker. The proxy in front keeps them few.
worker_class = "gthread"
threads = 3
# A worker keeps a few idle connections and takes no more than it has room for, so that each gets its share: without a
# bound, all of sixteen were seen to sit on one worker. Idle ones never keep a new one out: there is a thread for it.
keepalive = 75  # seconds: longer than clients and proxies keep theirs, who would else send into a closed one
worker_connections = 3 * threads
limit_request_line = 8190  # a long search in a script of three bytes a letter, percent-encoded
logger_class = ServerLogger
control_socket_disable = True  # nothing here is steered at run time
# Loaded once, before the workers are forked: they share what is the same in all, and a fault in it stops the start.
preload_app = True


def pre_fork(server, worker):
    """Take what was loaded out of the garbage collector's sight: requests wait while it goes through that."""
    gc.collect()
    gc.freeze()


def when_ready(server) -> None:
    server.log.info("CountOnMe serves on http://%s:%s, its documentation on http://%s:%s/v1/docs", *(_host, _port) * 2)
