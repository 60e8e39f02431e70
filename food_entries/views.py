from django.db.models import QuerySet
from drf_spectacular.utils import OpenApiExample, OpenApiResponse, extend_schema, extend_schema_view
from rest_framework.decorators import action

from countonme.api.errors import ValidationError
from countonme.api.fields import sent_uuid
from countonme.api.parsers import sent_data
from countonme.api.renderers import JSONResponse
from food_entries.models import FoodEntry, daily_sums
from food_entries.serializers import (
    BY_PORTION,
    BY_WEIGHT,
    MAX_BATCH,
    DaySerializer,
    FoodEntryQuery,
    FoodEntrySerializer,
    SummaryQuery,
)
from nutrition.amounts import days
from ownership.models import change_set
from ownership.serializers import validate
from ownership.viewsets import DeviceOwnedViewSet
from products.models import Portion, Product

# A schema of its own, because drf-spectacular has no `maxItems`.
BATCH_SCHEMA = {
    "type": "array",
    "items": {"$ref": "#/components/schemas/FoodEntryRequest"},
    "maxItems": MAX_BATCH,
}


@extend_schema(tags=["food entries"])
@extend_schema_view(
    list=extend_schema(
        summary="List food entries",
        description="The newest day first; within a day by time, and those without a time last.",
    ),
    create=extend_schema(summary="Create a food entry"),
    retrieve=extend_schema(summary="Read a food entry"),
    update=extend_schema(summary="Change a food entry"),
    destroy=extend_schema(summary="Delete a food entry"),
    restore=extend_schema(
        summary="Restore a deleted food entry",
        description="Its product may be deleted. The next pull has the entry. A live entry is returned unchanged.",
    ),
)
class FoodEntryViewSet(DeviceOwnedViewSet):
    """The food entries of the calling device."""

    model = FoodEntry
    serializer_class = FoodEntrySerializer
    query_class = FoodEntryQuery
    conditional_reads = ("list", "retrieve", "summary")
    conflicts = ("create", "create_batch")
    additions = ("create", "create_batch")

    @classmethod
    def filter_queryset(cls, queryset: QuerySet, *, date=None, first=None, last=None, meal_type=None) -> QuerySet:
        wanted = {"date": date, "date__gte": first, "date__lte": last, "meal_type": meal_type}
        sent = {name: value for name, value in wanted.items() if value is not None}
        return queryset.filter(**sent).newest_day_first()

    def perform_create(self, **values) -> FoodEntry:
        entry = FoodEntry.draft(self.device, **values)
        entry.save()
        return entry

    @extend_schema(
        operation_id="createFoodEntries",
        summary="Create food entries",
        description=f"Send an array of up to {MAX_BATCH} entries. It is stored completely or not at all.",
        request={"application/json": BATCH_SCHEMA},
        examples=[OpenApiExample("A batch", [BY_PORTION, BY_WEIGHT], request_only=True)],
        responses={
            200: OpenApiResponse(FoodEntrySerializer(many=True), "A retry: all these entries are stored already."),
            201: FoodEntrySerializer(many=True),
        },
    )
    @action(detail=False)
    def create_batch(self, request) -> JSONResponse:
        sent = sent_data(request)  # before the change set locks the device, since a body can arrive slowly
        if not isinstance(sent, list):
            raise ValidationError("This is not an array.", "not_a_list")
        if len(sent) > MAX_BATCH:
            raise ValidationError(f"At most {MAX_BATCH} entries are allowed in one request.", "max_length")
        with change_set(self.device) as changes:
            rows = self.create_entries(sent)
        return JSONResponse([self.to_representation(row) for row in rows], status=201 if changes.wrote else 200)

    def create_entries(self, sent: list) -> list[FoodEntry]:
        """Return a row for each entry sent: the stored row if the entry is a retry, else a new one.

        The number of queries does not depend on the number of entries.
        """
        sent_ids = [sent_uuid(entry, "id") for entry in sent]
        known = self.live_rows.load(FoodEntry, set(sent_ids) - {None})
        for name, model in (("product_id", Product), ("portion_id", Portion)):
            ids = {sent_uuid(entry, name) for entry, row_id in zip(sent, sent_ids, strict=True) if row_id not in known}
            self.live_rows.load(model, ids - {None})
        rows, errors = [], {}
        for index, (entry, row_id) in enumerate(zip(sent, sent_ids, strict=True)):
            if row_id not in known:
                try:
                    row = FoodEntry.draft(self.device, **validate(FoodEntrySerializer, entry, view=self))
                except ValidationError as error:
                    errors[index] = error.detail
                    continue
                known[row.pk] = row
                rows.append(row)
            else:
                rows.append(known[row_id])
        if errors:
            raise ValidationError(errors)
        FoodEntry.all_objects.bulk_create(row for row in known.values() if row._state.adding)
        return rows

    @extend_schema(
        operation_id="summarizeDays",
        summary="Summarize days",
        description="One object for each day, including days without entries, the oldest first. At most 366 days.",
        parameters=[SummaryQuery],
        responses={200: DaySerializer(many=True)},
    )
    @action(detail=False)
    def summary(self, request) -> JSONResponse:
        query = self.validate_query(SummaryQuery)
        first, last = query["first"], query["last"]
        return JSONResponse(days(daily_sums.json_tuples(device=self.device.pk, first=first, last=last), first, last))
