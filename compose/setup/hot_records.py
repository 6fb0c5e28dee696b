"""The module `backbeat.schemas.hot_records`: functions that write and read the hottest records, for compiled wheels.

They are those that `schemas.compiler` makes at run time elsewhere. As source they can be compiled: then an activity is
read in half the time, a worker's result in a third.
"""

from backbeat.schemas.catalogue import RECORDS
from backbeat.schemas.compiler import source_of
from backbeat.schemas.named_types import TYPES

#: Place in the package.
PLACE = "schemas/hot_records.py"
#: Those of every node. Of all records there would be 27 MB of C.
NAMES = ("Activity", "AddChildren", "ChangeNode", "NodeReply", "Signal", "StatusChanges", "TimerFired")
#: Types of what names in the functions stand for, where they save time in C.
_TYPES_OF_NAMES = {"SMALL": "tuple[bytes, ...]"}

_HEAD = f'''"""Functions of the hottest records. Generated: `make wheels`."""
from typing import Any, Final
from backbeat.schemas.catalogue import RECORDS
from backbeat.schemas.compiler import source_of
from backbeat.schemas.named_types import TYPES
names: dict[str, Any] = {{}}
for record in {NAMES!r}:
    names.update(source_of(RECORDS[record].schema, TYPES)[1])
'''


def source() -> str:
    """The module's source."""
    functions: list[str] = []
    names: set[str] = set()
    for record in NAMES:
        function, environment = source_of(RECORDS[record].schema, TYPES)
        functions.append(function)
        names |= environment.keys() - {"Any"}
    return "\n".join(
        (
            _HEAD,
            *(f"{name}: Final[{_TYPES_OF_NAMES.get(name, 'Any')}] = names[{name!r}]" for name in sorted(names)),
            *functions,
        )
    )
