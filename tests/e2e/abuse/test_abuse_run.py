"""The report and the clients of `make abuse`, without a run."""

import re
import socket
import time
from collections import Counter
from contextlib import closing
from itertools import takewhile
from threading import Thread
from uuid import UUID

import pytest

from tests.e2e.abuse.attacks import ATTACKS, CONNECTIONS, MAX_BODY, Caller, colliding_ids, in_turn, scripts_of
from tests.e2e.abuse.honest import CLOSED, REJECTED, HonestDevice, Sample
from tests.e2e.abuse.hostile import attack
from tests.e2e.abuse.report import HEADINGS, Row, counts, exit_code, failed, percentile, table
from tests.e2e.abuse.wire import CHUNK, Client, Reply, Request, request

CALLER = Caller(
    "0d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c11", "token", "203.0.113.1", "7f1c2f6e-61a5-4a6a-9d55-0a3f0c5f8e10", 2
)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}"


def row(*, seconds=(0.01,) * 99 + (0.02,), wrong="", hostile=(("200", 3),), memory=200.0) -> Row:
    samples = [Sample("GET /v1/products", each, "") for each in seconds]
    if wrong:
        samples.append(Sample("GET /v1/products", 0.01, wrong))
    return Row("pulls", "first pulls", None if hostile is None else Counter(dict(hostile)), samples, memory)


class TestPercentile:
    @pytest.mark.parametrize(("share", "value"), [(50, 50), (95, 95), (96, 96), (100, 100), (0.1, 1)])
    def test_is_the_smallest_value_that_enough_values_do_not_exceed(self, share, value):
        assert percentile(list(range(100, 0, -1)), share) == value

    def test_of_few_values_is_the_worst(self):
        assert percentile([3.0, 1.0, 2.0], 95) == 3.0
        assert percentile([1.0], 50) == 1.0


class TestARow:
    @pytest.mark.parametrize("hostile", [(("503", 3), ("429", 1)), None])
    def test_passes_if_the_honest_devices_are_served(self, hostile):
        assert row(hostile=hostile).faults() == []
        assert exit_code([row(hostile=hostile)]) == 0

    def test_passes_up_to_its_bounds(self):
        assert row(seconds=(1.0,) * 95 + (5.0,) * 5, memory=1500).faults() == []

    @pytest.mark.parametrize(
        ("measured", "fault"),
        [
            ({"wrong": "429"}, "honest requests got 1 × 429"),
            ({"wrong": "timeout"}, "honest requests got 1 × timeout"),
            ({"seconds": (0.01,) * 94 + (1.01,) * 6}, "p95 is 1.01 s, more than 1 s"),
            ({"seconds": (0.01,) * 99 + (5.01,)}, "the worst latency is 5.01 s, more than 5 s"),
            ({"memory": 1501.0}, "the workers held 1501 MB, more than 1500 MB"),
            ({"seconds": ()}, "the honest devices sent nothing"),
            ({"hostile": ()}, "no hostile request was sent"),
        ],
    )
    def test_makes_the_run_fail(self, measured, fault):
        bad = row(**measured)

        assert bad.faults() == [fault]
        assert failed([row(), bad, row()]) == ["pulls"]
        assert exit_code([row(), bad, row()]) == 1

    def test_with_few_requests_counts_only_for_the_p95_of_the_run(self):
        few = row(seconds=(0.01,) * 9 + (1.01,))

        assert few.faults() == []
        assert failed([few, row()]) == []
        assert failed([few] * 9) == ["p95"]
        assert exit_code([few] * 9) == 1

    def test_is_required(self):
        assert exit_code([]) == 1


class TestTheTable:
    def test_has_a_line_for_each_row(self):
        bad = row(wrong="429", hostile=(("413", 3), ("200", 12)), memory=812.4)

        heading, rule, first, second = (line.split("|")[1:-1] for line in table([row(hostile=None), bad]).splitlines())

        assert tuple(cell.strip() for cell in heading) == HEADINGS
        assert [len(cell) for cell in rule] == [len(cell) for cell in first] == [len(cell) for cell in second]
        assert [cell.strip() for cell in first[2:]] == ["-", "-", "100", "0.010", "0.010", "0.020", "-", "200"]
        assert [cell.strip() for cell in second[2:4]] == ["15", "12 × 200, 3 × 413"]
        assert [cell.strip() for cell in second[4:]] == ["101", "0.010", "0.010", "0.020", "1 × 429", "812"]

    def test_shows_a_row_without_requests(self):
        assert "| - " in table([row(seconds=(), hostile=())])

    def test_has_no_text_without_counts(self):
        assert counts(Counter()) == ""


