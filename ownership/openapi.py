"""The OpenAPI operations of device-owned rows: their ids, and descriptions for those that have none of their own."""

from countonme.api.openapi import ContractSchema

VERBS = {
    "list": "list",
    "create": "create",
    "retrieve": "get",
    "update": "update",
    "destroy": "delete",
    "restore": "restore",
}
DESCRIPTIONS = {
    "create": "The client can choose the `id`. A request with the `id` of a live row is a retry and changes nothing.",
    "retrieve": "Returns one row. Rows of other devices and deleted rows are not found.",
    "update": "Changes only the fields that are sent. `PUT` does the same as `PATCH`.",
    "restore": "Makes a deleted row live again. The next pull has it. A live row is returned unchanged.",
    "destroy": "The next pull lists the row as deleted. A second request returns `404`, which means the same.",
}


class OwnedSchema(ContractSchema):
    """Names the operations of a `DeviceOwnedViewSet` after its model: `listNotes`, `createNote`, `getNote`.

    An action that is not in `VERBS` needs an `operation_id` of its own.
    """

    def get_operation_id(self) -> str:
        verb = "put" if self.method == "PUT" else VERBS.get(self.view.action)
        if verb is None:
            return super().get_operation_id()
        names = self.view.model._meta
        name = names.verbose_name_plural if verb == "list" else names.verbose_name
        return verb + "".join(word.capitalize() for word in name.split())

    def get_description(self) -> str:
        return DESCRIPTIONS.get(self.view.action) or super().get_description()
