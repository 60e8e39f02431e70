"""How gunicorn serves. Read by `gunicorn countonme.wsgi` on its own; the settings are in .env.example.

GUNICORN_CMD_ARGS and the command line win over what is written here.
"""

import gc
import os
import shutil
import socket
import struct
import tempfile
from pathlib import Path

import environ

from countonme import settings
from countonme.serving.gunicorn_log import ServerLogger
from countonme.serving.sizing import connections_for, threads_for, whole, workers_for

env = environ.Env()
env.read_env(Path(__file__).parent / ".env")

_host = env.str("HOST", default="127.0.0.1")
_port = whole("PORT", env.str("PORT", default="8000"), least=1)
_engine = settings.DATABASES["default"]["ENGINE"]
_client_timeout = whole("CLIENT_TIMEOUT", env.str("CLIENT_TIMEOUT", default="20"), least=1)

bind = f"{_host}:{_port}"
workers = whole("WEB_CONCURRENCY", env.str("WEB_CONCURRENCY", default=""), least=1, default=workers_for(_engine))
# A few threads each: a client that sends slowly holds a thread, not the worker. The proxy in front keeps them few. Each
# thread has a connection to the database.
worker_class = "gthread"
threads = whole("WEB_THREADS", env.str("WEB_THREADS", default=str(threads_for(_engine))), least=1)
# Idle connections never keep a new one out: there is a thread for it.
keepalive = 75  # seconds: longer than clients and proxies keep theirs, who would else send into a closed one
worker_connections = connections_for(workers, threads)
limit_request_line = 8190  # a long search in a script of three bytes a letter, percent-encoded
control_socket_disable = True  # nothing here is steered at run time

# Who may say by X-Forwarded-Proto that the client came by HTTPS. SECURE_PROXY_SSL_HEADER says it of any peer.
forwarded_allow_ips = env.str("FORWARDED_ALLOW_IPS", default="127.0.0.1,::1")

# A worker whose main thread is stuck for so long is killed. It waits for no request, however long that takes.
timeout = 30
# At SIGTERM the requests in flight are finished, for so long at most. Whoever kills afterwards must wait longer:
# docker-compose.yml does; `docker stop` alone waits 10 seconds.
graceful_timeout = 25
# Memory stays level over that many requests; a leak that comes with a new version is bounded all the same. Where a
# worker's turn comes is up to chance, so that they don't go together.
max_requests = 100_000
max_requests_jitter = 50_000
# The worker's sign of life is a file. In memory, where there is such a place: on a disk that is busy it comes late.
_memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
worker_tmp_dir = _memory

logger_class = ServerLogger
loglevel = settings.LOGGING["root"]["level"].lower()
accesslog = None  # the service writes a line for each request itself, and a better one

# Loaded once, before the workers are forked: they share what is the same in all, and a fault in it stops the start.
preload_app = True

# Where the workers count what `/metrics` shows. It is there before they are, and new with each start of the service.
_counts = f"countonme-{os.getpid()}-"
if settings.METRICS_TOKEN and "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = tempfile.mkdtemp(prefix=_counts, dir=_memory)


def pre_fork(server, worker):
    """Take what was loaded out of the garbage collector's sight: requests wait while it goes through that."""
    gc.collect()
    gc.freeze()


def post_worker_init(worker) -> None:
    """Leave one thread of each worker to light requests, however many large pushes and pulls there are."""
    from sync.turns import places_for, turns

    turns.places = places_for(worker.cfg.threads)


def when_ready(server) -> None:
    # Of each connection that is accepted, whose threads would wait for ever for a client that has fallen silent.
    silence = struct.pack("ll", _client_timeout, 0)
    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, silence)
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, silence)
    server.log.info("CountOnMe serves on http://%s:%s, its documentation on http://%s:%s/v1/docs", *(_host, _port) * 2)


def on_exit(server) -> None:
    folder = Path(os.environ.get("PROMETHEUS_MULTIPROC_DIR", ""))
    if folder.name.startswith(_counts) and not server.reexec_pid:  # made here, and given to no successor
        shutil.rmtree(folder, ignore_errors=True)
