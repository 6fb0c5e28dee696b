"""`python -m backbeat.schemas`: the schemas as files, for readers and other languages.

bundle [NAME …]   self-contained schemas as one JSON array (of all records, or of those named)
order             names of the schema files in an order in which a parser can take them
fingerprints      the fingerprint of every record, as the single-object header has it
generate          write the schema files from the structs, and keep every version in history/ (`make schemas`)
"""

from __future__ import annotations

import json
import sys

from .catalogue import RECORDS, documented
from .generate import generate
from .named_types import TYPES


def main(arguments: list[str]) -> int:
    """Do what the first argument says."""
    match arguments:
        case ["bundle", *names] if all(name in RECORDS for name in names):
            chosen = [documented(name) for name in names or RECORDS]
            sys.stdout.write(json.dumps(chosen, indent=2, ensure_ascii=False) + "\n")
        case ["bundle", *names]:
            unknown = next(name for name in names if name not in RECORDS)
            sys.stderr.write(f"{unknown} is no record. What to do: choose from {', '.join(RECORDS)}.\n")
            return 2
        case ["order"]:
            sys.stdout.writelines(f"{name}\n" for name in TYPES)
        case ["fingerprints"]:
            sys.stdout.writelines(f"{record.fingerprint.hex()} {record.full_name}\n" for record in RECORDS.values())
        case ["generate"]:
            sys.stdout.writelines(f"{line}\n" for line in generate())
        case _:
            sys.stderr.write(__doc__ or "")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
