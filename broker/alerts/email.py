"""A mail: one message to one address over SMTP, by the server of `[mail]`.

The conversation is `smtplib`'s and runs in a thread of its own. Each step is bounded by `STEP_S`; what takes longer in
all is cut by shutting its socket down, so that no thread stays behind. TLS is verified as for a webhook; with
`starttls` a server that does not offer it is a failure, never a conversation in the clear.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import smtplib
import socket
import ssl
import threading
from email.message import EmailMessage
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

from broker.alerts.notice import TellingFailedError
from broker.listener import Address

if TYPE_CHECKING:
    from broker.alerts.notice import Notice
    from broker.config import MailConfig

STEP_S: Final = 10

_log = logging.getLogger("binwire.alerts")


async def tell(mail: MailConfig, recipient: str, notice: Notice) -> None:
    """Send a notice. Raises TellingFailedError; being cancelled cuts the conversation."""
    conversation = _Conversation(mail, recipient, message_for(mail, recipient, notice))
    loop = asyncio.get_running_loop()
    done: asyncio.Future[str | None] = loop.create_future()

    def end(failure: str | None) -> None:
        if not done.done():
            done.set_result(failure)

    def converse() -> None:
        failure = conversation.run()
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(end, failure)

    threading.Thread(target=converse, name="alert mail", daemon=True).start()
    try:
        failure = await done
    finally:
        conversation.cut()
    if failure is not None:
        raise TellingFailedError(f"{mail.server} did not take the mail: {failure}")


def message_for(mail: MailConfig, recipient: str, notice: Notice) -> EmailMessage:
    """The mail; the same notice has the same Message-ID, by which mail programs know a repetition."""
    message = EmailMessage()
    message["From"] = mail.sender
    message["To"] = recipient
    message["Subject"] = notice.subject
    message["Date"] = formatdate(usegmt=True)
    message["Message-ID"] = f"<{notice.id}@binwire.invalid>"
    message["Auto-Submitted"] = "auto-generated"
    facts = [f"{name}: {value}" for name, value in _facts(notice) if value]
    message.set_content("\n".join((notice.sentence, "", *facts, "")))
    return message


def _facts(notice: Notice) -> list[tuple[str, str | None]]:
    return [
        ("Rule", notice.rule_name),
        ("Channel", f"{notice.channel_name} ({notice.channel_id})"),
        ("Topic", notice.topic),
        ("Consumer group", None if notice.group_id is None else f"{notice.group_name} ({notice.group_id})"),
        ("Incident", notice.incident_id),
    ]


class _Conversation:
    """One connection to a mail server; `run` in a thread, `cut` from any."""

    def __init__(self, mail: MailConfig, recipient: str, message: EmailMessage) -> None:
        self._mail = mail
        self._recipient = recipient
        self._message = message
        self._socket: socket.socket | None = None
        self._is_cut = False

    def run(self) -> str | None:
        """Why it did not succeed, None if it did."""
        try:
            self._run()
        except smtplib.SMTPRecipientsRefused as error:
            return _answered(*next(iter(error.recipients.values()), (0, b"it refused the address")))
        except smtplib.SMTPResponseException as error:
            return _answered(error.smtp_code, error.smtp_error)
        except ssl.SSLCertVerificationError as error:
            return f"its certificate is not valid: {error.verify_message}"
        except (smtplib.SMTPException, OSError) as error:
            return getattr(error, "strerror", None) or str(error) or type(error).__name__
        except Exception as error:
            _log.exception("a mail could not be sent")  # in a thread whose end somebody waits for
            return f"Binwire failed at it ({type(error).__name__}); its log says why"
        return None

    def _run(self) -> None:
        mail, address = self._mail, Address.parse(self._mail.server)
        context = None if mail.security == "none" else ssl.create_default_context()
        with contextlib.closing(smtplib.SMTP(timeout=STEP_S)) as client:
            client._host = address.host  # type: ignore[attr-defined]  # what `starttls` verifies the certificate by
            client.sock = self._connected(address, context if mail.security == "tls" else None)
            _require(client.getreply(), 220)
            client.ehlo_or_helo_if_needed()
            if mail.security == "starttls":
                client.starttls(context=context)
                self._socket = client.sock
            if mail.username is not None and mail.password is not None:
                client.login(mail.username, mail.password.reveal())
            client.send_message(self._message, from_addr=mail.sender, to_addrs=[self._recipient])
            with contextlib.suppress(smtplib.SMTPException, OSError):
                client.quit()  # it has taken the mail already

    def _connected(self, address: Address, context: ssl.SSLContext | None) -> socket.socket:
        """A connection that `cut` knows from before its first word on."""
        connection = self._socket = socket.create_connection((address.host, address.port), STEP_S)
        if context is not None:
            wrapped = context.wrap_socket(connection, server_hostname=address.host, do_handshake_on_connect=False)
            connection = self._socket = wrapped
            try:
                wrapped.do_handshake()
            except BaseException:
                wrapped.close()
                raise
        if self._is_cut:
            connection.close()
            raise OSError("it was given up")
        return connection

    def cut(self) -> None:
        self._is_cut = True
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


def _require(answer: tuple[int, bytes], code: int) -> None:
    if answer[0] != code:
        raise smtplib.SMTPResponseException(*answer)


def _answered(code: int, text: bytes | str) -> str:
    """What a server said, in one line; what it was sent is not in it."""
    shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return f"it answered {code} {' '.join(shown.split())[:200]}"
