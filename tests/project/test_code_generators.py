"""The OpenAPI document suits code generators: rules that every operation and schema keeps."""

import json
import re

from countonme.api import schema_views
from countonme.api.renderers import JSONRenderer

DOCUMENT = json.loads(JSONRenderer().render(schema_views.document()))
METHODS = {"get", "post", "put", "patch", "delete"}
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
    if method in METHODS
}


class TestOperations:
    def test_have_ids_that_are_unique_and_begin_with_a_verb(self):
        ids = [operation["operationId"] for operation in OPERATIONS.values()]

        assert len(ids) == len(set(ids)) >= 20
        assert [name for name in ids if not re.fullmatch("[a-z]+([A-Z][a-z]+)+", name)] == []

    def test_have_a_summary_and_a_description(self):
        assert [name for name, operation in OPERATIONS.items() if not operation.get("summary")] == []
        assert [name for name, operation in OPERATIONS.items() if not operation.get("description")] == []
