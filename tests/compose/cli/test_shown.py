"""What is drawn and printed: trees, lengths of time, text of others, and how commands end."""

import msgspec
import pytest
from click.testing import CliRunner
from rich.console import Console

from backbeat.client.views import NodeValue, Tree, Workflow
from backbeat.compose.cli.errors import SetupError
from backbeat.compose.cli.exit_codes import Exit, explain
from backbeat.compose.cli.program import backbeat
from backbeat.compose.cli.show.printing import how_long, print_table
from backbeat.compose.cli.show.rows import tree_row
from backbeat.compose.cli.show.sanitize import one_line, plain
from backbeat.compose.cli.show.tree import TreeOptions, draw, is_closed
from backbeat.errors import NotFound, Rejected, Timeout, Unavailable
from backbeat.schemas.messages.status import ClientStatus, ServerStatus
from backbeat.schemas.messages.views import WorkflowView
from tests.sdk.conftest import VIEW


def tree_of(*nodes):
    """A tree of (number, number of the parent, status)."""
    workflow = WorkflowView(
        id=b"w" * 16,
        user_id=b"u" * 16,
        name="Sale\x1b[2J",
        subject=b"703",
        decider="Sale",
        created_at=0,
        updated_at=0,
        complete=False,
        paused=True,
    )
    views = [
        msgspec.structs.replace(
            VIEW,
            id=bytes([number]) * 16,
            parent_id=None if parent is None else bytes([parent]) * 16,
            name=f"step {number}",
            server=server,
            client=ClientStatus.ERRORED if server is ServerStatus.RETRIES_EXHAUSTED else ClientStatus.COMPLETE,
            attempt=1,
        )
        for number, parent, server in nodes
    ]
    return Tree(Workflow(workflow), [NodeValue(view) for view in views])


def drawn(tree, **how):
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        console.print(draw(tree, TreeOptions(with_ids=False, **how)))
    return [line.rstrip() for line in capture.get().splitlines()]


DONE, OPEN, FAILED = ServerStatus.COMPLETE, ServerStatus.PROCESSING_CHILDREN, ServerStatus.RETRIES_EXHAUSTED
TREE = tree_of((1, None, OPEN), (2, 1, DONE), (3, 2, DONE), (4, 1, FAILED), (5, None, DONE))


def test_a_tree_is_drawn_whole():
    assert drawn(TREE) == [
        r"Sale\x1b[2J 703  paused",
        "├── step 1 processing_children",
        "│   ├── step 2 complete",
        "│   │   └── step 3 complete",
        "│   └── step 4 retries_exhausted errored",
        "└── step 5 complete",
    ]


def test_a_node_that_waits_for_results_says_whose():
    tree = tree_of((1, None, OPEN), (2, 1, FAILED), (3, 1, ServerStatus.READY))
    waiting = tree.children[0].children[1]
    awaited = (b"\x02" * 16, b"\x02" * 16, b"\x09" * 16)
    waiting.node = NodeValue(msgspec.structs.replace(waiting.node._view, waits_for_results=awaited))
    unknown = "09090909-0909-0909-0909-090909090909"
    assert drawn(tree)[-1].endswith(f"step 3 ready waits for the result of step 2, {unknown}")


def test_a_tree_is_folded_where_all_is_closed_cut_at_a_depth_and_at_so_many_children():
    assert drawn(TREE, folded=True)[2] == "│   ├── step 2 complete (1 below)"
    assert drawn(TREE, depth=1)[1:] == ["├── step 1 processing_children (3 below)", "└── step 5 complete"]
    assert drawn(TREE, children_max=1)[-1] == "└── … 1 more"


def test_a_tree_in_json_is_cut_as_a_drawn_one_is():
    def shown(**how):
        def only(facts):
            return {
                name: [only(child) for child in value] if name == "children" else value
                for name, value in facts.items()
                if name in ("name", "children", "below", "more")
            }

        return only(tree_row(TREE, TreeOptions(**how)))["children"]

    assert shown() == [
        {
            "name": "step 1",
            "children": [
                {"name": "step 2", "children": [{"name": "step 3", "children": []}]},
                {"name": "step 4", "children": []},
            ],
        },
        {"name": "step 5", "children": []},
    ]
    assert shown(depth=1) == [{"name": "step 1", "children": [], "below": 3}, {"name": "step 5", "children": []}]
    assert shown(folded=True)[0]["children"][0] == {"name": "step 2", "children": [], "below": 1}
    assert shown(children_max=1)[0]["more"] == 1
    assert tree_row(TREE, TreeOptions(children_max=1))["more"] == 1


def test_a_tree_may_be_deeper_than_pythons_stack():
    deep = tree_of((0, None, OPEN))
    views = [msgspec.structs.replace(VIEW, id=number.to_bytes(16, "big")) for number in range(1, 3_001)]
    deep = Tree(
        deep.workflow,
        [
            NodeValue(msgspec.structs.replace(view, parent_id=views[place - 1].id if place else None))
            for place, view in enumerate(views)
        ],
    )

    assert draw(deep, TreeOptions()).children


def test_a_tree_is_closed_when_all_its_nodes_have_ended():
    assert not is_closed(TREE)
    assert is_closed(tree_of((1, None, DONE), (2, 1, ServerStatus.DEACTIVATED)))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7_199, "120 min"), (7_200, "2 h"), (172_800, "2 d")],
)
def test_lengths_of_time(seconds, text):
    assert how_long(seconds) == text


def test_text_of_others_moves_no_cursor():
    assert plain("a\x1b[31mb\tc\r\u202e\nd") == "a\\x1b[31mb\\tc\\r\\u202e\nd"
    assert one_line("a\nb") == "a b"


def test_a_table_in_a_pipe_breaks_no_line_and_takes_nothing_for_markup(capsys):
    shown = print_table(("ID", "TEXT"), [("1", "[red]x[/red] " + "long " * 60), ("2", "y")])

    assert shown == 2
    assert capsys.readouterr().out.splitlines() == ["ID  TEXT", f"1   [red]x[/red] {'long ' * 60}".rstrip(), "2   y"]


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (Unavailable("Kafka is not there"), Exit.UNREACHABLE, "Kafka is not there. What to do: see that it runs"),
        (Unavailable("Gone. What to do: wait."), Exit.UNREACHABLE, "Gone. What to do: wait."),
        (Timeout("no answer"), Exit.NO_ANSWER, "--timeout-seconds waits longer"),
        (NotFound("not_found", "No node"), Exit.FAILED, "No node. What to do: check the id"),
        (Rejected("limit_exceeded", "Too \x1b many"), Exit.FAILED, r"Too \x1b many."),
        (SetupError("no Java"), Exit.FAILED, "no Java"),
    ],
)
def test_how_commands_end(error, code, message):
    explained = explain(error)

    assert message in explained.message
    assert explained.exit_code == code


def test_a_defect_keeps_its_traceback():
    assert explain(ZeroDivisionError()) is None


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell):
    done = CliRunner().invoke(backbeat, ["completion", shell])

    assert done.exit_code == 0
    assert f"_BACKBEAT_COMPLETE={shell}_complete" in done.stdout


def test_a_shell_is_told_the_commands_and_their_values():
    def complete(words):
        count = len(words.split(" ")) - 1
        env = {"_BACKBEAT_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(count)}
        return CliRunner().invoke(backbeat, env=env, prog_name="backbeat", complete_var="_BACKBEAT_COMPLETE").output

    assert complete("backbeat wor") == "plain,workflow\nplain,worker\n"
    assert complete("backbeat search nodes --status retr") == "plain,retrying\nplain,retries_exhausted\n"
