"""The `row_id` converter of URL patterns."""

from uuid import UUID

from django.urls import register_converter

from countonme.api.fields import parse_uuid


class RowIdConverter:
    """A row's id in a path. An invalid one becomes None: the view finds no row and returns its usual 404."""

    regex = "[^/]+"

    def to_python(self, value: str) -> UUID | None:
        return parse_uuid(value)

    def to_url(self, value) -> str:
        return str(value)


register_converter(RowIdConverter, "row_id")
