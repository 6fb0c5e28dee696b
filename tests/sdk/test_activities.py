import asyncio
import importlib
import json
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backbeat import BackbeatError, Worker, activity
from backbeat.activities.context import Activity
from backbeat.errors import InvalidParameters

Make = Callable[..., Activity]


@activity("Reserve money", retries=3, backoff=2, mode="non_blocking")
def reserve(amount: int, currency: str = "EUR") -> str:
    return f"{amount} {currency}"


@activity
async def notify(*names: str, **more: str) -> tuple[Any, ...]:
    return names, more


def data(purchase: Activity) -> list[Any]:
    return [json.loads(child.client_data).get("params") for child in purchase.children]


def test_a_declared_function_stays_what_it_was() -> None:
    assert reserve(7, currency="USD") == "7 USD"
    assert (reserve.name, reserve.__name__, notify.name) == ("Reserve money", "reserve", "notify")
    assert asyncio.run(notify("a", b="c")) == (("a",), {"b": "c"})


def test_a_worker_registers_functions_and_modules(shop: types.ModuleType) -> None:
    worker = Worker(activities=[reserve, shop])
    assert worker.defaults("Reserve money").retry.times == 3
    assert worker.defaults(reserve) is worker.defaults("Reserve money")
    assert worker.defaults("notify").is_async
    with pytest.raises(BackbeatError, match=r"'Reserve money' is registered already: as .*\.reserve, and now as"):
        worker.register(reserve)
    with pytest.raises(BackbeatError, match="the module empty declares no activities"):
        worker.register(types.ModuleType("empty"))
    with pytest.raises(BackbeatError, match="put @backbeat"):
        worker.register(print)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[types.ModuleType]:
    """A package that declares activities in itself and in a module, and imports another client's."""
    files = {
        "bank.py": "from backbeat import activity\n@activity\ndef transfer(): ...\n",
        "shop/__init__.py": "from bank import transfer\nfrom shop.orders import order, order as again\n"
        "from shop.senders import send\nfrom backbeat import activity\n"
        "@activity\nasync def notify(): ...\nmail = activity('mail')(send)\n",
        "shop/orders.py": "from backbeat import activity\n@activity\ndef order(): ...\n",
        "shop/senders.py": "def send(): ...\n",
        "only_imports.py": "from bank import transfer\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield importlib.import_module("shop")
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_what_a_module_only_imports_is_not_registered_with_it(shop: types.ModuleType) -> None:
    assert sorted(Worker(activities=[shop])._handlers.names) == ["mail", "notify", "order"]
    orders, bank = importlib.import_module("shop.orders"), importlib.import_module("bank")
    # Both modules name the bank's activity, and it is registered once.
    assert sorted(Worker(activities=[bank, orders])._handlers.names) == ["order", "transfer"]
    with pytest.raises(BackbeatError, match="declares no activities; those that it imports are registered where"):
        Worker(activities=[importlib.import_module("only_imports")])


def test_two_workers_may_run_the_same_functions() -> None:
    first, second = Worker(activities=[reserve]), Worker(activities=[reserve])
    assert first.defaults(reserve) is not second.defaults(reserve)


def test_what_has_no_name_must_be_given_one() -> None:
    class Nameless:
        def __call__(self) -> None: ...

    with pytest.raises(TypeError, match="has no name of its own"):
        activity(retries=1)(Nameless())


@pytest.mark.parametrize("wrong", [{"heartbeat": 0}, {"heartbeat": float("nan")}, {"retries": -1}, {"mode": "odd"}])
def test_wrong_options_are_refused_where_they_stand(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameters):
        activity("a", **wrong)(lambda: None)
    with pytest.raises(ValueError, match="max_concurrent"):
        activity("a", max_concurrent=0)(lambda: None)


# --- as children -----------------------------------------------------------------------------------------------------


def test_the_declaration_is_what_a_child_gets(activity: Make) -> None:
    # It is not registered with this worker: another one runs it.
    purchase = activity()
    purchase.add(reserve, 703)
    purchase.add(reserve.with_options(mode="blocking", retries=0, metadata={"m": 1}), 8, currency="USD")
    first, second = purchase.children
    assert (first.name, first.mode.name, first.retries, first.retry_interval_seconds) == (
        "Reserve money", "NON_BLOCKING", 3, 2.0,
    )  # fmt: skip
    assert (second.mode.name, second.retries, second.metadata) == ("BLOCKING", 0, b'{"m":1}')
    assert data(purchase) == [[703], {"amount": 8, "currency": "USD"}]


def test_keywords_are_arguments_where_the_function_has_them_and_options_else(activity: Make) -> None:
    purchase = activity()
    purchase.add(reserve, amount=7, mode="fire_and_forget")
    purchase.add(reserve, params={"amount": 9})
    purchase.add(reserve, client_data={"own": 1})
    assert data(purchase) == [{"amount": 7}, {"amount": 9}, None]
    assert purchase.children[0].mode.name == "FIRE_AND_FORGET"
    assert json.loads(purchase.children[2].client_data) == {"own": 1}


@pytest.mark.parametrize(("args", "given"), [
    ((), {}), ((1, 2, 3), {}), ((1,), {"amount": 2}), ((1,), {"odd": 2}), ((1,), {"params": {"amount": 1}}),
])  # fmt: skip
def test_arguments_that_do_not_fit_are_refused_at_once(activity: Make, args: Any, given: Any) -> None:
    purchase = activity()
    with pytest.raises(TypeError):
        purchase.add(reserve, *args, **given)
    assert purchase.children == ()


def test_any_number_of_arguments(activity: Make) -> None:
    purchase = activity()
    purchase.add(notify, "Ann", "Bob")
    purchase.add(notify, wish="x", other="y")
    assert data(purchase) == [["Ann", "Bob"], {"wish": "x", "other": "y"}]
    with pytest.raises(TypeError, match="'names' can only be given by position"):
        purchase.add(notify, "Ann", wish="x")


def test_by_a_name_keywords_are_options_only(activity: Make) -> None:
    with pytest.raises(TypeError, match=r"knows no `amount`: .*; a handler's keyword arguments go into params"):
        activity().add("Reserve money", amount=7)
