from uuid import UUID

from django.urls import register_converter

from countonme.api.fields import parse_uuid


class RowIdConverter:
    """A row's id in a path. One that is no UUID is None: no row has it, and the view says so in its own words."""

    regex = "[^/]+"

    def to_python(self, value: str) -> UUID | None:
        return parse_uuid(value)

    def to_url(self, value) -> str:
        return str(value)


register_converter(RowIdConverter, "row_id")
