"""Errors of the console: pages that say what happened and what to do."""

from __future__ import annotations


class PageError(Exception):
    """A refused request: status, title, and what to do."""

    def __init__(
        self, status: int, title: str, text: str, headers: dict[str, str] | None = None, *, keeps_form: bool = False
    ) -> None:
        super().__init__(text)
        self.status = status
        self.title = title
        self.text = text
        self.headers = headers or {}
        #: True: the form that was sent is on the page, to be sent again.
        self.keeps_form = keeps_form


def not_found(noun: str) -> PageError:
    """404: it never was, it was removed, or it is another client's."""
    return PageError(
        404,
        f"There is no such {noun}",
        f"No {noun} with this address was ever made here, or it was removed by its retention, or it belongs to a "
        "client that you may not see.",
    )


def forbidden(right: str) -> PageError:
    """403: a right is missing."""
    return PageError(
        403,
        "You may not do this",
        f"This needs {right}. Whoever runs this installation can give it: backbeat person set NAME …",
    )
