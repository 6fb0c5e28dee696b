"""`backbeat init`: the project that it writes passes its own test, and nothing is overwritten."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from backbeat.compose.cli.program import backbeat

ROOT = Path(__file__).parents[3]


def init(folder: object):
    return CliRunner().invoke(backbeat, ["init", str(folder)])


def test_the_project_passes_its_own_test_and_each_file_is_shown(tmp_path):
    folder = tmp_path / "deep" / "My Roastery"
    done = init(folder)

    assert done.exit_code == 0, done.output
    shown = set(re.findall(r"^  (\w+\.\w+) ", done.output, re.MULTILINE))
    assert {path.name for path in folder.iterdir()} == shown | {".gitignore"}
    assert "PROJECT" not in "".join(path.read_text() for path in folder.iterdir())
    assert tomllib.loads((folder / "pyproject.toml").read_text())["project"]["name"] == "my-roastery"
    assert f"cd '{folder}'" in done.output
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (tested.returncode, "2 passed" in tested.stdout) == (0, True), tested.stdout + tested.stderr


def test_the_readme_shows_the_project_as_it_is_written():
    (shown,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)

    assert shown in (ROOT / "compose" / "first_project" / "orders.py").read_text()


def test_its_test_fails_where_the_workflow_is_wrong(tmp_path):
    folder = tmp_path / "shop"
    init(folder)
    orders = folder / "orders.py"
    orders.write_text(orders.read_text().replace("    order.add(pack, bags, paid.result)", "    # "))

    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert tested.returncode == 1, tested.stdout


def test_the_folder_may_be_this_one_and_have_other_things_in_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "LICENSE").write_text("mine")

    done = init(".")

    assert done.exit_code == 0, done.output
    assert "  cd " not in done.output
    assert (tmp_path / "LICENSE").read_text() == "mine"


@pytest.mark.parametrize("name", ["orders.py", "README.md", ".gitignore"])
def test_a_new_project_overwrites_no_file_and_leaves_none_half_written(tmp_path, name):
    (tmp_path / name).write_text("mine")

    done = init(tmp_path)

    assert done.exit_code == 1
    assert f"there is {name} in {tmp_path} already, and nothing was written" in done.output
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "mine")]


def test_a_link_that_leads_nowhere_is_not_followed(tmp_path):
    (tmp_path / "orders.py").symlink_to(tmp_path / "elsewhere")

    assert init(tmp_path).exit_code == 1
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    file = tmp_path / "file"
    file.write_text("")

    for folder in (file, file / "shop", Path("/proc/shop")):
        done = init(folder)
        assert done.exit_code == 1
        assert "cannot be written: " in done.output
