"""What the documents say that can be looked up: statuses are those of the code, and every link leads somewhere."""

import re
from pathlib import Path

import pytest

from backbeat.schemas.messages.status import word
from backbeat.streams.core.tree.status import CLIENT_TRANSITIONS, SERVER_TRANSITIONS

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "DECISIONS.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
#: A file or folder by its path from the root.
PATH = re.compile(r"(?<![\w/.-])((?:compose|docs|gateway|schemas|sdk|streams|tests)/[\w./-]*\w)(?![*<{\w])")


def diagram(transitions, left_out):
    """A Mermaid state diagram; what every status may become is left to the text."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> pending"]
    for status, following in transitions.items():
        lines += [
            f"    {word(status)} --> {word(successor)}"
            for successor in sorted(following)
            if successor is not status and word(successor) not in left_out
        ]
    return "\n".join([*lines, "```"])


def table(transitions):
    lines = ["| from | to |", "| --- | --- |"]
    for status, following in transitions.items():
        names = ", ".join(f"`{word(successor)}`" for successor in sorted(following)) or "nothing"
        lines.append(f"| `{word(status)}` | {names} |")
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("transitions", "left_out"),
    [(SERVER_TRANSITIONS, {"errored", "deactivated"}), (CLIENT_TRANSITIONS, {"errored"})],
    ids=["server", "client"],
)
def test_the_concepts_show_the_statuses_of_the_core(transitions, left_out):
    document = (ROOT / "docs" / "explanation" / "concepts.md").read_text()
    assert diagram(transitions, left_out) in document, diagram(transitions, left_out)
    assert table(transitions) in document, table(transitions)


def anchors(text):
    """As a renderer makes them from headings."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document):
    for target in LINK.findall(document.read_text()):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (document.parent / name) if name else document
        assert path.exists(), target
        if anchor and path.suffix == ".md":
            assert anchor in anchors(path.read_text()), target


# A decision names files as they were on its day.
@pytest.mark.parametrize(
    "document",
    [path for path in DOCUMENTS if path.name != "DECISIONS.md"],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_every_file_that_is_named_is_there(document):
    for name in PATH.findall(document.read_text()):
        path = ROOT / name
        assert path.exists() or path.with_suffix(".py").exists() or Path(name).name.startswith("."), name


def test_the_index_has_every_document():
    folder = ROOT / "docs"
    listed = {(folder / target).resolve() for target in LINK.findall((folder / "README.md").read_text())}

    assert [path for path in folder.rglob("*.md") if path.name != "README.md" and path not in listed] == []
