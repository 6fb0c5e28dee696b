"""The daily report: its page, and its way by mail through a real SMTP server on loopback."""

from __future__ import annotations

import ssl
from email import message_from_bytes, policy
from html.parser import HTMLParser

import click
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from click.testing import CliRunner

from backbeat.compose.cli.exit_codes import CommandError, Exit
from backbeat.compose.cli.reports.mail import MailServer, mail_options
from backbeat.compose.cli.reports.page import document_of, html_of, subject_of, text_of
from backbeat.compose.drill.security.authority import Authority
from backbeat.compose.local.ports import free_port
from backbeat.gateway.api.shapes.reports import Daily, DailyFigures

DAY = 86_400_000
UNTIL = 20_000 * DAY
SLY = '<script>alert("x")</script>\x1b[31m'


def daily(*workflows):
    return Daily(since=UNTIL - DAY, until=UNTIL, stuck_hours=20, workflows=list(workflows))


def figures(workflow="order", **more):
    given = {"completed": 0, "errored": 0, "exhausted": 0, "inconsistent": {}, **more}
    return DailyFigures(user_id="u-1", workflow=workflow, **given)


REPORT = daily(
    figures(completed=4_720, errored=12, inconsistent={"retrying": 1, "sent_to_client": 2}), figures(SLY, completed=1)
)
NAMES = {"u-1": "shop & co"}


# --- the page --------------------------------------------------------------------------------------------------------


class Cells(HTMLParser):
    """The text of a page's cells, and every tag that it has."""

    def __init__(self, text):
        super().__init__()
        self.cells, self.tags, self._inside = [], set(), False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        if tag in {"td", "th"}:
            self.cells.append("")
            self._inside = True

    def handle_endtag(self, tag):
        if tag in {"td", "th"}:
            self._inside = False

    def handle_data(self, data):
        if self._inside:
            self.cells[-1] += data


def test_text_is_a_table_with_a_sum():
    lines = text_of(REPORT, NAMES).splitlines()

    assert lines[0] == "Backbeat, 2024-10-03 00:00 UTC to 2024-10-04 00:00 UTC"
    assert lines[3].split("  ")[0] == "shop & co"
    assert lines[3].endswith("  4,720               12               0  3 (1 retrying, 2 sent_to_client)")
    assert lines[5].split() == ["all", "4,721", "12", "0", "3"]
    assert "\x1b" not in "".join(lines)


def test_a_page_shows_names_and_takes_none_of_them_for_html():
    page = Cells(html_of(REPORT, NAMES))

    assert "script" not in page.tags
    assert any(cell.startswith('<script>alert("x")</script>') for cell in page.cells)
    assert page.cells.count("shop & co") == 2
    assert "3 (1 retrying, 2 sent_to_client)" in page.cells
    assert page.tags == {"html", "head", "meta", "title", "body", "h1", "table", "tr", "th", "td", "p"}


def test_subject_and_facts():
    assert subject_of(REPORT) == "Backbeat 2024-10-04: 4,721 completed, 3 inconsistent"
    assert document_of(REPORT, NAMES)["workflows"][0] == {
        "client": "shop & co",
        "workflow": "order",
        "completed": 4_720,
        "failed_attempts": 12,
        "out_of_retries": 0,
        "inconsistent": 3,
        "inconsistent_by_status": {"retrying": 1, "sent_to_client": 2},
    }


def test_a_day_without_anything_says_so():
    assert "Nothing completed or failed" in text_of(daily(), {})
    assert "Nothing completed or failed" in html_of(daily(), {})


# --- mail ------------------------------------------------------------------------------------------------------------


class Box:
    """What a mail server has taken."""

    def __init__(self):
        self.taken = []

    async def handle_RCPT(self, server, session, envelope, address, options):  # noqa: N802 - the library's name
        if address.startswith("nobody"):
            return "550 no such mailbox"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):  # noqa: N802 - the library's name
        self.taken.append((envelope, session.authenticated))
        return "250 OK"


