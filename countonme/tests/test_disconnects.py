import socket

import pytest
from django.http import HttpResponse

from countonme.disconnects import DisconnectMiddleware


@pytest.fixture
def ends():
    """The two ends of a connection: the service's and the client's."""
    service, client = socket.socketpair()
    yield service, client
    service.close()
    client.close()


def status(request, sock) -> int:
    if sock is not None:
        request.META["gunicorn.socket"] = sock
    return DisconnectMiddleware(lambda _: HttpResponse(status=200))(request).status_code


class TestARead:
    def test_is_served_while_its_client_waits(self, rf, ends):
        assert status(rf.get("/v1/products"), ends[0]) == 200

    def test_is_served_if_the_next_request_has_come_already(self, rf, ends):
        ends[1].sendall(b"GET /v1/products HTTP/1.1\r\n")

        assert status(rf.get("/v1/products"), ends[0]) == 200
        assert ends[0].recv(3) == b"GET"

    def test_is_dropped_if_its_client_has_disconnected(self, rf, ends):
        ends[1].close()

        assert status(rf.get("/v1/products"), ends[0]) == 400

    def test_is_dropped_if_the_connection_is_broken(self, rf, ends):
        ends[0].close()

        assert status(rf.get("/v1/products"), ends[0]) == 400

    def test_is_served_by_another_server(self, rf):
        assert status(rf.get("/v1/products"), None) == 200


class TestAWrite:
    def test_is_served_even_then(self, rf, ends):
        ends[1].close()

        assert status(rf.post("/v1/products"), ends[0]) == 200
