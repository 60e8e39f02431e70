"""Health checks: `/healthz` (liveness) and `/readyz` (readiness)."""

from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from drf_spectacular.utils import OpenApiResponse, extend_schema
from rest_framework import serializers
from rest_framework.response import Response
from rest_framework.views import APIView

from countonme.api.errors import Unavailable, timeout_error_class
from countonme.api.openapi import ErrorSerializer
from countonme.db.availability import DATABASE_AWAY, retry_if_connection_died
from countonme.db.postgresql import ping


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
        """Returns 200 if the database can be reached and all migrations are applied."""
        try:
            missing = retry_if_connection_died(self.missing_migrations)
        except DATABASE_AWAY as error:
            if timeout_error_class(error):
                raise
            raise Unavailable("The database cannot be reached") from error
        if missing:
            raise Unavailable(f"Migrations are not applied: {', '.join(missing)}")
        return Response({"status": "ok"})

    def missing_migrations(self) -> list[str]:
        ping()
        if ReadyView.migrated:  # checked until all are applied: loading all migration files is slow
            return []
        executor = MigrationExecutor(connection)
        plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
        ReadyView.migrated = not plan
        return [f"{migration.app_label}.{migration.name}" for migration, _ in plan]
