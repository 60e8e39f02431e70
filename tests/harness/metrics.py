"""The metrics that the service has."""

from django.urls import get_resolver
from prometheus_client import CollectorRegistry

from countonme.observability import metrics


def declared_metrics() -> dict[str, set[str]]:
    """Return the labels of each metric by its name, without suffixes such as `_total` and `_bucket`."""
    get_resolver().url_patterns  # noqa: B018 - imports the modules that declare gauges
    instruments = vars(metrics.Instruments(CollectorRegistry())).values()
    counted = {one._name: set(one._labelnames) for one in instruments if hasattr(one, "_labelnames")}
    return counted | {name: set() for name in metrics.gauges.functions}