class TestAttacks:
    @pytest.mark.parametrize("name", [each.name for each in ATTACKS])
    def test_send_complete_requests_over_a_few_connections(self, name):
        scripts = scripts_of([name], {name: [CALLER]})

        assert 1 <= len(scripts) <= CONNECTIONS
        for script in scripts:
            sent = [next(script), *(script.send(Reply("429")) for _ in range(4))]
            for each in sent:
                head = each.head.decode()
                assert re.match(r"(GET|POST) /v1/\S+ HTTP/1\.1\r\nHost: 127\.0\.0\.1\r\nX-Forwarded-For: \S+\r\n", head)
                assert head.endswith("\r\n\r\n")
                assert len(each.body) <= MAX_BODY
                assert (f"Content-Length: {len(each.body)}\r\n" in head) == head.startswith("POST")

    def test_have_one_connection_each_if_all_run_at_once(self):
        names = ["pulls", "rotations", "requests"]

        scripts = scripts_of(names, {name: [CALLER] for name in names})

        paths = [next(script).head.split()[1] for script in scripts]
        assert paths == [b"/v1/sync?last_pulled_at=0", b"/v1/auth/rotate", b"/v1/products"]

    def test_in_turn_get_their_own_replies(self):
        received = {"a": [], "b": []}

        def script(name):
            while True:
                received[name].append((yield Request(name.encode())))

        both = in_turn([script("a"), script("b")])
        heads = [next(both).head, *(both.send(Reply(str(status))).head for status in range(1, 6))]

        assert heads == [b"a", b"b"] * 3
        assert {name: [reply.status for reply in replies] for name, replies in received.items()} == {
            "a": ["1", "3"],
            "b": ["2", "4"],
        }

    def test_collide(self):
        texts = colliding_ids(1000)

        assert len(set(texts)) == 1000
        assert len({hash(UUID(text).int) for text in texts}) == 1  # Python's hash of a UUID
        assert all(str(UUID(text)) == text for text in texts)


@pytest.fixture
def stub():
    """Return a function that starts a server. It sends a connection one response for each request, then closes it."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)

    def serve(connections: list[list[bytes]]) -> None:
        for responses in connections:
            with closing(listener.accept()[0]) as connection, connection.makefile("rb") as received:
                for response in responses:
                    head = b"".join(takewhile(lambda line: line not in (b"\r\n", b""), received))
                    length = re.search(rb"Content-Length: (\d+)", head)
                    received.read(int(length[1]) if length else 0)
                    connection.sendall(response)

    def start(*connections: list[bytes]) -> int:
        thread = Thread(target=serve, args=(connections,), daemon=True)
        thread.start()
        threads.append(thread)
        return listener.getsockname()[1]

    threads = []
    yield start
    for thread in threads:
        thread.join(10)
    listener.close()


GET = request("GET", "/v1/products", address="203.0.113.1")


class TestAHostileClient:
    def test_reads_each_response_completely(self, stub):
        plain = b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\n{...}"
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        chunked += b"%x\r\n%s\r\n" % (10 * CHUNK, b" " * 10 * CHUNK) + b'10\r\n{"timestamp": 7}\r\n0\r\n\r\n'
        long = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (10 * CHUNK, b" " * 10 * CHUNK)
        port = stub([plain, chunked, long, b"HTTP/1.1 204 No Content\r\n\r\n", plain])
        client = Client(port, time.monotonic() + 5)

        replies = [client.exchange(GET) for _ in range(5)]

        client.close()
        assert [reply.status for reply in replies] == ["413", "200", "200", "204", "413"]
        assert replies[1].timestamp(otherwise=1) == 7
        assert replies[0].timestamp(otherwise=1) == 1

    def test_reconnects_if_it_was_disconnected(self, stub):
        port = stub([b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"], [OK.replace(b"200", b"429")])
        client = Client(port, time.monotonic() + 5)

        statuses = [client.exchange(GET).status for _ in range(2)]

        client.close()
        assert statuses == ["closed", "429"]

    def test_stops_at_the_end_of_its_time(self, stub):
        def script():
            while True:
                yield GET

        port, began = stub([b"", b""]), time.monotonic()

        statuses = attack([script()], port, 0.3)

        assert statuses == {"no response": 1}
        assert 0.3 <= time.monotonic() - began < 3

    def test_can_disconnect_without_a_response(self, stub):
        leaving = request("POST", "/v1/sync", address="203.0.113.1", body=b"{}", leave=True)
        client = Client(stub([], [OK]), time.monotonic() + 5)

        statuses = [client.exchange(leaving).status, client.exchange(GET).status]

        client.close()
        assert statuses == ["left", "200"]


class TestAnHonestDevice:
    def request(self, port: int, *, times=1, expected="200", method="GET", body=None) -> list[str]:
        """Send a request some times. Return the `wrong` of each sample."""
        device = HonestDevice(port, CALLER)
        for _ in range(times):
            device.request(method, "/v1/sync", expected, body)
        device.phone.close()
        return [sample.wrong for sample in device.samples]

    @pytest.mark.parametrize("status", ["201", "304", "429", "500", "503"])
    def test_records_an_unexpected_status(self, stub, status):
        assert self.request(stub([OK.replace(b"200", status.encode())])) == [status]

    def test_records_rejected_rows(self, stub):
        content = b'{"rejected": [{"id": "x"}]}'
        rejected = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 27\r\n\r\n" + content

        assert self.request(stub([rejected]), method="POST", body={}) == [REJECTED]

    def test_records_a_closed_connection(self, stub):
        assert self.request(stub([])) == [CLOSED]

    def test_retries_once_if_a_persistent_connection_was_closed(self, stub):
        assert self.request(stub([OK], [OK]), times=2) == ["", ""]
        assert self.request(stub([OK], []), times=2) == ["", CLOSED]

    def test_sends_the_requests_of_a_day(self, stub):
        stored = OK.replace(b"200", b"201")
        named = OK.replace(b"\r\n\r\n", b'\r\nETag: W/"1"\r\n\r\n')
        pulled = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"timestamp": 7}'
        end = b"HTTP/1.1 %s\r\n\r\n"
        device = HonestDevice(stub([named, end % b"304", stored, OK, OK, pulled, OK, end % b"204"]), CALLER)
        day = device.day()

        for _ in range(8):
            next(day)

        device.phone.close()
        assert [sample.wrong for sample in device.samples] == [""] * 8
        assert device.since == 7
