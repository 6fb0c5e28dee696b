"""Metrics of every process: families in Prometheus' terms, from plain numbers."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import metadata

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from backbeat.observe.histograms import Buckets


def new_registry() -> CollectorRegistry:
    """A registry with the metrics of every process: its memory, its processor time, its Python."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def version() -> str:
    """This program's version."""
    try:
        return metadata.version("backbeat")
    except metadata.PackageNotFoundError:
        return "unknown"


def counter(name: str, text: str, value: float) -> Metric:
    """A counter without labels; `name` without `_total`."""
    return CounterMetricFamily(name, text, value=value)


def gauge(name: str, text: str, value: float) -> Metric:
    """A gauge without labels."""
    return GaugeMetricFamily(name, text, value=value)


def counters(name: str, text: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    """A counter with labels."""
    family = CounterMetricFamily(name, text, labels=labels)
    for label_values, value in values:
        family.add_metric(label_values, value)
    return family


def gauges(name: str, text: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], float]]) -> Metric:
    """A gauge with labels."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for label_values, value in values:
        family.add_metric(label_values, value)
    return family


def histograms(
    name: str, text: str, labels: tuple[str, ...], values: Iterable[tuple[tuple[str, ...], Buckets]]
) -> Metric:
    """A histogram with labels, or, with none of them, a single one."""
    family = HistogramMetricFamily(name, text, labels=labels)
    for label_values, buckets in values:
        family.add_metric(label_values, buckets.cumulative(), buckets.total)
    return family
