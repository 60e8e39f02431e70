"""How gunicorn serves. Read by `gunicorn countonme.wsgi` on its own; the settings are in .env.example."""

from pathlib import Path

import environ

env = environ.Env()
env.read_env(Path(__file__).parent / ".env")

_host = env.str("HOST", default="127.0.0.1")
_port = env.int("PORT", default=8000)

bind = f"{_host}:{_port}"
workers = env.int("WEB_CONCURRENCY", default=2)
# A few threads each: a client that sends slowly holds a thread, not the worker. The proxy in front keeps them few.
worker_class = "gthread"
threads = 4
# Each request has a connection of its own, which goes to the worker that is free: a kept one stays with the worker that
# took it, and all of sixteen were seen to be one worker's. Keeping the phones' connections is for the proxy in front.
keepalive = 0
limit_request_line = 8190  # a long search in a script of three bytes a letter, percent-encoded
control_socket_disable = True  # nothing here is steered at run time


def when_ready(server) -> None:
    server.log.info("CountOnMe serves on http://%s:%s, its documentation on http://%s:%s/v1/docs", *(_host, _port) * 2)
