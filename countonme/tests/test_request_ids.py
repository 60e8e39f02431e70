import logging
import re
from itertools import groupby

import pytest
from django.conf import settings

from countonme.middleware.request_id import request_id


class TestARequestId:
    @pytest.mark.parametrize("sent", ["a", "0d9c3c5e-3f2b-4c41-9b0e-6a3b6a6f2c11", "A.b_c:d+e/f=@9", "x" * 128])
    def test_is_kept_if_it_is_valid(self, anonymous, sent):
        assert anonymous.get("/healthz", headers={"X-Request-ID": sent})["X-Request-ID"] == sent

    @pytest.mark.parametrize(
        "sent",
        ["", " ", "x" * 129, "two words", "a\nline", "a\n", "<b>", "é", "\x00", "a;b", '"a"', "{}", "%s"],
        ids=repr,
    )
    def test_is_replaced_if_it_is_invalid(self, anonymous, sent):
        assert re.fullmatch("[0-9a-f]{32}", anonymous.get("/healthz", headers={"X-Request-ID": sent})["X-Request-ID"])

    def test_is_generated_for_each_request(self, anonymous):
        assert len({anonymous.get("/healthz")["X-Request-ID"] for _ in range(3)}) == 3

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/v1/products", 200),
            ("DELETE", "/v1/devices/me", 204),
            ("GET", "/v1/products?limit=0", 422),
            ("GET", "/v1/nothing", 404),
            ("GET", "/nothing", 404),
            ("PATCH", "/v1/products", 405),
            ("GET", "/healthz", 200),
            ("GET", "/admin/", 302),
        ],
    )
    def test_is_on_every_response(self, api, method, path, status):
        response = api.generic(method, path, headers={"X-Request-ID": "kept"})

        assert response.status_code == status
        assert response["X-Request-ID"] == "kept"

    def test_is_on_a_static_file(self, anonymous):
        response = anonymous.get("/static/admin/css/base.css", headers={"X-Request-ID": "kept"})

        assert b"".join(response)
        assert response.status_code == 200
        assert response["X-Request-ID"] == "kept"

    def test_is_on_a_304(self, api):
        known = api.get("/v1/products")["ETag"]

        response = api.get("/v1/products", headers={"If-None-Match": known, "X-Request-ID": "kept"})

        assert response.status_code == 304
        assert response["X-Request-ID"] == "kept"

    def test_is_on_a_413(self, anonymous):
        response = anonymous.generic(
            "POST", "/v1/products", "x" * (settings.MAX_BODY + 1), headers={"X-Request-ID": "kept"}
        )

        assert response.status_code == 413
        assert response["X-Request-ID"] == "kept"

    def test_is_on_a_preflight(self, anonymous):
        headers = {"Origin": "https://a.example", "Access-Control-Request-Method": "GET", "X-Request-ID": "kept"}

        response = anonymous.options("/v1/products", headers=headers)

        assert response.status_code == 200
        assert response["X-Request-ID"] == "kept"

    def test_is_on_every_log_line_of_its_request_and_no_other(self, api, unreachable_database, log):
        api.get("/v1/products", headers={"X-Request-ID": "first"})
        logging.getLogger("countonme").warning("between")
        api.get("/v1/products", headers={"X-Request-ID": "second"})

        ids = re.findall(r"^\S+ \S+ [A-Z]+ \[(.*?)\]", log.getvalue(), re.M)
        assert [one for one, _ in groupby(ids)] == ["first", "-", "second"]
        assert request_id.get() == "-"
