"""`backbeat init`: a first project, which passes its own test and runs at once."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click

from backbeat.compose.cli.exit_codes import CommandError

_TEMPLATES = Path(__file__).parents[2] / "first_project"
#: File of the project -> its template and summary.
_FILES = {
    "orders.py": ("orders.py", "three steps of a workflow, and the worker that runs them"),
    "test_orders.py": ("test_orders.py", "their tests, without a broker"),
    "README.md": ("README.md", "how to test, run and look at it"),
    "pyproject.toml": ("pyproject.toml", "what it needs"),
    ".gitignore": ("gitignore", ""),
}
#: Placeholder of the project's name in the templates.
_PLACEHOLDER = "PROJECT"


@click.command(
    epilog="""\b
Examples:
  backbeat init shop     in a new folder
  backbeat init .        in this one
"""
)
@click.argument("folder", type=click.Path(path_type=Path))
def init(folder: Path) -> None:
    """Write a first project into FOLDER: a workflow, its worker, its test, a README. Nothing is overwritten."""
    existing = [name for name in _FILES if (folder / name).exists() or (folder / name).is_symlink()]
    if existing:
        raise CommandError(
            f"there is {', '.join(existing)} in {folder} already, and nothing was written. "
            "What to do: name another folder, or move what is there."
        )
    name = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-") or "first-project"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path, (template, _) in _FILES.items():
            with (folder / path).open("x", encoding="utf-8") as file:
                file.write((_TEMPLATES / template).read_text(encoding="utf-8").replace(_PLACEHOLDER, name))
    except OSError as error:
        raise CommandError(f"{error.filename or folder} cannot be written: {error.strerror}.") from error
    click.echo(f"Written to {folder}:")
    for path, (_, summary) in _FILES.items():
        if summary:
            click.echo(f"  {path:<16} {summary}")
    click.echo("Next:")
    if folder.resolve() != Path.cwd():
        click.echo(f"  cd {shlex.quote(str(folder))}")
    click.echo("  pytest                            its tests")
    click.echo("  backbeat dev                      Kafka, an engine and an HTTP gateway, in a terminal of their own")
    click.echo("  backbeat worker orders --reload   its worker, in another")
    click.echo('  backbeat signal Orders "Order 1" "Take order" --arg Ada --arg 2 --wait')
