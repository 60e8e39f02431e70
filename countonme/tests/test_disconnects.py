import socket

import pytest
from django.http import HttpResponse

from countonme.middleware.disconnects import DisconnectMiddleware


@pytest.fixture
def ends():
    """Both ends of a connection: the service's and the client's."""
    service, client = socket.socketpair()
    yield service, client
    service.close()
    client.close()


def status(request, sock) -> int:
    if sock is not None:
        request.META["gunicorn.socket"] = sock
    return DisconnectMiddleware(lambda _: HttpResponse(status=200))(request).status_code


class TestARead:
    def test_is_served_if_the_client_waits(self, rf, ends):
        assert status(rf.get("/v1/products"), ends[0]) == 200

    def test_is_served_if_the_next_request_has_arrived(self, rf, ends):
        ends[1].sendall(b"GET /v1/products HTTP/1.1\r\n")

        assert status(rf.get("/v1/products"), ends[0]) == 200
        assert ends[0].recv(3) == b"GET"

    def test_is_dropped_if_the_client_has_disconnected(self, rf, ends):
        ends[1].close()

        assert status(rf.get("/v1/products"), ends[0]) == 400

    def test_is_dropped_if_the_connection_is_broken(self, rf, ends):
        ends[0].close()

        assert status(rf.get("/v1/products"), ends[0]) == 400

    def test_is_served_by_another_server(self, rf):
        assert status(rf.get("/v1/products"), None) == 200


@pytest.mark.django_db
class TestAWrite:
    @pytest.mark.parametrize(
        ("path", "body"),
        [("/v1/products", {"name": "Rye bread", "kcal_100g": 259}), ("/v1/sync", {"products": {"deleted": ["x"]}})],
    )
    def test_is_dropped_if_the_client_has_disconnected(self, api, ends, all_rows, path, body):
        served = api.post(path, body, **{"gunicorn.socket": ends[0]})
        before = all_rows()
        ends[1].close()

        dropped = api.post(path, body, **{"gunicorn.socket": ends[0]})

        assert served.status_code < 300
        assert (dropped.status_code, dropped.json()) == (400, {"detail": "The client has disconnected."})
        assert all_rows() == before
