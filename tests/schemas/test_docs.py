"""What the wire contract says of the schemas is so."""

import re
from inspect import getdoc
from pathlib import Path

from backbeat.schemas.catalogue import RECORDS
from backbeat.schemas.named_types import COMMANDS

DOCS = Path(__file__).parents[2] / "docs"


def test_fingerprints():
    rows = re.findall(r"\| `([0-9a-f]{16})` \| (\w+) \|", (DOCS / "reference" / "wire.md").read_text())
    # A fingerprint that is another one is another version: records that wait in topics have the one before.
    assert {name: key for key, name in rows} == {name: record.fingerprint.hex() for name, record in RECORDS.items()}


def test_the_avro_example():
    header = RECORDS["SignalRequest"].fingerprint.hex()
    assert f'bytes.fromhex("c301" "{header}")' in (DOCS / "reference" / "signals.md").read_text()


def test_every_record_has_its_route():
    text = (DOCS / "reference" / "wire.md").read_text()
    routes = text[text.index("| record | routed by |") : text.index("## Ids")]
    named = set(re.findall(r"[A-Z]\w+", routes))
    others = {"Activity", "StatusChanges", "SignalRequest", "MessageRequest"}
    assert {name for name in RECORDS if not name.endswith("Reply")} - others <= named


def test_commands_of_the_engine_alone_are_named():
    text = (DOCS / "reference" / "wire.md").read_text()
    (sentence,) = re.findall(r"who asks\. ([^.]*) and any command with a `source`", text)
    own = {command.__name__ for command in COMMANDS if "Only the engine sends it." in getdoc(command)}
    assert set(re.findall(r"\w+", sentence)) == own
