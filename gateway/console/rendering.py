"""Templates and static files, read once when the gateway starts."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from backbeat.gateway.console.show import icons, statuses, times
from backbeat.gateway.console.show.payload import is_sealed, payload
from backbeat.gateway.console.show.spark import spark_path
from backbeat.gateway.console.show.visible import cut, visible_value
from backbeat.payload.values import id_text

_FOLDER = Path(__file__).parent
_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

#: Paces from here on are whole numbers.
_WHOLE_FROM = 10


class StaticFile:
    """A file that pages link to."""

    def __init__(self, path: Path) -> None:
        self.body = path.read_bytes()
        self.content_type = _TYPES[path.suffix]


def read_static_files() -> dict[str, StaticFile]:
    """Static files by name."""
    return {path.name: StaticFile(path) for path in sorted((_FOLDER / "static").iterdir()) if path.suffix in _TYPES}


class Templates:
    """Templates of all pages."""

    def __init__(self) -> None:
        self.files = read_static_files()
        digest = hashlib.sha256(b"".join(file.body for file in self.files.values()))
        #: Part of the address of static files: another one when one of them changes.
        self.version = digest.hexdigest()[:12]
        self._environment = Environment(
            loader=FileSystemLoader(_FOLDER / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=visible_value,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        self._environment.filters.update(
            {
                "ago": times.ago,
                "bucket": lambda node: statuses.bucket_of(node.server),
                "cut": cut,
                "duration": times.length,
                "distance": times.distance,
                "exact": _exact,
                "id": id_text,
                "is_sealed": is_sealed,
                "json_line": _json_line,
                "moment": times.moment,
                "pace": lambda number: f"{number:,.0f}" if number >= _WHOLE_FROM else f"{number:.1f}",
                "payload": payload,
                "quoted": lambda text: quote(text, safe="", errors="replace"),
                "spark_path": spark_path,
                "status": lambda node: statuses.status_text(node.server, node.client),
                "thousands": lambda number: f"{number:,}",
            }
        )

        self._environment.globals.update({"icon": icons.icon, "state_of": icons.state_of})
        for name in self._environment.list_templates():
            # Now, and not when the files may be those of another version.
            self._environment.get_template(name)

    def render(self, name: str, values: dict[str, Any]) -> str:
        """A page as HTML."""
        return self._environment.get_template(name).render(values)


def _exact(text: str) -> Markup:
    """A hidden field's value: nobody sees it, and it comes back as it is, with what cannot be seen."""
    return escape(text.encode(errors="replace").decode())


def _json_line(data: bytes) -> str:
    """A subject's JSON text as text of a line."""
    return data.decode(errors="replace")
