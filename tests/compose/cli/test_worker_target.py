"""What `backbeat worker` is told to run: found, or a sentence that says what is there."""

import re
import sys

import click
import pytest

from backbeat import Worker
from backbeat.compose.cli.exit_codes import CommandError
from backbeat.compose.cli.processes.worker_target import load

SHOP = """
from backbeat import Worker, activity

@activity("Take order")
def take_order(): ...

@activity("Pack")
async def pack(): ...

also_pack = pack
ACTIVITIES = (take_order, pack)
EMPTY = []
NUMBERS = [1]

def plain(): ...

class Nested:
    inner = [pack]
"""


@pytest.fixture
def write(tmp_path, monkeypatch, unique):
    """Write a module whose name nothing else has, and give that."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)

    def write(text, name=""):
        path = tmp_path / f"{unique}{name.replace('.', '/')}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return f"{unique}{name}"

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def names(loaded):
    return loaded.runner.handlers.names if isinstance(loaded, Worker) else [activity.name for activity in loaded]


def test_a_modules_activities_each_once(write):
    shop = write(SHOP)
    mail = write(f"from backbeat import activity\nfrom {shop} import pack\n@activity\ndef send(): ...\n", "_mail")

    assert names(load([shop])) == ["Take order", "Pack"]
    # What a module imports is another one's.
    assert names(load([mail])) == ["send"]
    assert names(load([mail, shop, f"{mail}:pack"])) == ["send", "Take order", "Pack"]
    assert names(load([f"{shop}:pack"])) == ["Pack"]
    assert names(load([f"{shop}:ACTIVITIES", f"{shop}:Nested.inner"])) == ["Take order", "Pack"]


def test_a_worker_is_taken_as_it_is_and_before_the_activities_beside_it(write):
    shop = write(SHOP + '\nworker = Worker(client="shop", activities=[pack])\nsame = worker\n')

    for target in (shop, f"{shop}:worker"):
        loaded = load([target])
        assert isinstance(loaded, Worker)
        assert (loaded.name, names(loaded)) == ("shop", ["Pack"])


def test_modules_of_packages_are_found(write, unique):
    write(SHOP, ".orders")
    package = write(f"from {unique} import orders\nBOTH = [orders]\n", ".__init__").removesuffix(".__init__")

    assert names(load([f"{package}.orders"])) == ["Take order", "Pack"]
    assert names(load([f"{package}:orders"])) == ["Take order", "Pack"]
    assert names(load([f"{package}:BOTH"])) == ["Take order", "Pack"]
    with pytest.raises(click.UsageError, match=rf"in the package {package}\. Did you mean '{package}\.orders'\?"):
        load([f"{package}.ordres"])


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("SHOPP", "there is no module 'SHOPP' in .* Did you mean 'SHOP'?"),
        ("SHOP:take_ordr", "SHOP has no 'take_ordr'. Did you mean 'take_order'? There are: SHOP:take_order, SHOP:pack"),
        ("SHOP:Nested.outer", "SHOP has no 'outer'"),
        ("SHOP:NUMBERS.first", "SHOP has no 'first'"),
        ("SHOP.py", "SHOP.py is a path. Name the module: SHOP"),
        ("./shop/orders.py:worker", "Name the module: shop.orders:worker"),
        ("SHOP:plain", "is of type function, and no Worker, .* Put @backbeat.activity above it"),
        ("SHOP:Nested", "is of type type, and no Worker"),
        ("SHOP:EMPTY", "is empty"),
        ("SHOP:NUMBERS", "1 in SHOP:NUMBERS is of type int"),
        ("SHOP_TWO:b", "nothing is registered with this Worker"),
        ("SHOP_TWO", "has several Workers: name one (SHOP_TWO:a, SHOP_TWO:b)"),
        ("SHOP_TWO:a SHOP", "is a Worker, and one runs alone"),
        ("SHOP_TWO:LIST", "has a Worker in it"),
        ("textwrap", "the module textwrap declares no activities, and has no Worker. Put @backbeat.activity above"),
        (":worker", "The form is MODULE:ATTRIBUTE"),
        (".orders", "The form is MODULE:ATTRIBUTE"),
    ],
)
def test_what_is_not_there_or_cannot_run_is_said_with_what_is(write, target, message):
    shop = write(SHOP)

    write(
        f"from {shop} import *\nfrom backbeat import Worker\na = Worker(activities=[pack])\nb = Worker()\nLIST = [a]\n",
        "_TWO",
    )
    with pytest.raises(click.UsageError) as refused:
        load([word.replace("SHOP", shop) for word in target.split()])

    pattern = ".*".join(re.escape(part) for part in message.replace("SHOP", shop).split(".*"))
    assert re.search(pattern, refused.value.message), refused.value.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError: No module named 'nothing_of_this_name'"),
        ("def f(:", "SyntaxError"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("x = 1 / 0", "ZeroDivisionError"),
    ],
)
def test_a_module_that_fails_is_shown_from_its_own_line_on(write, text, message):
    shop = write(text)

    with pytest.raises(CommandError) as failed:
        load([shop])

    assert failed.value.exit_code == 1
    assert message in failed.value.message
    assert f'{shop}.py", line 1' in failed.value.message
    assert "worker_target" not in failed.value.message
