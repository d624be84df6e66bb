"""Mails to an organization's people: made from three templates, each in its reader's language."""

import smtplib
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from django.core.mail import EmailMultiAlternatives, get_connection
from django.template.loader import render_to_string
from django.utils import translation

from accounts.models import User
from accounts.roles import Role

log = structlog.get_logger(__name__)

MAIL_SERVER_SECONDS = 20


def people_of(organization_id: uuid.UUID, roles: Sequence[Role]) -> list[User]:
    """The organization's active members in those roles."""
    members = User.objects.filter(
        is_active=True,
        memberships__organization=organization_id,
        memberships__role__in=roles,
    )
    return list(members.order_by("id"))


def mail(user: User, template: str, context: Mapping[str, Any]) -> EmailMultiAlternatives:
    """A mail to a user, of `<template>_subject.txt`, `<template>.txt` and `<template>.html`.

    Beside the context they know the user's `name`, `language`, and whether it is `right_to_left`.
    """
    with translation.override(user.language):
        told = {
            "name": user.get_full_name(),
            "language": translation.get_language(),
            "right_to_left": translation.get_language_bidi(),
            **context,
        }
        # A name may hold line breaks, a header must not.
        subject = " ".join(render_to_string(f"{template}_subject.txt", told).split())
        made = EmailMultiAlternatives(
            subject, render_to_string(f"{template}.txt", told), to=[user.email]
        )
        made.attach_alternative(render_to_string(f"{template}.html", told), "text/html")
    return made


def send(mails: Sequence[EmailMultiAlternatives]) -> int:
    """How many the server took; to whom it refuses one, it is not tried again.

    Raises OSError where the server cannot be reached.
    """
    sent = 0
    with get_connection(timeout=MAIL_SERVER_SECONDS) as server:
        for made in mails:
            try:
                sent += server.send_messages([made]) or 0
            except (smtplib.SMTPRecipientsRefused, smtplib.SMTPResponseException) as error:
                # Neither the address nor the text, which the server may quote.
                log.warning("mail_refused", error=type(error).__name__)
    return sent
