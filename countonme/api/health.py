"""Health checks: `/healthz` (liveness) and `/readyz` (readiness)."""

import logging

from django.db import Error, connection
from django.db.migrations.executor import MigrationExecutor
from drf_spectacular.utils import OpenApiResponse, extend_schema, extend_schema_serializer
from rest_framework import serializers
from rest_framework.response import Response
from rest_framework.views import APIView

from countonme.api.errors import Unavailable, timeout_error_class
from countonme.api.openapi import ErrorSerializer
from countonme.db.availability import DATABASE_AWAY, retry_if_connection_died
from countonme.db.postgresql import encoding_fault, ping
from countonme.observability import metrics

log = logging.getLogger(__name__)


@extend_schema_serializer(component_name="ServiceStatus")
class StatusSerializer(serializers.Serializer):
    status = serializers.ChoiceField(["ok"])


class ProbeView(APIView):
    authentication_classes = ()
    permission_classes = ()


@extend_schema(tags=["service"])
class HealthView(ProbeView):
    @extend_schema(operation_id="checkLiveness", summary="Liveness probe", responses={200: StatusSerializer})
    def get(self, request) -> Response:
        """Returns 200 if the process can respond. It does not use the database."""
        return Response({"status": "ok"})


@extend_schema(tags=["service"])
class ReadyView(ProbeView):
    migrated = False

    @extend_schema(
        operation_id="checkReadiness",
        summary="Readiness probe",
        responses={200: StatusSerializer, 503: OpenApiResponse(ErrorSerializer, description="`detail` is the reason.")},
    )
    def get(self, request) -> Response:
        """Returns 200 if the database can be reached, can store every text, and all migrations are applied."""
        try:
            fault = retry_if_connection_died(self.find_fault)
        except DATABASE_AWAY as error:
            if timeout_error_class(error):
                raise
            log.warning("Not ready: the database cannot be reached", exc_info=error)
            raise Unavailable("The database cannot be reached") from error
        if fault:
            log.warning("Not ready: %s", fault)
            raise Unavailable(fault)
        return Response({"status": "ok"})

    def find_fault(self) -> str | None:
        """Return why the service is not ready, or None if it is."""
        ping()
        if fault := encoding_fault(connection):
            return fault
        missing = self.missing_migrations()
        return f"Migrations are not applied: {', '.join(missing)}" if missing else None

    def missing_migrations(self) -> list[str]:
        if ReadyView.migrated:  # checked until all are applied: loading all migration files is slow
            return []
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        ReadyView.migrated = not plan
        return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]


@metrics.gauge("countonme_ready", "1 if /readyz returns 200, 0 if it doesn't.")
def is_ready() -> int:
    try:
        return int(retry_if_connection_died(ReadyView().find_fault) is None)
    except Error:
        return 0
