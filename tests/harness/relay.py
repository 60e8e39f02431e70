"""A TCP proxy in front of a server. A test can stop its traffic, cut its connections and close its port."""

import socket
from contextlib import suppress
from threading import Event, Thread


class Relay:
    """Forwards connections from a port of its own to a server. No data passes while `flowing` is cleared."""

    def __init__(self, host: str, port: int):
        self.target = (host, port)
        self.flowing = Event()
        self.flowing.set()
        self.sockets: list[socket.socket] = []
        self.open()

    def open(self, port: int = 0) -> None:
        self.listener = socket.create_server(("127.0.0.1", port), backlog=64)
        self.port = self.listener.getsockname()[1]
        Thread(target=self.accept, args=(self.listener,), daemon=True).start()

    def accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(self.target)
                self.sockets += [near, far]
                for source, sink in ((near, far), (far, near)):
                    Thread(target=self.pump, args=(source, sink), daemon=True).start()

    def pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self.flowing.wait()
                sink.sendall(data)
        hang_up(sink)

    def cut(self) -> None:
        """Close all connections."""
        for one in self.sockets:
            hang_up(one)
            one.close()
        self.sockets.clear()

    def close(self) -> None:
        """Accept no new connections, and close all that are open."""
        hang_up(self.listener)  # ends `accept` in its thread
        self.listener.close()
        self.cut()


def hang_up(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
