"""The sync endpoint: pull and push."""

from collections.abc import Iterator
from contextlib import nullcontext
from io import BytesIO
from threading import Lock

from django.http import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.viewsets import ViewSet

from countonme.api.compression import Body, accepts_gzip
from countonme.api.negotiation import JSONFirst
from countonme.api.parsers import StrictJSONParser, content_length, sent_bytes
from countonme.db.postgresql import extended_timeout
from countonme.observability import metrics
from ownership.etags import ConditionalReads
from ownership.serializers import validate
from sync.feed import pull
from sync.limiter import LARGE_BODY, sync_limiter
from sync.push import push
from sync.push.response import render
from sync.schema import PULL_EXAMPLES, PULL_RESPONSE, PUSH_EXAMPLES, PUSH_REQUEST, PUSH_RESPONSE, PushConflictSerializer
from sync.serializers import PullQuery, PushQuery


class PlainTextIsJSON(JSONFirst):
    """Parse `text/plain`, or a body without a Content-Type, as JSON, since the example of WatermelonDB sends that."""

    def select_parser(self, request, parsers):
        media_type = (request.content_type or "").partition(";")[0].strip().lower()
        return parsers[0] if media_type in ("", "text/plain") else super().select_parser(request, parsers)


# Parsing a body of 20 MiB takes up to 300 MB. Because of the GIL, parsing two at once would not be faster.
LARGE_BODY_LOCK = Lock()


@extend_schema(tags=["sync"])
class SyncViewSet(ConditionalReads, ViewSet):
    """Pull and push for the calling device, including changes made by its other installs or over REST."""

    content_negotiation_class = PlainTextIsJSON
    conditional_reads = ("pull",)
    conflicts = ("push",)
    conflict_serializer = PushConflictSerializer

    @extend_schema(
        operation_id="pullChanges",
        summary="Pull changes",
        description="Return all changes since `last_pulled_at`, from one snapshot. Live rows are in `updated`.",
        parameters=[PullQuery],
        responses={200: PULL_RESPONSE},
        examples=PULL_EXAMPLES,
    )
    @extended_timeout()
    def pull(self, request) -> HttpResponseBase:
        query = validate(PullQuery, request.query_params.dict())
        body = Body(gzip=accepts_gzip(request))
        with sync_limiter.admit(request.user.pk) as running:
            rows = pull(request.user, query["last_pulled_at"], query["migration"], body, on_large=running.become_large)
        metrics.count_sync_rows("pull", rows)
        metrics.count_sync_bytes("pull", body.size)
        return body.response("application/json")

    @extend_schema(
        operation_id="pushChanges",
        summary="Push changes",
        description="Store all rows except those that are rejected by id. If any row is in conflict, store nothing.",
        parameters=[PushQuery],
        request=PUSH_REQUEST,
        responses={200: PUSH_RESPONSE},
        examples=PUSH_EXAMPLES,
    )
    @extended_timeout()
    def push(self, request) -> HttpResponseBase:
        query = validate(PushQuery, request.query_params.dict())
        with sync_limiter.admit(request.user.pk) as running:
            is_large = content_length(request) > LARGE_BODY
            if is_large:
                running.become_large()
            sent = sent_bytes(request)
            metrics.count_sync_bytes("push", len(sent))
            rejected = push(
                request.user,
                parsed_bodies(request, sent),
                query["last_pulled_at"],
                parsing=LARGE_BODY_LOCK if is_large else nullcontext(),
                on_large=running.become_large,
            )
            return render(rejected, gzip=accepts_gzip(request)).response("application/json")


def parsed_bodies(request, sent: bytes) -> Iterator:
    """Yield the parsed request body. It is parsed again for each one."""
    while True:
        yield StrictJSONParser().parse(BytesIO(sent), parser_context=request.parser_context)
