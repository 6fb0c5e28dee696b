"""The part of the lock file that an installation needs: what some extras ask for, nothing of what only developers do.

    python compose/setup/requirements.py engine gateway > run.txt
    pip install --require-hashes --no-deps -r run.txt

It imports the standard library only and nothing of ours: an image runs it before anything is installed. One lock
file rather than one for each kind of installation: what is deployed cannot differ from what is tested.
"""

import re
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PROJECT = "backbeat"


class LockError(Exception):
    """The lock file or what was asked of it is not as it must be; the text says what to do."""


def normal(name: str) -> str:
    """A distribution's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def entries(lock: str) -> dict[str, str]:
    """Name -> its lines in the lock file: the version, the hashes and who asks for it."""
    found: dict[str, str] = {}
    for part in re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE):
        name = _NAME.match(part)
        if name is not None:
            found[normal(name[0])] = part.rstrip() + "\n"
    return found


def asked_by(entry: str) -> set[str]:
    """The names that an entry's `# via` comment has."""
    _, _, comment = entry.partition("# via")
    return {normal(word) for line in comment.splitlines() for word in _NAME.findall(line.partition("(")[0])[:1]}


def direct(project: dict[str, object], extras: Iterable[str]) -> set[str]:
    """The names that pyproject.toml asks for: always, and for these extras."""
    table = project["project"]
    assert isinstance(table, dict)
    known = table["optional-dependencies"]
    wanted = list(table["dependencies"])
    for extra in extras:
        if extra not in known:
            raise LockError(f"there is no extra {extra!r}. What to do: name some of {', '.join(sorted(known))}.")
        wanted += known[extra]
    names = {normal(name[0]) for name in map(_NAME.match, wanted) if name is not None}
    # Our own name stands for other extras of ours.
    others = [extra for each in wanted for extra in re.findall(rf"^{_PROJECT}\[(.*)\]", each)]
    return names - {_PROJECT} | (direct(project, ",".join(others).split(",")) if others else set())


def select(lock: str, project: dict[str, object], extras: Iterable[str], also: Iterable[str] = ()) -> str:
    """The entries that these extras need, and what those need, in the lock file's order. LockError."""
    known = entries(lock)
    needed = direct(project, extras) | {normal(name) for name in also}
    missing = needed - set(known)
    if missing:
        raise LockError(f"the lock file lacks {', '.join(sorted(missing))}. What to do: make lock.")
    while True:
        more = {name for name, entry in known.items() if asked_by(entry) & needed - {_PROJECT}} - needed
        if not more:
            return "".join(entry for name, entry in known.items() if name in needed)
        needed |= more


def main(words: list[str]) -> int:
    """`requirements.py EXTRA… [+PACKAGE…]`: written to standard output; 1 and a line with the reason if it cannot."""
    lock = (ROOT / "requirements-lock.txt").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = [word for word in words if not word.startswith("+")]
    also = [word.removeprefix("+") for word in words if word.startswith("+")]
    try:
        sys.stdout.write(select(lock, project, extras, also))
    except LockError as error:
        print(f"requirements.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
