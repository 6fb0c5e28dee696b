"""docs/reference/settings.md says what the commands know."""

import re
from pathlib import Path

from backbeat.compose.cli.show.settings_table import put
from backbeat.schemas.environment import KNOWN

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "reference" / "settings.md"


def test_the_table_is_as_the_commands_are():
    text = DOCUMENT.read_text()

    assert put(text) == text, (
        "write it anew: .venv/bin/python -m backbeat.compose.cli.show.settings_table docs/reference/settings.md"
    )


def test_every_setting_says_what_it_means():
    rows = [line.split(" | ") for line in DOCUMENT.read_text().splitlines() if line.startswith("| `--")]

    assert len(rows) > 50
    assert [row[0] for row in rows if row[-1].strip(" |") == ""] == []


def test_every_variable_is_known_and_none_is_known_that_is_not_there():
    """What the environment's check knows is what commands and documents say."""
    named = set(re.findall(r"`(BACKBEAT_[A-Z_]*[A-Z])`", DOCUMENT.read_text()))

    assert named - KNOWN == set()
    assert KNOWN - named == set()


def test_every_variable_that_the_code_reads_is_in_the_document():
    folders = ("compose", "gateway", "schemas", "streams")
    sources = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    # Neither the prefix of generated names, nor what is only written into an example.
    named = set().union(*(re.findall(r'"(BACKBEAT_[A-Z_]*[A-Z])"', path.read_text()) for path in sources))

    assert [name for name in sorted(named) if name not in DOCUMENT.read_text()] == []
