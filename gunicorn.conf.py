"""Settings of gunicorn, which `gunicorn countonme.wsgi` reads by itself. .env.example lists the variables.

GUNICORN_CMD_ARGS and the command line override this file.
"""

import gc
import os
import socket
import struct

from countonme import settings
from countonme.serving import metrics_folder
from countonme.serving.gunicorn_log import ServerLogger
from countonme.serving.sizing import connections_for, threads_for, workers_for
from countonme.settings import env

_host = env.text("HOST", "127.0.0.1")
_address = f"[{_host}]" if ":" in _host else _host  # IPv6
_port = env.integer("PORT", 8000, minimum=1, maximum=65_535)
_engine = settings.DATABASES["default"]["ENGINE"]
_client_timeout = env.integer("CLIENT_TIMEOUT", 20, minimum=1)

bind = f"{_address}:{_port}"
workers = env.integer("WEB_CONCURRENCY", workers_for(_engine), minimum=1)
# A slow client occupies a thread, not the whole worker. Each thread has a database connection.
worker_class = "countonme.serving.worker.Worker"
threads = env.integer("WEB_THREADS", threads_for(_engine), minimum=1)
# Seconds. Longer than clients and proxies keep their connections: otherwise they would send into a closed one. Idle
# connections occupy no thread.
keepalive = 75
worker_connections = connections_for(workers, threads)
limit_request_line = 8190  # enough for a long search in a script with three bytes per letter, percent-encoded
control_socket_disable = True  # it is not used
forwarder_headers = ""  # by default, SCRIPT_NAME of a local client changes the path that is served

# Peers whose X-Forwarded-Proto header is trusted. SECURE_PROXY_SSL_HEADER trusts a header of any peer.
forwarded_allow_ips = env.text("FORWARDED_ALLOW_IPS", "127.0.0.1,::1")

# Seconds after which a worker is killed if its main thread hangs. The main thread does not wait for requests, so a long
# request does not count.
timeout = 30
# Seconds that requests have to finish after SIGTERM. A supervisor must wait longer before it kills: docker-compose.yml
# does; `docker stop` alone waits 10 seconds.
graceful_timeout = 25
# Workers are replaced, which limits a memory leak of a new version. The jitter avoids that all are replaced at once.
max_requests = 100_000
max_requests_jitter = 50_000
# The worker's heartbeat is a file. If possible it is in memory, because a busy disk would delay it.
_memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # noqa: S108
worker_tmp_dir = _memory

logger_class = ServerLogger
loglevel = settings.LOGGING["root"]["level"].lower()
accesslog = None  # the service itself logs each request

# Load the code once, before the workers are forked: they share its memory, and an error in it stops the start.
preload_app = True

# The folder of the workers' metric files. It exists before the workers, and each start of the service has a new one.
if settings.METRICS_TOKEN and "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = metrics_folder.create(_memory)


def pre_fork(server, worker):
    """Exclude the loaded code from garbage collection, which would delay requests."""
    gc.collect()
    gc.freeze()


def post_worker_init(worker) -> None:
    """Reserve one thread of each worker for small requests: large pushes and pulls can't occupy all threads."""
    from sync.limiter import places_for, sync_limiter

    sync_limiter.places = places_for(worker.cfg.threads)


def when_ready(server) -> None:
    # Accepted connections inherit this timeout. Without it, a thread would wait for ever for a silent client.
    silence = struct.pack("ll", _client_timeout, 0)
    for listener in server.LISTENERS:
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, silence)
        listener.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, silence)
    server.log.info("CountOnMe listens on http://%s:%s. Documentation: http://%s:%s/v1/docs", *(_address, _port) * 2)


def on_exit(server) -> None:
    if not server.reexec_pid:  # no successor uses it
        metrics_folder.remove(os.environ.get("PROMETHEUS_MULTIPROC_DIR", ""))
