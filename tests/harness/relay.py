"""A way to a server, on which a test can stand."""

import socket
from contextlib import suppress
from threading import Event, Thread


class Relay:
    """Passes on what comes in on a port of its own, as long as it is open and nobody has made it silent."""

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
        """Hang up on everybody who is connected."""
        for one in self.sockets:
            hang_up(one)
            one.close()
        self.sockets.clear()

    def close(self) -> None:
        """Let nobody in, and hang up on who is."""
        hang_up(self.listener)  # wakes up who accepts
        self.listener.close()
        self.cut()


def hang_up(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
