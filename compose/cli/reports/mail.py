"""Reports by mail: server, sender and receivers."""

from __future__ import annotations

import functools
import smtplib
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from email.errors import MessageError
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Any, TypeVar, cast

import click

from backbeat.compose.cli.errors import SetupError
from backbeat.compose.cli.exit_codes import CommandError, Exit
from backbeat.compose.cli.options import add_options, setting

F = TypeVar("F", bound=Callable[..., Any])

_SECONDS_MAX = 30.0
_PORTS = {"none": 25, "starttls": 587, "tls": 465}

_OPTIONS = (
    setting(
        "--mail-to", "Send it there, as text and HTML; may be given several times.", multiple=True, metavar="ADDRESS"
    ),
    setting("--mail-from", "Whom it comes from.  [default: the first receiver]", metavar="ADDRESS"),
    setting("--smtp-host", "The mail server.", default="127.0.0.1"),
    setting("--smtp-port", "Its port.  [default: 25; 587 with starttls, 465 with tls]", type=click.IntRange(1, 65535)),
    setting(
        "--smtp-security",
        "How the connection is encrypted; the server's certificate is checked.",
        type=click.Choice(["none", "starttls", "tls"]),
        default="none",
    ),
    setting("--smtp-user", "Whom it logs in as.", metavar="NAME"),
    setting(
        "--smtp-password",
        "With which password; other users of the machine see flags, but not the environment.",
        metavar="PASSWORD",
    ),
)


@dataclass(frozen=True, kw_only=True)
class MailServer:
    """A mail server, with the sender and the receivers of mails."""

    to: tuple[str, ...]
    sender: str
    host: str
    port: int
    security: str
    user: str | None
    #: not shown where this is printed
    password: str | None

    def __repr__(self) -> str:
        return f"MailServer({self.host}:{self.port}, {self.security}, to={self.to})"

    def send(self, subject: str, text: str, html: str) -> None:
        """Send one mail, as text and as HTML. CommandError where the server cannot be reached or does not take it."""
        message = self._message(subject, text, html)
        server_text = f"The mail server {self.host}:{self.port}"
        try:
            with self._connect() as server:
                if self.user is not None:
                    server.login(self.user, self.password or "")
                refused_addresses = server.send_message(message)
        except smtplib.SMTPAuthenticationError as error:
            raise CommandError(
                f"{server_text} refuses the login. What to do: see --smtp-user and the password."
            ) from error
        except smtplib.SMTPRecipientsRefused as error:
            raise CommandError(f"{server_text} takes no mail for {', '.join(error.recipients)}.") from error
        except smtplib.SMTPResponseException as error:
            response = (
                error.smtp_error.decode(errors="replace") if isinstance(error.smtp_error, bytes) else error.smtp_error
            )
            raise CommandError(f"{server_text} refuses the mail: {error.smtp_code} {response}") from error
        except (OSError, smtplib.SMTPException) as error:
            raise CommandError(
                f"{server_text} cannot be used: {error}. What to do: see --smtp-host, --smtp-port and --smtp-security.",
                Exit.UNREACHABLE,
            ) from error
        if refused_addresses:
            raise CommandError(f"{server_text} takes no mail for {', '.join(refused_addresses)}; the others have it.")

    def _message(self, subject: str, text: str, html: str) -> EmailMessage:
        message = EmailMessage()
        try:
            message["Subject"] = subject
            message["From"] = self.sender
            message["To"] = ", ".join(self.to)
        except (MessageError, ValueError, IndexError) as error:
            raise SetupError(
                f"an address cannot be read: {error}. What to do: see --mail-to and --mail-from."
            ) from error
        message["Date"] = formatdate()
        message["Message-ID"] = make_msgid(domain="backbeat")
        # It is a reply to nobody, and wants no reply from programs.
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(text)
        message.add_alternative(html, subtype="html")
        return message

    def _connect(self) -> smtplib.SMTP:
        if self.security == "tls":
            return smtplib.SMTP_SSL(self.host, self.port, timeout=_SECONDS_MAX, context=ssl.create_default_context())
        server = smtplib.SMTP(self.host, self.port, timeout=_SECONDS_MAX)
        if self.security == "starttls":
            try:
                server.starttls(context=ssl.create_default_context())
            except BaseException:
                server.close()
                raise
        return server


def mail_options(command: F) -> F:
    """Add the options of mails; the command gets them as `mail`, None where there is no receiver."""

    @functools.wraps(command)
    def run(
        *arguments: Any,
        mail_to: tuple[str, ...],
        mail_from: str | None,
        smtp_host: str,
        smtp_port: int | None,
        smtp_security: str,
        smtp_user: str | None,
        smtp_password: str | None,
        **options: Any,
    ) -> Any:
        mail = None
        if mail_to:
            if smtp_user is not None and smtp_security == "none":
                raise click.UsageError("A password is sent encrypted only: give --smtp-security starttls or tls.")
            mail = MailServer(
                to=mail_to,
                sender=mail_from or mail_to[0],
                host=smtp_host,
                port=smtp_port or _PORTS[smtp_security],
                security=smtp_security,
                user=smtp_user,
                password=smtp_password,
            )
        return command(*arguments, mail=mail, **options)

    return cast("F", add_options(*_OPTIONS)(run))
