import runpy
import threading
import time
from contextlib import ExitStack
from types import SimpleNamespace
from uuid import uuid4

import pytest
from django.conf import settings

from sync import limiter as module
from sync.limiter import LARGE_BODY, Busy, SyncLimiter, places_for
from tests.harness.at_once import at_once, call
from tests.harness.sync import portion, product

ONE, OTHER, THIRD = uuid4(), uuid4(), uuid4()


@pytest.fixture
def limiter() -> SyncLimiter:
    return SyncLimiter(places=2)


@pytest.fixture
def begin():
    """A function that begins a push or pull of a device, which ends with the test."""
    with ExitStack() as stack:
        yield lambda limiter, device: stack.enter_context(limiter.admit(device))


def start_waiting(limiter: SyncLimiter, device) -> tuple[threading.Thread, list]:
    """Start a thread that waits for the device. Return it, and a list to which it adds its outcome and seconds."""
    outcome = []

    def run():
        began = time.monotonic()
        try:
            with limiter.admit(device):
                outcome.append("ran")
        except Busy:
            outcome.append("busy")
        outcome.append(time.monotonic() - began)

    before = len(limiter.waiting)
    thread = threading.Thread(target=run)
    thread.start()
    while thread.is_alive() and len(limiter.waiting) == before:
        time.sleep(0.001)
    return thread, outcome


class TestSecondRequestOfADevice:
    def test_runs_when_the_first_request_ends(self, limiter):
        with limiter.admit(ONE):
            thread, outcome = start_waiting(limiter, ONE)
            assert outcome == []

        thread.join()
        assert outcome[0] == "ran"
        assert outcome[1] < 0.5

    def test_is_refused_after_a_second(self, limiter, begin):
        begin(limiter, ONE)

        thread, outcome = start_waiting(limiter, ONE)
        thread.join()

        assert outcome[0] == "busy"
        assert 0.9 < outcome[1] < 1.5

    def test_is_refused_immediately_if_no_place_to_wait_is_free(self, limiter, begin):
        begin(limiter, ONE)
        thread, outcome = start_waiting(limiter, ONE)

        with pytest.raises(Busy):
            begin(limiter, ONE)

        assert outcome == []
        thread.join()

    def test_does_not_wait_for_other_devices(self, limiter, begin):
        for _ in range(10):
            begin(limiter, uuid4())

    def test_runs_after_the_first_request_has_failed(self, limiter, begin):
        with pytest.raises(ZeroDivisionError), limiter.admit(ONE):
            begin(limiter, OTHER).become_large()
            raise ZeroDivisionError

        begin(limiter, ONE)


class TestLargeRequest:
    def test_is_refused_if_all_places_are_taken(self, limiter, begin):
        begin(limiter, ONE).become_large()
        begin(limiter, OTHER).become_large()
        third = begin(limiter, THIRD)

        with pytest.raises(Busy):
            third.become_large()

    def test_takes_one_place_if_it_becomes_large_twice(self, limiter, begin):
        one = begin(limiter, ONE)
        one.become_large()
        one.become_large()

        begin(limiter, OTHER).become_large()

    def test_releases_its_place(self, limiter):
        for _ in range(5):
            with limiter.admit(ONE) as running:
                running.become_large()

        assert (limiter.large, limiter.running, limiter.waiting) == (0, {}, [])

    def test_takes_the_place_of_a_waiting_request(self, limiter, begin):
        begin(limiter, ONE).become_large()
        thread, outcome = start_waiting(limiter, ONE)

        begin(limiter, OTHER).become_large()
        thread.join()

        assert outcome[0] == "busy"
        assert outcome[1] < 0.5
        assert limiter.large == 2

    def test_leaves_one_thread_of_a_gunicorn_worker_free(self, monkeypatch):
        monkeypatch.setattr(module.sync_limiter, "places", 99)
        configuration = runpy.run_path(str(settings.BASE_DIR / "gunicorn.conf.py"))

        configuration["post_worker_init"](SimpleNamespace(cfg=SimpleNamespace(threads=2)))

        assert module.sync_limiter.places == 1

    @pytest.mark.parametrize(("threads", "places"), [(1, 1), (2, 1), (3, 2), (5, 4), (20, 4)])
    def test_leaves_one_of_several_threads_free(self, threads, places):
        assert places_for(threads) == places


@pytest.mark.postgres
@pytest.mark.django_db(transaction=True)
class TestPushAndPull:
    @pytest.fixture(autouse=True)
    def _limiter(self, monkeypatch, limiter):
        monkeypatch.setattr("sync.views.sync_limiter", limiter)
        monkeypatch.setattr(module, "WAIT_TIMEOUT", 0.2)

    @pytest.mark.parametrize("method", ["get", "post"])
    def test_return_429_if_another_one_is_running(self, api, device, limiter, method):
        with limiter.admit(device.pk):
            response = getattr(api, method)("/v1/sync", {} if method == "post" else None)

        assert (response.status_code, response["Retry-After"]) == (429, "1")
        assert response.json()["detail"].startswith("Another sync is running.")
        assert getattr(api, method)("/v1/sync", {} if method == "post" else None).status_code == 200

    def test_do_not_block_other_requests(self, api, device, limiter):
        with limiter.admit(device.pk):
            assert api.get("/v1/products").status_code == 200
            assert api.post("/v1/products", {"name": "Rye bread", "kcal_100g": 259}).status_code == 201

    def test_take_a_place_if_a_push_reads_many_rows(self, api, limiter, begin, monkeypatch, all_rows):
        monkeypatch.setattr("sync.push.LARGE", 5)
        of = product()
        rows = [portion(of) for _ in range(6)]
        assert api.post("/v1/sync", {"products": {"created": [of]}, "portions": {"created": rows}}).status_code == 200
        begin(limiter, ONE).become_large()
        begin(limiter, OTHER).become_large()
        before = all_rows()

        refused = api.post("/v1/sync?last_pulled_at=2", {"portions": {"updated": [rows[1] | {"is_default": True}]}})

        assert (refused.status_code, refused["Retry-After"]) == (429, "1")
        assert all_rows() == before

    def test_take_a_place_if_the_body_is_large(self, api, limiter, begin):
        begin(limiter, ONE).become_large()
        begin(limiter, OTHER).become_large()
        small = {"products": {"created": [product()]}}
        large = {"products": {"created": [product(note="x" * LARGE_BODY)]}}

        assert api.post("/v1/sync", small).status_code == 200
        refused = api.post("/v1/sync?last_pulled_at=2", large)

        assert (refused.status_code, refused["Retry-After"]) == (429, "1")

    def test_run_one_at_a_time_for_each_device(self, api, device, limiter, monkeypatch):
        running, most = [], []

        def slow_push(*args, **kwargs):
            running.append(1)
            most.append(len(running))
            time.sleep(0.05)
            running.pop()
            return {}

        monkeypatch.setattr("sync.views.push", slow_push)

        answers = at_once(*(call(api, "POST", "/v1/sync", {}) for _ in range(2)))

        assert [answer.status_code for answer in answers] == [200] * 2
        assert max(most) == 1
