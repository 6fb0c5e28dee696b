"""The variables that the deployment files set: each is one that some program reads."""

from __future__ import annotations

import re

from tests.compose.deploy.files import DOCKER, KUBERNETES, PASSWORDS, SYSTEMD
from tests.compose.deploy.words import known_variables


def test_every_variable_that_a_file_sets_is_read_by_something():
    # The image's own, and what compose puts in.
    known = known_variables() | {"BACKBEAT_HEALTH_URL", "BACKBEAT_IMAGE", "BACKBEAT_PARTITIONS", *PASSWORDS}
    paths = [path for folder in (DOCKER, SYSTEMD, KUBERNETES) for path in folder.rglob("*") if path.is_file()]
    used = {(path.name, name) for path in paths for name in re.findall(r"BACKBEAT_[A-Z_]+", path.read_text())}

    assert len(used) > len(paths)
    assert {(path, name) for path, name in used if name not in known} == set()
