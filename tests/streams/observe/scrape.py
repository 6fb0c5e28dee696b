"""What a process shows of itself, as Prometheus reads it, and what docs/reference/metrics.md says of that."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[3]

#: Family's name -> {(its labels' values, joined by commas): value}.
Figures = dict[str, dict[str, float]]


def get(url: str) -> tuple[int, str]:
    """Status and body, whatever the status."""
    try:
        with urllib.request.urlopen(url, timeout=120) as answer:  # noqa: S310 - it is of our own process
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def scrape(url: str) -> Figures:
    """The figures of the process at this address: of a histogram its count, under the name `<family>_count`."""
    status, text = get(f"{url}/metrics")
    assert status == 200, text
    figures: Figures = {}
    for family in text_string_to_metric_families(text):
        histogram = family.type == "histogram"
        suffix = "_count" if histogram else ""
        samples = [sample for sample in family.samples if not histogram or sample.name.endswith("_count")]
        figures[family.name + suffix] = {",".join(sample.labels.values()): sample.value for sample in samples}
    return figures


def shown(figures: Figures) -> set[str]:
    """The families that are ours."""
    return {name.removesuffix("_count") for name in figures if name.startswith("backbeat_")}


def documented(*parts: str) -> set[str]:
    """The metrics of some parts in docs/reference/metrics.md, as Prometheus' parser names their families."""
    text = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    names = re.findall(r"^\| `(backbeat_\w+)` \|", text, re.MULTILINE)
    return {name.removesuffix("_total") for name in names if name.split("_")[1] in parts}
