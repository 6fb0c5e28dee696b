"""A broker's storage before its first start: formatted for KRaft, as Kafka's own tool does it.

The tool is a Java that runs for most of a second, and only `meta.properties` differs between what it writes for two
brokers of a version. So it runs once: its files stay beside the jars, and later brokers get copies.
"""

import base64
import contextlib
import shutil
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

from backbeat.compose.local.jars.jars import jars_folder

_PROPERTIES = "meta.properties"


def make_id() -> str:
    """A new id, of a cluster or a directory, as Kafka writes them."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def format_storage(folder: Path, cluster_id: str, node_id: int, run_tool: Callable[[], None]) -> None:
    """Format a folder once; Kafka refuses to start on one that is not. `run_tool` has Kafka's tool do it."""
    if (folder / _PROPERTIES).is_file():
        return
    template = jars_folder() / "formatted"
    if folder.exists():
        # Without its properties, but perhaps with records: the tool knows what to do with it.
        run_tool()
        return
    if not template.is_dir():
        run_tool()
        _keep(folder, template)
        return
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(template, unfinished)
    properties = {"version": "1", "cluster.id": cluster_id, "node.id": str(node_id), "directory.id": make_id()}
    (unfinished / _PROPERTIES).write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
    unfinished.rename(folder)


def read_cluster_id(folder: Path) -> str:
    """The id of the cluster for which a folder was formatted."""
    lines = (folder / _PROPERTIES).read_text().splitlines()
    return next(line.removeprefix("cluster.id=") for line in lines if line.startswith("cluster.id="))


def _keep(folder: Path, template: Path) -> None:
    """Keep what the tool wrote into a new folder; where that cannot be, it runs again for the next."""
    # No permission, no room, or another process was first.
    with contextlib.suppress(OSError), tempfile.TemporaryDirectory(dir=template.parent, prefix="formatted-") as parent:
        copy = shutil.copytree(folder, Path(parent) / "copy", ignore=shutil.ignore_patterns(_PROPERTIES))
        copy.rename(template)