@pytest.fixture
def box():
    return Box()


@pytest.fixture
def start(box):
    """Starts a mail server; gives its port."""
    started = []

    def serve(**more):
        controller = Controller(box, hostname="127.0.0.1", port=free_port(), **more)
        controller.start()
        started.append(controller)
        return controller.port

    yield serve
    for controller in started:
        controller.stop()


@pytest.fixture
def certificate(tmp_path, monkeypatch):
    """Of 127.0.0.1, trusted in this test."""
    authority = Authority(tmp_path, "authority")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca_file))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue("mail"))
    return context


def mail(port, *to, **more):
    given = {"sender": "backbeat@example.org", "host": "127.0.0.1", "security": "none", "user": None, "password": None}
    return MailServer(**given | {"port": port, "to": to or ("ops@example.org",), **more})


def test_a_mail_has_both_forms_and_goes_to_everybody(box, start):
    mail(start(), "ops@example.org", "Boss <boss@example.org>").send("Übersicht", "the text", html_of(REPORT, NAMES))

    ((envelope, _),) = box.taken
    assert envelope.rcpt_tos == ["ops@example.org", "boss@example.org"]
    message = message_from_bytes(envelope.content, policy=policy.default)
    assert (message["Subject"], message["From"]) == ("Übersicht", "backbeat@example.org")
    assert message.get_body(("plain",)).get_content().strip() == "the text"
    assert "4,720" in Cells(message.get_body(("html",)).get_content()).cells


def test_login_over_an_encrypted_connection(box, start, certificate):
    def authenticator(server, session, envelope, mechanism, data):
        return AuthResult(success=(data.login, data.password) == (b"me", b"secret"), handled=False)

    port = start(tls_context=certificate, authenticator=authenticator, auth_required=True)
    mail(port, security="starttls", user="me", password="secret").send("s", "t", "<p>t</p>")
    with pytest.raises(CommandError, match="refuses the login"):
        mail(port, security="starttls", user="me", password="guess").send("s", "t", "<p>t</p>")

    assert len(box.taken) == 1
    assert box.taken[0][1]
    assert "secret" not in repr(mail(port, password="secret"))


def test_a_certificate_that_nobody_vouches_for_is_refused(start, certificate, monkeypatch):
    port = start(tls_context=certificate)
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(CommandError, match="certificate verify failed") as caught:
        mail(port, security="starttls").send("s", "t", "<p>t</p>")
    assert caught.value.exit_code == Exit.UNREACHABLE


def test_a_recipient_whom_the_mail_server_refuses_is_named(box, start):
    port = start()
    with pytest.raises(CommandError, match=r"takes no mail for nobody@example.org\.$"):
        mail(port, "nobody@example.org").send("s", "t", "<p>t</p>")
    with pytest.raises(CommandError, match=r"takes no mail for nobody@example.org; the others have it\."):
        mail(port, "nobody@example.org", "ops@example.org").send("s", "t", "<p>t</p>")
    assert len(box.taken) == 1
    with pytest.raises(CommandError, match="cannot be used") as caught:
        mail(free_port()).send("s", "t", "<p>t</p>")
    assert caught.value.exit_code == Exit.UNREACHABLE


def test_a_password_is_not_sent_in_the_clear():
    @click.command
    @mail_options
    def command(mail):
        click.echo(repr(mail))

    result = CliRunner().invoke(command, ["--mail-to", "a@b.c", "--smtp-user", "me", "--smtp-password", "p"])
    assert result.exit_code == Exit.USAGE
    assert "A password is sent encrypted only" in result.output
    done = CliRunner().invoke(command, ["--mail-to", "a@b.c", "--smtp-security", "tls", "--smtp-user", "me"])
    assert done.output == "MailServer(127.0.0.1:465, tls, to=('a@b.c',))\n"
