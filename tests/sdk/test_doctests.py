"""Every public name has an example that runs here as it stands, without a broker."""

import doctest
import importlib
import inspect
from typing import Any

import pytest

import backbeat
from backbeat import codecs

#: But for `CallNext`, the type of a function: the example of `Call` has it.
NAMES = {name: getattr(backbeat, name) for name in backbeat.__all__ if name != "CallNext"}
NAMES |= {"Json": codecs.Json, "Fernet": codecs.Fernet}


def test_the_public_names_fit_on_a_screen() -> None:
    assert len(backbeat.__all__) <= 24


@pytest.mark.parametrize("name", NAMES)
def test_the_example_of_a_public_name_does_what_it_says(name: str) -> None:
    public: Any = NAMES[name]
    module = importlib.import_module(public.__module__)
    assert ">>> " in (inspect.getdoc(public) or ""), f"{name} has no example"
    examples = doctest.DocTestFinder(recurse=False).find(public, name, module=module)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    output: list[str] = []
    for example in examples:
        runner.run(example, out=output.append)
    assert runner.tries > 0
    assert not runner.failures, "".join(output)
