"""Links out of the console, such as to logs or traces: templates of the installation, filled in for one page."""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from typing import NamedTuple
from urllib.parse import quote

from backbeat.gateway.console.hosts import origin_of

#: Words that a template may have in braces.
FIELDS = ("tid", "node_id", "workflow_id", "client", "subject")
_NAME_CHARACTERS_MAX = 40
_FORM = "write it as 'Logs=https://logs.example/search?q={tid}'"


class LinkTemplate(NamedTuple):
    """A link's name, and its URL with words in braces."""

    name: str
    url: str


def read_link(text: str) -> LinkTemplate:
    """The template of `NAME=URL`. ValueError: it is none, with what is right."""
    name, equals, url = text.partition("=")
    name = name.strip()
    if not equals or not name or len(name) > _NAME_CHARACTERS_MAX:
        raise ValueError(f"a name of up to {_NAME_CHARACTERS_MAX} characters comes first: {_FORM}")
    # Words of a page never choose the host.
    if origin_of(url) is None:
        raise ValueError(f"a URL begins with http:// or https:// and a host, and has no spaces or quotes: {_FORM}")
    try:
        fields = [part[1:] for part in string.Formatter().parse(url) if part[1] is not None]
    except ValueError as error:
        raise ValueError(f"its braces do not fit ({error}): {_FORM}") from error
    if any(field not in FIELDS or spec or conversion for field, spec, conversion in fields):
        raise ValueError(f"braces hold {', '.join(FIELDS[:-1])} or {FIELDS[-1]}, and nothing else: {_FORM}")
    return LinkTemplate(name, url)


def links_of(templates: Iterable[tuple[str, str]], words: Mapping[str, str]) -> list[LinkTemplate]:
    """The links of a page that has these words; one whose template names another word, or an empty one, is left out."""
    encoded = {name: quote(word, safe="", errors="replace") for name, word in words.items() if word}
    links = []
    for name, url in templates:
        try:
            links.append(LinkTemplate(name, url.format_map(encoded)))
        except KeyError:
            continue
    return links
