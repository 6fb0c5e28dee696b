"""`python -m backbeat.schemas`: the schemas for other languages, and the keeping of their versions.

bundle [NAME …]   self-contained schemas as one JSON array (of all records, or of those named)
order             names of the schema files in an order in which a parser can take them
fingerprints      the fingerprint of every record, as the single-object header has it
keep              copy today's versions to history/ (run it after every change of a schema)
"""

from __future__ import annotations

import json
import sys

from .catalogue import HISTORY, RECORDS, load_sources


def main(arguments: list[str]) -> int:
    """Do what the first argument says."""
    match arguments:
        case ["bundle", *names] if all(name in RECORDS for name in names):
            chosen = [RECORDS[name].schema for name in names or RECORDS]
            sys.stdout.write(json.dumps(chosen, indent=2, ensure_ascii=False) + "\n")
        case ["bundle", *names]:
            unknown = next(name for name in names if name not in RECORDS)
            sys.stderr.write(f"{unknown} is no record. What to do: choose from {', '.join(RECORDS)}.\n")
            return 2
        case ["order"]:
            sys.stdout.writelines(f"{name}\n" for name in load_sources())
        case ["fingerprints"]:
            sys.stdout.writelines(f"{record.fingerprint.hex()} {record.full_name}\n" for record in RECORDS.values())
        case ["keep"]:
            keep()
        case _:
            sys.stderr.write(__doc__ or "")
            return 2
    return 0


def keep() -> None:
    """Copy today's version of every record to history/ unless it is there."""
    HISTORY.mkdir(exist_ok=True)
    for record in RECORDS.values():
        path = HISTORY / f"{record.fingerprint.hex()}.avsc"
        if not path.exists():
            path.write_text(json.dumps(record.schema, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            sys.stdout.write(f"kept {path.name} ({record.name})\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
