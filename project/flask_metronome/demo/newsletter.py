"""The newsletter and the report by mail, over SMTP."""

from __future__ import annotations

import smtplib
import uuid
from collections.abc import Iterable
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path

from flask_metronome.demo.models import Customer, Product
from flask_metronome.demo.shop import Shop

SENDER = "Metronome Shop <shop@example.com>"
_SMTP_SECONDS = 10.0


def letter_for(customer: Customer, products: Iterable[Product]) -> EmailMessage:
    """One customer's newsletter."""
    offers = "\n".join(
        f"  {product.name:<20} {product.price_cents / 100:>8.2f}"
        for product in products
    )
    text = f"Dear {customer.name},\n\nthis week in our shop:\n\n{offers}\n"
    return _mail(
        to=f"{customer.name} <{customer.email}>", subject="This week", text=text
    )


def report_mail(files: Iterable[Path]) -> EmailMessage:
    """The sales report with its files attached."""
    mail = _mail(
        to="owner@example.com", subject="Sales report", text="Attached, as every day.\n"
    )
    for path in files:
        kind = ("text", "csv") if path.suffix == ".csv" else ("image", "svg+xml")
        mail.add_attachment(
            path.read_bytes(), maintype=kind[0], subtype=kind[1], filename=path.name
        )
    return mail


def send(shop: Shop, mails: Iterable[EmailMessage]) -> int:
    """Send the mails over one connection; how many.

    Without a mail server they become files, so that the shop works anywhere.
    """
    smtp = shop.settings.smtp
    if smtp is None:
        return _file(shop.mails, mails)
    host, _, port = smtp.rpartition(":")
    count = 0
    with smtplib.SMTP(host, int(port), timeout=_SMTP_SECONDS) as server:
        for mail in mails:
            server.send_message(mail)
            count += 1
    return count


def _file(folder: Path, mails: Iterable[EmailMessage]) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for mail in mails:
        (folder / f"{uuid.uuid4().hex}.eml").write_bytes(mail.as_bytes())
        count += 1
    return count


def _mail(*, to: str, subject: str, text: str) -> EmailMessage:
    mail = EmailMessage()
    mail["From"] = SENDER
    mail["To"] = to
    mail["Subject"] = subject
    mail["Date"] = formatdate()
    mail["Message-ID"] = make_msgid(domain="example.com")
    mail.set_content(text)
    return mail
