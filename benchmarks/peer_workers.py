"""Serve the FastAPI peer with uvicorn under uvloop, in WEB_CONCURRENCY processes: `python -m benchmarks.peer_workers`.

The workers of `uvicorn --workers` accept from one socket, and sometimes one of them accepts all connections. Here each
worker has its own socket on the same port, and the kernel distributes the connections.
"""

import multiprocessing
import os
import signal
import socket

import uvicorn


def main() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the workers handle it, and this process ends after them
    fork = multiprocessing.get_context("fork")
    port, count = int(os.environ["PORT"]), int(os.environ["WEB_CONCURRENCY"])
    workers = [fork.Process(target=serve, args=(port,)) for _ in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def serve(port: int) -> None:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind(("127.0.0.1", port))
    config = uvicorn.Config(
        "benchmarks.peer_fastapi:app", loop="uvloop", http="httptools", log_level="warning", access_log=False
    )
    uvicorn.Server(config).run([listener])


if __name__ == "__main__":
    main()
