"""Whether the client of a request has closed its connection."""

import socket

from countonme.api.errors import bad_request


def has_disconnected(request) -> bool:
    """Return whether gunicorn's socket of this request is closed at the other end; False if that can't be known.

    A client that sends requests and leaves at once would keep the service busy with responses that nobody reads. What
    it has sent and nobody has read yet, such as a body, hides the end of its connection.
    """
    sock = request.META.get("gunicorn.socket")
    if sock is None:
        return False
    try:
        return sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False  # it is waiting for the response
    except OSError:
        return True


class DisconnectMiddleware:
    """Drop a read whose client has disconnected while it waited for a thread."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        if request.method in ("GET", "HEAD") and has_disconnected(request):
            return bad_request(request)
        return self.get_response(request)
