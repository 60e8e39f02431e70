from collections.abc import Iterator
from contextlib import nullcontext
from io import BytesIO
from threading import Lock

from django.http import HttpResponse, HttpResponseBase
from django.utils.decorators import method_decorator
from drf_spectacular.utils import extend_schema
from rest_framework.viewsets import ViewSet

from countonme.api.compression import Body, accepts_gzip, gzip_if_accepted
from countonme.api.negotiation import JSONFirst
from countonme.api.parsers import StrictJSONParser, content_length, sent_bytes
from countonme.db.postgresql import at_length
from countonme.observability import metrics
from ownership.etags import ConditionalReads
from ownership.serializers import validate
from sync.feed import pull
from sync.push import push
from sync.push.response import render
from sync.schema import PULLED, PULLED_EXAMPLES, PUSH_EXAMPLES, PUSHED, SENT, ConflictSerializer
from sync.serializers import PullQuery, PushQuery
from sync.turns import LARGE_BODY, turns


class PlainTextIsJSON(JSONFirst):
    """Take `text/plain`, or a missing Content-Type, for JSON: the client library's documented example sends it."""

    def select_parser(self, request, parsers):
        media_type = (request.content_type or "").partition(";")[0].strip().lower()
        return parsers[0] if media_type in ("", "text/plain") else super().select_parser(request, parsers)


# A body of 20 MiB takes up to 300 MB while it is parsed, and Python parses one at a time anyway.
ONE_LARGE_BODY = Lock()


# An answer that is compressed tells its length, which betrays secrets that stand beside what a stranger can put there.
# Here nobody but the device puts anything anywhere, and its token is in no answer.
@method_decorator(gzip_if_accepted, name="dispatch")
@extend_schema(tags=["sync"])
class SyncViewSet(ConditionalReads, ViewSet):
    """A phone's changes, and everybody else's. Everything is asked for by the device that calls, `request.user`."""

    content_negotiation_class = PlainTextIsJSON
    conditional_reads = ("pull",)
    conflicts = ("push",)
    conflict_serializer = ConflictSerializer

    @extend_schema(
        operation_id="pull",
        summary="Pull changes",
        description="Return all changes since `last_pulled_at`, from one snapshot. Live rows are in `updated`.",
        parameters=[PullQuery],
        responses={200: PULLED},
        examples=PULLED_EXAMPLES,
    )
    @at_length()
    def pull(self, request) -> HttpResponseBase:
        query = validate(PullQuery, request.query_params.dict())
        body = Body(gzip=accepts_gzip(request))
        with turns.turn(request.user.pk) as turn:
            rows = pull(request.user, query["last_pulled_at"], query["migration"], body, on_large=turn.become_large)
        metrics.synced_rows("pull", rows)
        metrics.synced_bytes("pull", body.size)
        return body.response("application/json")

    @extend_schema(
        operation_id="push",
        summary="Push changes",
        description="Store all rows except those that are rejected by id. If any row is in conflict, store nothing.",
        parameters=[PushQuery],
        request=SENT,
        responses={200: PUSHED},
        examples=PUSH_EXAMPLES,
    )
    @at_length()
    def push(self, request) -> HttpResponse:
        query = validate(PushQuery, request.query_params.dict())
        with turns.turn(request.user.pk) as turn:
            is_large = content_length(request) > LARGE_BODY
            if is_large:
                turn.become_large()
            sent = sent_bytes(request)
            metrics.synced_bytes("push", len(sent))
            rejected = push(
                request.user,
                parsed_bodies(request, sent),
                query["last_pulled_at"],
                parsing=ONE_LARGE_BODY if is_large else nullcontext(),
                on_large=turn.become_large,
            )
            return HttpResponse(render(rejected), content_type="application/json")


def parsed_bodies(request, sent: bytes) -> Iterator:
    """Yield what was sent, parsed each time."""
    while True:
        yield StrictJSONParser().parse(BytesIO(sent), parser_context=request.parser_context)
