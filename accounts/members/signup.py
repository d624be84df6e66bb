"""Sign-up form, with or without an invitation."""

from typing import Any

from allauth.account.forms import SignupForm as AllauthSignupForm
from allauth.core import context
from django import forms
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from accounts.members import invitations
from accounts.members.people import check_name, vouch_for_address
from accounts.models import User
from imissive.core.api.requests import client_address


class SignupForm(AllauthSignupForm):  # type: ignore[misc]
    """Name, organization, email address and password of a new user.

    An invited person signs up with the invitation's email address, which its mail has verified, and
    joins its organization instead of opening one.
    """

    name = forms.CharField(
        label=_("Your name"),
        max_length=120,
        validators=[check_name],
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )
    organization = forms.CharField(
        label=_("Organization"),
        max_length=120,
        validators=[check_name],
        help_text=_("Your company's name, as your colleagues know it. You can change it later."),
        widget=forms.TextInput(attrs={"autocomplete": "organization"}),
    )
    field_order = ("name", "organization", "email", "password1")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["email"].label = _("Work e-mail")
        for field in self.fields.values():
            field.widget.attrs.pop("placeholder", None)
        self.invitation = invitations.pending(context.request)
        if self.invitation is not None:
            del self.fields["organization"]
            self.initial["email"] = self.invitation.email
            self.fields["email"].disabled = True

    def try_save(self, request: HttpRequest) -> tuple[AbstractBaseUser | None, HttpResponse | None]:
        """Return the new user, or the response that does not reveal an existing account."""
        try:
            saved: tuple[AbstractBaseUser | None, HttpResponse | None] = super().try_save(request)
        except IntegrityError:
            # A double click: the other request has just created the same account.
            self.account_already_exists = True
            saved = super().try_save(request)
        return saved

    @transaction.atomic
    def save(self, request: HttpRequest) -> User:
        """Create the user with name, language and membership, all of it or nothing."""
        user: User = super().save(request)
        user.name = self.cleaned_data["name"]
        user.language = get_language() or "en"
        user.wanted_organization = self.cleaned_data.get("organization", "")
        user.save(update_fields=["name", "language", "wanted_organization"])
        if self.invitation is not None:
            vouch_for_address(user)
            invitations.accept(self.invitation, user, client_address(request))
            invitations.forget(request)
        return user
