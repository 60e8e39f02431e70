"""Sync with a client of openapi-python-client. COUNTONME_URL is the address of a live service.

It runs in this folder's own environment, with the generated package `countonme_client` in PYTHONPATH.
"""

import os
from datetime import date
from urllib.parse import urlsplit
from uuid import uuid4

from countonme_client import AuthenticatedClient, Client
from countonme_client.api.devices import register_device
from countonme_client.api.sync import pull_changes, push_changes
from countonme_client.models import (
    FoodEntryRowRequest,
    ProductRowRequest,
    Pull,
    Push,
    PushConflictBody,
    PushedChangesRequest,
    PushedFoodEntriesRequest,
    PushedProductsRequest,
    RegisterRequest,
    Token,
)

ORIGIN = "{0.scheme}://{0.netloc}".format(urlsplit(os.environ["COUNTONME_URL"]))


def main() -> None:
    token = register_device.sync(client=Client(base_url=ORIGIN), body=RegisterRequest(device_id=uuid4()))
    assert isinstance(token, Token)
    client = AuthenticatedClient(base_url=ORIGIN, token=token.token)
    product_id, entry_id, bad_id = (str(uuid4()) for _ in range(3))

    product = ProductRowRequest(id=product_id, name="Rye bread", kcal_100g=259)
    bad = ProductRowRequest(id=bad_id, name="Bad", kcal_100g=2000)
    entry = FoodEntryRowRequest(id=entry_id, product_id=product_id, grams=71, date=date(2026, 1, 5))
    rows = PushedChangesRequest(
        products=PushedProductsRequest(created=[product, bad]), food_entries=PushedFoodEntriesRequest(created=[entry])
    )
    pushed = push_changes.sync(client=client, body=rows)
    assert isinstance(pushed, Push)
    assert pushed.experimental_rejected_ids["products"] == [bad_id]
    assert pushed.rejected[0].errors[0].loc == ["kcal_100g"]

    first = pull_changes.sync(client=client)
    assert isinstance(first, Pull)
    assert first.changes.products.updated[0].name == "Rye bread"
    assert first.changes.food_entries.updated[0].kcal == 183.89

    cursor = first.timestamp
    renamed = push_changes.sync(client=client, body=rename(product_id, "Crispbread"), last_pulled_at=cursor)
    assert isinstance(renamed, Push)
    assert renamed.rejected == []

    second = pull_changes.sync(client=client, last_pulled_at=cursor)
    assert isinstance(second, Pull)
    assert second.changes.products.updated[0].name == "Crispbread"
    assert second.changes.food_entries.updated == [], "The second pull is from the cursor on."

    conflict = push_changes.sync(client=client, body=rename(product_id, "Toast"), last_pulled_at=cursor)
    assert isinstance(conflict, PushConflictBody)
    assert conflict.conflicts["products"] == [product_id]


def rename(product_id: str, name: str) -> PushedChangesRequest:
    return PushedChangesRequest(products=PushedProductsRequest(updated=[ProductRowRequest(id=product_id, name=name)]))


if __name__ == "__main__":
    main()
