import contextvars
import logging
from collections.abc import Callable
from typing import Any

from backbeat import logs
from backbeat.activities.context import Activity
from backbeat.activities.running import running

Make = Callable[..., Activity]
LOGGER = logging.getLogger("tests.shop")


class Kept(logging.Handler):
    """Keeps what would be written."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter("%(message)s|%(workflow)s|%(node)s|%(attempt)s|%(tid)s"))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


def test_records_say_what_they_belong_to(activity: Make) -> None:
    handler = Kept()
    logging.getLogger().addHandler(handler)
    purchase = activity(tid="tid-1;00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    try:
        first, second = logs.install(), logs.install()
        LOGGER.warning("before")

        def inside() -> None:
            running.set(purchase)
            LOGGER.warning("paid")
            LOGGER.warning("mine", extra={"node": "its own"})

        contextvars.copy_context().run(inside)
        first()
        # Another worker still wants it.
        LOGGER.warning("between")
        second()
    finally:
        logging.getLogger().removeHandler(handler)
    ids = f"{purchase.workflow_id}|{purchase.id}|2|tid-1"
    assert handler.lines == [
        "before||||", f"paid|{ids}", f"mine|{purchase.workflow_id}|its own|2|tid-1", "between||||",
    ]  # fmt: skip
    assert logs._wanted == {}
    assert logs._filter not in handler.filters


def test_a_handlers_filter_is_not_taken_away_from_its_owner(activity: Make) -> None:
    given: Any = logs.ActivityFilter()
    handler = Kept()
    handler.addFilter(given)
    logging.getLogger().addHandler(handler)
    try:
        logs.install()()
    finally:
        logging.getLogger().removeHandler(handler)
    assert handler.filters == [given]
