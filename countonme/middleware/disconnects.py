"""Detect clients that have disconnected before their request is served."""

import socket

from countonme.api.errors import bad_request


def has_disconnected(request) -> bool:
    """Return whether the client has closed the connection of this request. Return False if the server is not gunicorn.

    A client that sends requests and disconnects at once would keep the service busy with responses that are never read.
    Unread bytes, such as those of a body, hide the end of the connection.
    """
    sock = request.META.get("gunicorn.socket")
    if sock is None:
        return False
    try:
        return sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False  # the client is waiting for the response
    except OSError:
        return True


class DisconnectMiddleware:
    """Drops a read if its client has disconnected while the request waited for a thread."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        if request.method in ("GET", "HEAD") and has_disconnected(request):
            return bad_request(request)
        return self.get_response(request)
