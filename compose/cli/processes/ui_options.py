"""Options of the web console of a gateway."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_COLOURS = ("grey", "red", "orange", "green", "blue", "purple")

_OPTIONS = (
    click.option(
        "--ui",
        type=click.Choice(["on", "off", "only"]),
        envvar="BACKBEAT_UI",
        default="off",
        show_default=True,
        show_envvar=True,
        help="The web console under /ui/; with `only` the gateway serves nothing else but /health and metrics.",
    ),
    click.option(
        "--ui-login",
        type=click.Choice(["token", "none"]),
        envvar="BACKBEAT_UI_LOGIN",
        default="token",
        show_default=True,
        show_envvar=True,
        help="Who may use it: people (`backbeat person`) and clients by their tokens; with `none` everybody, as an "
        "operator, which only works where the gateway listens on loopback.",
    ),
    click.option(
        "--ui-secret-file",
        type=click.Path(dir_okay=False, path_type=Path),
        envvar="BACKBEAT_UI_SECRET_FILE",
        show_envvar=True,
        metavar="FILE",
        help="What sessions are signed with, 16 random bytes or more, the same for all gateways.  [default: a new one "
        "at each start, which ends all sessions]",
    ),
    click.option(
        "--ui-read-only", is_flag=True, envvar="BACKBEAT_UI_READ_ONLY", show_envvar=True, help="Nothing can be changed."
    ),
    click.option(
        "--ui-name",
        envvar="BACKBEAT_UI_NAME",
        default="",
        show_envvar=True,
        metavar="NAME",
        help="The installation's name, on every page: production.",
    ),
    click.option(
        "--ui-colour",
        type=click.Choice(_COLOURS),
        envvar="BACKBEAT_UI_COLOUR",
        default="grey",
        show_default=True,
        show_envvar=True,
        help="The colour of the band with that name.",
    ),
    click.option(
        "--ui-user-header",
        envvar="BACKBEAT_UI_USER_HEADER",
        default="",
        show_envvar=True,
        metavar="NAME",
        help="The header in which a proxy says whom it has let in, such as X-Forwarded-User: a person (`backbeat "
        "person`) of that name needs no token. Needs --ui-trusted-proxy.",
    ),
    click.option(
        "--ui-trusted-proxy",
        "ui_trusted_proxies",
        multiple=True,
        envvar="BACKBEAT_UI_TRUSTED_PROXY",
        show_envvar=True,
        metavar="NETWORK",
        help="Where that proxy is, such as 10.0.0.7 or 10.0.0.0/8; may be given several times. The header is ignored "
        "from elsewhere.",
    ),
    click.option(
        "--ui-codec-url",
        envvar="BACKBEAT_UI_CODEC_URL",
        show_envvar=True,
        metavar="URL",
        help="Where browsers have encrypted payloads decoded: `backbeat codec serve`, as they reach it.",
    ),
    click.option(
        "--ui-link",
        "ui_links",
        multiple=True,
        envvar="BACKBEAT_UI_LINK",
        show_envvar=True,
        metavar="NAME=URL",
        help="A link on the pages of nodes and workflows, such as Logs=https://logs.example/search?q={tid}, with "
        "{tid}, {node_id}, {workflow_id}, {client} and {subject}; may be given several times.",
    ),
    click.option(
        "--ui-views",
        type=click.Path(dir_okay=False, path_type=Path),
        envvar="BACKBEAT_UI_VIEWS",
        show_envvar=True,
        metavar="FILE",
        help="Views of the team, a link each on every page: a TOML file with [[view]] tables of a name and a path "
        "below /ui/, such as nodes?status=retries_exhausted.",
    ),
    click.option(
        "--ui-drills",
        type=click.Path(file_okay=False, path_type=Path),
        envvar="BACKBEAT_UI_DRILLS",
        show_envvar=True,
        metavar="FOLDER",
        help="Where `backbeat drill` keeps its runs: they are shown, too.  [default: none are shown]",
    ),
    click.option(
        "--ui-drill-topology",
        "ui_drill_topologies",
        multiple=True,
        type=click.Path(dir_okay=False, path_type=Path),
        envvar="BACKBEAT_UI_DRILL_TOPOLOGY",
        show_envvar=True,
        metavar="FILE|here",
        help="An installation (`backbeat drill run --topology`) that operators may begin drills on; `here` is one "
        "that is started for the run on the gateway's own host. May be given several times. Needs --ui-drills.  "
        "[default: none is begun]",
    ),
    click.option(
        "--ui-drill-key-file",
        type=click.Path(dir_okay=False, path_type=Path),
        envvar="BACKBEAT_UI_DRILL_KEY_FILE",
        show_envvar=True,
        metavar="FILE",
        help="The key of which the hosts of these installations have a copy.",
    ),
    click.option(
        "--ui-host",
        "ui_hosts",
        multiple=True,
        envvar="BACKBEAT_UI_HOST",
        show_envvar=True,
        metavar="NAME",
        help="A host name that people type to reach it; may be given several times. Others are refused, but for "
        "localhost and addresses.",
    ),
)


def ui_options(command: F) -> F:
    """Add the options of the console; the command gets them as words for `ui_settings`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def ui_settings(http_host: str, words: dict[str, Any]) -> dict[str, Any]:
    """Settings `ui` and `console` of a gateway. UsageError: a console without a login that others could reach."""
    from backbeat.gateway.console.hosts import is_loopback, origin_of
    from backbeat.gateway.console.show.saved_views import read_saved_views
    from backbeat.gateway.settings import Ui, UiLogin, UiSettings

    ui, login = Ui(words["ui"]), UiLogin(words["ui_login"])
    if ui is not Ui.OFF and login is UiLogin.NONE and not is_loopback(http_host):
        raise click.UsageError(
            f"--ui-login none lets everybody in, and --http-host {http_host} can be reached by others: listen on "
            "127.0.0.1."
        )
    if bool(words["ui_user_header"]) != bool(words["ui_trusted_proxies"]):
        raise click.UsageError("--ui-user-header and --ui-trusted-proxy belong together.")
    try:
        for network in words["ui_trusted_proxies"]:
            ipaddress.ip_network(network)
    except ValueError as error:
        raise click.UsageError(f"--ui-trusted-proxy: {error}") from error
    topologies = words["ui_drill_topologies"]
    if topologies and words["ui_drills"] is None:
        raise click.UsageError("--ui-drill-topology needs --ui-drills, the folder in which the runs are kept.")
    if missing := [str(path) for path in topologies if str(path) != "here" and not path.is_file()]:
        raise click.UsageError(f"--ui-drill-topology {missing[0]}: there is no such file.")
    if words["ui_drill_key_file"] is not None and not words["ui_drill_key_file"].is_file():
        raise click.UsageError(f"--ui-drill-key-file {words['ui_drill_key_file']}: there is no such file.")
    if len({path.stem for path in topologies}) < len(topologies):
        raise click.UsageError("--ui-drill-topology: two installations have the same name, that of their files.")
    codec_url = words["ui_codec_url"]
    if codec_url is not None and origin_of(codec_url) is None:
        raise click.UsageError(f"--ui-codec-url {codec_url} is no URL such as https://codec.example")
    links = _links(words["ui_links"])
    try:
        views = () if words["ui_views"] is None else read_saved_views(words["ui_views"])
    except ValueError as error:
        raise click.UsageError(f"--ui-views {error}") from error
    console = UiSettings(
        name=words["ui_name"],
        colour=words["ui_colour"],
        read_only=words["ui_read_only"],
        login=login,
        hosts=tuple(words["ui_hosts"]),
        secret_file=words["ui_secret_file"],
        drills=words["ui_drills"],
        drill_topologies=topologies,
        drill_key_file=words["ui_drill_key_file"],
        codec_url=codec_url,
        links=links,
        views=views,
        user_header=words["ui_user_header"],
        trusted_proxies=tuple(words["ui_trusted_proxies"]),
    )
    return {"ui": ui, "console": console}


def _links(texts: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Names and URLs of links. UsageError: one is none, or two have one name."""
    from backbeat.gateway.console.show.links import read_link

    links: dict[str, str] = {}
    for text in texts:
        try:
            link = read_link(text)
        except ValueError as error:
            raise click.UsageError(f"--ui-link {text}: {error}.") from error
        if link.name in links:
            raise click.UsageError(f"--ui-link {text}: there is another one of this name.")
        links[link.name] = link.url
    return tuple(links.items())
