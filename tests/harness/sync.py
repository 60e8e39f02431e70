"""Pull and push as a client, and build rows as a client sends them."""

import json
from uuid import uuid4

NOTHING = {"created": [], "updated": [], "deleted": []}
ALL_STORED = {"experimentalRejectedIds": {}, "rejected": []}


def pull_changes(api, since=None, **query) -> dict:
    response = api.get("/v1/sync", query | ({} if since is None else {"last_pulled_at": since}))
    is_large = getattr(response, "streaming", False)  # only responses to a test client have this
    content = response.getvalue() if is_large else response.content
    assert response.status_code == 200, content
    return json.loads(content)


def push(api, since=None, **tables):
    query = "" if since is None else f"?last_pulled_at={since}"
    return api.post(f"/v1/sync{query}", tables)


def push_ok(api, since=None, **tables) -> dict:
    response = push(api, since, **tables)
    assert response.status_code == 200, response.content
    return response.json()


def revision(api) -> int:
    return pull_changes(api)["timestamp"]


def live_rows(api, table: str) -> dict[str, dict]:
    """Return the table's live rows by id, as a first sync returns them."""
    return {row["id"]: row for row in pull_changes(api)["changes"][table]["updated"]}


def product(**values) -> dict:
    nutrients = {"protein_100g": 8.5, "carbs_100g": 48.3, "fat_100g": None, "sugars_100g": 3.85, "fiber_100g": 0}
    nutrients |= {"saturated_fat_100g": None, "salt_100g": 1.51}
    more = {"brand": None, "unit": "g", "barcode": None, "is_favorite": False, "catalog_food_id": None}
    return {"id": str(uuid4()), "name": "Rye bread", "kcal_100g": 259, **nutrients, **more, **values}


def portion(of: dict, **values) -> dict:
    return {"id": str(uuid4()), "product_id": of["id"], "name": "Slice", "grams": 35.5, "is_default": False, **values}


def entry(of: dict, **values) -> dict:
    eaten = {
        "portion_id": None,
        "date": "2026-01-05",
        "time": None,
        "meal_type": "lunch",
        "quantity": None,
        "grams": 70,
    }
    return {"id": str(uuid4()), "product_id": of["id"], **eaten, **values}


def errors_of(content: dict) -> list[tuple]:
    """Return each rejected row of a push: its table, its id, and the `loc` and `type` of its errors."""
    return [
        (one["table"], one["id"], [(*error["loc"], error["type"]) for error in one["errors"]])
        for one in content["rejected"]
    ]
