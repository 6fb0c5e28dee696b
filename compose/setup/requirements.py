"""The part of the lock file that an installation needs: the dependencies of some extras, none of developers alone.

    python compose/setup/requirements.py engine gateway > run.txt
    pip install --require-hashes --no-deps -r run.txt

It imports the standard library only and nothing of ours: an image runs it before anything is installed. One lock
file rather than one for each kind of installation: the deployed versions cannot differ from the tested ones.
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
    """The lock file, or a request of it, is not valid; the text says what to do."""


def normal(name: str) -> str:
    """A distribution's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def entries(lock: str) -> dict[str, str]:
    """Name -> its lines in the lock file: the version, the hashes and the packages that ask for it."""
    lines_by_name: dict[str, str] = {}
    for text in re.split(r"^(?=[A-Za-z0-9])", lock, flags=re.MULTILINE):
        name = _NAME.match(text)
        if name is not None:
            lines_by_name[normal(name[0])] = text.rstrip() + "\n"
    return lines_by_name


def asked_by(entry: str) -> set[str]:
    """The names that an entry's `# via` comment has."""
    _, _, comment = entry.partition("# via")
    return {normal(word) for line in comment.splitlines() for word in _NAME.findall(line.partition("(")[0])[:1]}


def direct(project: dict[str, object], extras: Iterable[str]) -> set[str]:
    """The names that pyproject.toml asks for: always, and for these extras."""
    table = project["project"]
    assert isinstance(table, dict)
    extra_requirements = table["optional-dependencies"]
    requirements = list(table["dependencies"])
    for extra in extras:
        if extra not in extra_requirements:
            raise LockError(
                f"there is no extra {extra!r}. What to do: name some of {', '.join(sorted(extra_requirements))}."
            )
        requirements += extra_requirements[extra]
    names = {normal(name[0]) for name in map(_NAME.match, requirements) if name is not None}
    # Our own name stands for other extras of ours.
    extras_within = [
        extra for requirement in requirements for extra in re.findall(rf"^{_PROJECT}\[(.*)\]", requirement)
    ]
    return names - {_PROJECT} | (direct(project, ",".join(extras_within).split(",")) if extras_within else set())


def select(lock: str, project: dict[str, object], extras: Iterable[str], also: Iterable[str] = ()) -> str:
    """The entries that these extras need, and what those need, in the lock file's order. LockError."""
    entry_by_name = entries(lock)
    needed = direct(project, extras) | {normal(name) for name in also}
    missing = needed - set(entry_by_name)
    if missing:
        raise LockError(f"the lock file lacks {', '.join(sorted(missing))}. What to do: make lock.")
    while True:
        indirect = {name for name, entry in entry_by_name.items() if asked_by(entry) & needed - {_PROJECT}} - needed
        if not indirect:
            return "".join(entry for name, entry in entry_by_name.items() if name in needed)
        needed |= indirect


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
