"""What tests on a real Kafka share. The Kafka itself is in tests/conftest.py."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder are `integration`: a run without Java leaves them out with -m 'not integration'."""
    for item in items:
        if item.path.is_relative_to(FOLDER):
            item.add_marker(pytest.mark.integration)
