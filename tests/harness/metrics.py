"""The metrics that the service has."""

from django.urls import get_resolver
from prometheus_client import CollectorRegistry

from countonme.observability import metrics

SUFFIXES = {"histogram": ("_bucket", "_count", "_sum"), "counter": ("_total",)}


def instruments() -> list:
    found = vars(metrics.Instruments(CollectorRegistry())).values()
    return [one for one in found if hasattr(one, "_labelnames")]


def gauges() -> set[str]:
    get_resolver().url_patterns  # noqa: B018 - imports the modules that declare gauges
    return set(metrics.gauges.functions)


def declared_metrics() -> dict[str, set[str]]:
    """Return the labels of each metric by its name, without suffixes such as `_total` and `_bucket`."""
    return {one._name: set(one._labelnames) for one in instruments()} | {name: set() for name in gauges()}


def sample_names() -> set[str]:
    """Return the names that a query can use, with suffixes."""
    return gauges() | {f"{one._name}{suffix}" for one in instruments() for suffix in SUFFIXES[one._type]}
