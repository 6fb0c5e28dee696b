"""What a restore refuses before it asks Kafka for more than whether it is empty."""

from __future__ import annotations

import io
import json
import shutil
import stat

import msgspec
import pytest

from backbeat.compose.backup.errors import BackupError
from backbeat.compose.backup.manifest import FORMAT, NAME, Manifest, read_manifest, write_manifest
from backbeat.compose.backup.parts import open_backup_store
from backbeat.compose.backup.restore import Restore
from backbeat.streams.core.records import Meta

MANIFEST = Manifest(
    format=FORMAT, version="1", made_at="2026-11-29T00:00:00+00:00", partitions=1, positions={}, metas={}, topics=[]
)


def test_a_folder_without_a_manifest_is_no_backup(tmp_path):
    with pytest.raises(BackupError, match=r"holds no backup.* What to do: "):
        read_manifest(open_backup_store(str(tmp_path)), str(tmp_path))


def test_a_format_of_a_newer_release_is_told_from_damage(tmp_path):
    store = open_backup_store(str(tmp_path))
    write_manifest(store, msgspec.structs.replace(MANIFEST, format=FORMAT + 1))
    with pytest.raises(BackupError, match=rf"has the format {FORMAT + 1}, this Backbeat knows {FORMAT}"):
        read_manifest(store, str(tmp_path))


def test_a_manifest_that_somebody_has_changed_is_damaged(tmp_path):
    store = open_backup_store(str(tmp_path))
    write_manifest(store, MANIFEST)
    document = json.loads((tmp_path / NAME).read_text())
    document["manifest"]["partitions"] = 2
    (tmp_path / NAME).write_text(json.dumps(document))
    with pytest.raises(BackupError, match="another checksum"):
        read_manifest(store, str(tmp_path))


def test_the_state_of_a_newer_release_is_refused(kafka, tmp_path):
    meta = msgspec.msgpack.encode(Meta(rules_version=99))
    manifest = msgspec.structs.replace(MANIFEST, metas={0: meta})
    words = {"application_id": "nobody", "replication": 1, "development": True}
    restore = Restore(kafka, open_backup_store(str(tmp_path)), manifest, "it", lambda _: None, **words)
    with pytest.raises(BackupError, match=r"the backup it: partition 0: rules of version 99"):
        restore._check_known()


def test_only_its_owner_reads_a_backup(tmp_path):
    folder = tmp_path / "backups" / "monday"
    for address in (str(folder), folder.as_uri()):
        store = open_backup_store(address)
        store.put("backbeat.state/0/000000.gz", io.BytesIO(b"it"))
        write_manifest(store, MANIFEST)
        modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.parent.rglob("*") if path.is_file()}
        folders = [folder.parent, *(path for path in folder.parent.rglob("*") if path.is_dir())]
        assert (modes, {stat.S_IMODE(path.stat().st_mode) for path in folders}) == ({0o600}, {0o700})
        shutil.rmtree(folder.parent)
