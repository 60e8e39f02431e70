"""The response to a push: the same JSON, whether it is small or kept in memory in compressed form."""

import gzip
import json
from uuid import uuid4

import pytest

from sync.push import response as push_response
from tests.harness.sync import push


@pytest.fixture
def rejected_rows() -> dict:
    """Rows that can't be stored, of two tables, and a table without any."""
    weights = [str(uuid4()) for _ in range(50)]
    products = [{"id": str(uuid4()), "name": "", "kcal_100g": 1} for _ in range(50)]
    return {"weights": {"deleted": weights}, "products": {"created": products}, "portions": {"created": []}}


class TestLargeResponse:
    @pytest.mark.parametrize("accepted", ["gzip", ""])
    @pytest.mark.parametrize(("part", "large"), [(64, 500), (10**6, 500), (64, 10**6)])
    def test_names_all_rejected_rows_in_the_order_sent(self, api, rejected_rows, monkeypatch, part, large, accepted):
        monkeypatch.setattr(push_response, "PART", part)
        monkeypatch.setattr(push_response, "LARGE", large)

        response = api.post("/v1/sync", rejected_rows, headers={"Accept-Encoding": accepted})

        content = response.getvalue()
        assert response.status_code == 200
        assert response.streaming == (large == 500)
        assert int(response["Content-Length"]) == len(content)
        assert response.get("Content-Encoding") == (accepted or None)
        assert "Accept-Encoding" in response["Vary"]
        answer = json.loads(gzip.decompress(content) if accepted else content)
        ids = {
            "products": [row["id"] for row in rejected_rows["products"]["created"]],
            "weights": rejected_rows["weights"]["deleted"],
        }
        assert answer["experimentalRejectedIds"] == ids
        named = [(row["table"], row["id"]) for row in answer["rejected"]]
        assert sorted(named) == sorted((table, row_id) for table in ids for row_id in ids[table])
        assert {row["errors"][0]["type"] for row in answer["rejected"]} == {"unknown_table", "blank"}

    def test_has_no_rows_if_all_are_stored(self, api):
        assert push(api, products={"created": []}).content == b'{"experimentalRejectedIds":{},"rejected":[]}'
