"""Who may import and call what, where the import linter cannot say it."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from backbeat.compose.cli.connection import Connection
from backbeat.compose.cli.installation import EXTRAS
from backbeat.compose.cli.main import main

ROOT = Path(__file__).parents[2]
FOLDERS = ("compose", "gateway", "schemas", "sdk", "streams")
# What the core may not touch, even where the module that holds it is allowed: each gives another answer at a replay.
IMPURE = {
    "datetime": {"now", "today", "utcnow", "fromtimestamp"},
    "date": {"today"},
    "uuid": {"uuid1", "uuid4", "getnode"},
    "os": {"urandom", "environ", "getenv", "getpid"},
    "hash": set(),
    "id": set(),
    "open": set(),
    "print": set(),
    "input": set(),
}
CORE_MODULES = {
    "__future__",
    "abc",
    "bisect",
    "collections",
    "copy",
    "dataclasses",
    "datetime",
    "enum",
    "functools",
    "hashlib",
    "heapq",
    "itertools",
    "json",
    "math",
    "msgspec",
    "operator",
    "re",
    "struct",
    "types",
    "typing",
    "uuid",
}


def sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


@cache
def statements(path: Path) -> list[ast.AST]:
    """Imports, functions, calls and dotted names in a file, read once for all tests."""
    kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.Attribute, ast.Call)
    return [node for node in ast.walk(ast.parse(path.read_text(), str(path))) if isinstance(node, kinds)]


def imported(path: Path) -> Iterator[str]:
    for node in statements(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def test_whatever_a_command_needs_it_says_what_to_install():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    base = {"backbeat", "confluent_kafka", "cronsim", "fastavro", "msgspec", "tzdata"}
    # Spans are wanted or not: without the package there are none.
    optional = {"opentelemetry", "mypy_extensions"}  # the second one for mypyc alone
    # The first project is a template: nothing here imports it. What makes wheels is a checkout's.
    without = {"first_project", "setup"}
    folders = [path for path in sources("compose", "gateway", "streams") if path.parent.name not in without]
    modules = {name.partition(".")[0] for path in folders for name in imported(path) if name}
    needed = modules - {""} - base - optional - sys.stdlib_module_names
    assert needed <= EXTRAS.keys()
    assert set(EXTRAS.values()) <= extras.keys()
    listed = {
        extra: {re.match(r"[A-Za-z0-9-]+", requirement)[0].lower().replace("-", "_") for requirement in requirements}
        for extra, requirements in extras.items()
    }
    for module, extra in EXTRAS.items():
        asking = {name for name, packages in listed.items() if module in packages and name != "dev"}
        # What only another package brings is listed nowhere.
        assert not asking or extra in asking, module


def test_a_module_that_is_missing_is_a_sentence(monkeypatch, capsys):
    for module, package in (("psutil", "'backbeat[engine]'"), ("boto3.session", "'backbeat[s3]'"), ("other", "other")):

        def fail(*_, name=module):
            raise ModuleNotFoundError(name=name)

        monkeypatch.setattr(Connection, "run", fail)
        monkeypatch.setattr(sys, "argv", ["backbeat", "workflow", "names"])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 1
        assert capsys.readouterr().err.endswith(f"What to do: pip install {package}\n")


def is_within_core(name: str) -> bool:
    return name.startswith(("backbeat.streams.core", "backbeat.schemas.messages", "backbeat.schemas.marks")) or (
        name.startswith(".") and not name.startswith("..")
    )


def test_faust_is_imported_in_one_file():
    importers = [
        str(path.relative_to(ROOT))
        for path in sources(*FOLDERS)
        if any(name.partition(".")[0] == "faust" for name in imported(path))
    ]

    assert [path for path in importers if path != "streams/process/faust_app.py"] == []


def test_core_imports_only_the_pure_part_of_the_standard_library_and_msgspec():
    wrong = [
        f"{path.name}: {name}"
        for path in sources("streams/core", "schemas/messages")
        for name in imported(path)
        if name.partition(".")[0] not in CORE_MODULES and not is_within_core(name)
    ]

    assert wrong == []


def test_core_asks_neither_clock_nor_chance():
    wrong = []
    for path in sources("streams/core", "schemas/messages"):
        for node in statements(path):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Attribute):
                owner = node.value.id if isinstance(node.value, ast.Name) else node.value.attr
                if node.attr in IMPURE.get(owner, ()):
                    wrong.append(f"{path.name}:{node.lineno}: {owner}.{node.attr}")
            elif isinstance(node, ast.ImportFrom) and node.module in {"uuid", "os", "datetime"}:
                forbidden = set().union(*(IMPURE[key] for key in ("uuid", "os")))
                wrong += [f"{path.name}:{node.lineno}: {alias.name}" for alias in node.names if alias.name in forbidden]
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and IMPURE.get(node.func.id) == set():
                wrong.append(f"{path.name}:{node.lineno}: {node.func.id}()")

    assert wrong == []


@pytest.mark.parametrize("path", list(sources(*FOLDERS)), ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_short(path):
    assert len(path.read_text().splitlines()) <= 400, "split it by noun"


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_folder_has_too_many_files(folder):
    rooms = {path.parent for path in sources(folder)}
    assert {str(room): len(list(room.glob("*.py"))) for room in rooms if len(list(room.glob("*.py"))) > 16} == {}


def test_functions_stay_short():
    functions = (
        (f"{path.relative_to(ROOT)}:{node.name}", node.end_lineno - node.lineno)
        for path in sources(*FOLDERS)
        for node in statements(path)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    assert {name: lines for name, lines in functions if lines > 70} == {}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = ("backbeat", *(parts[1:] if parts[0] == "sdk" else parts))
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def edges(path: Path, modules: dict[str, Path]) -> Iterator[str]:
    package = module_of(path) if path.name == "__init__.py" else module_of(path).rpartition(".")[0]
    for node in statements(path):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            name = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield from (
                    part for part in (f"{name}.{alias.name}", name) if part in modules and modules[part] != path
                )


#: What a process imports at its start -> what it has no use for. Each of these costs more than the process itself.
STARTS = {
    "backbeat": {"aiohttp", "backbeat.client", "backbeat.worker", "confluent_kafka"},
    "backbeat.client.client": {"aiohttp", "confluent_kafka.admin", "fastavro"},
    "backbeat.compose.cli.program": {
        *("aiohttp", "asyncio", "backbeat.client", "confluent_kafka", "fastavro", "importlib.metadata", "msgspec"),
        *("rich", "sqlalchemy"),
    },
    "backbeat.streams.process.faust_app": {
        *("aiohttp", "backbeat.client", "croniter", "fastavro", "pygments", "rich", "sqlalchemy", "yaml"),
    },
    "backbeat.gateway.http.server": {"backbeat.worker", "faust", "pygments", "rich"},
    "backbeat.worker.worker": {
        *("aiohttp", "backbeat.gateway", "backbeat.testing", "confluent_kafka.admin", "cronsim", "fastavro"),
        "zoneinfo",
    },
}


@pytest.mark.parametrize("module", STARTS)
def test_a_process_starts_without_what_it_does_not_need(module):
    program = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    packages = {".".join(parts[:length]) for parts in (name.split(".") for name in loaded) for length in (1, 2)}
    assert STARTS[module] & packages == set()


def test_no_module_imports_itself_by_others():
    """What only a type checker or a running function imports counts as well. Packages only say what they are."""
    modules = {module_of(path): path for path in sources(*FOLDERS)}
    graph = {name: set(edges(path, modules)) for name, path in modules.items() if path.name != "__init__.py"}
    TopologicalSorter(graph).prepare()


def test_librdkafkas_admin_client_is_asked_nothing_of_coordinators():
    # Where one has just moved, or does not answer in time, its handlers end the process (`schemas.kafka.coordinators`).
    of_groups = re.compile("(list|alter|delete)_consumer_group_offsets|(describe|delete)_consumer_groups")
    calls = [
        (path.name, node.lineno)
        for path in sources(*FOLDERS)
        for node in ast.walk(ast.parse(path.read_text(), str(path)))
        if isinstance(node, ast.Attribute) and of_groups.fullmatch(node.attr)
    ]
    assert calls == []


def test_no_thread_makes_a_decoder_of_its_own():
    """msgspec reads a struct's fields once, for whoever asks first: a second thread meanwhile ends the process."""
    decoders = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in sources(*FOLDERS)
        if path.name != "decoding.py"
        for function in statements(path)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for call in ast.walk(function)
        if isinstance(call, ast.Call)
        and re.fullmatch(r"msgspec\.(json|msgpack)\.(Decoder|decode)", ast.unparse(call.func))
        and ("Decoder" in ast.unparse(call.func) or any(keyword.arg == "type" for keyword in call.keywords))
    ]
    assert decoders == [], "made in functions. What to do: backbeat.schemas.requests.decoding"


def test_what_threads_convert_to_is_prepared():
    unprepared = [
        str(path.relative_to(ROOT))
        for path in sources("schemas", "sdk", "gateway", "streams")
        if "msgspec.convert(" in path.read_text() and not re.search(r"^ *prepare\(", path.read_text(), re.MULTILINE)
    ]
    assert unprepared == []
