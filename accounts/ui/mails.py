"""Emails to an organization's members: rendered from three templates, in each reader's language."""

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
    """Return the organization's active members with one of the roles."""
    members = User.objects.filter(
        is_active=True,
        memberships__organization=organization_id,
        memberships__role__in=roles,
    )
    return list(members.order_by("id"))


def mail(user: User, template: str, context: Mapping[str, Any]) -> EmailMultiAlternatives:
    """Return an email to the user, in the user's language.

    It is rendered from `<template>_subject.txt`, `<template>.txt` and `<template>.html`, whose
    context also holds the user's `name` and `language`, and whether that is `right_to_left`.
    """
    with translation.override(user.language):
        values = {
            "name": user.get_full_name(),
            "language": translation.get_language(),
            "right_to_left": translation.get_language_bidi(),
            **context,
        }
        # A name may contain line breaks; a header must not.
        subject = " ".join(render_to_string(f"{template}_subject.txt", values).split())
        message = EmailMultiAlternatives(
            subject, render_to_string(f"{template}.txt", values), to=[user.email]
        )
        message.attach_alternative(render_to_string(f"{template}.html", values), "text/html")
    return message


def send(mails: Sequence[EmailMultiAlternatives]) -> int:
    """Send the emails; return how many the mail server accepted.

    A refused email is logged and not retried. Raises OSError where the server cannot be reached.
    """
    sent = 0
    with get_connection(timeout=MAIL_SERVER_SECONDS) as server:
        for message in mails:
            try:
                sent += server.send_messages([message]) or 0
            except (smtplib.SMTPRecipientsRefused, smtplib.SMTPResponseException) as error:
                # Only the type: the server's response may quote the address or the text.
                log.warning("mail_refused", error=type(error).__name__)
    return sent
