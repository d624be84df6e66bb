"""Dashboard pages of API keys: list, create, rotate, revoke, and the IP allow-list of a key."""

from datetime import timedelta
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.access.page_access import FORM, member_page, object_or_404
from accounts.keys import api_keys, ip_allow_list
from accounts.models import ApiKey, Member
from accounts.roles import Action, Scope
from accounts.ui.pages import confirmation_page, page_url, show_page, to_page
from accounts.ui.single_use_forms import SingleUseForm
from imissive.core import clock, ids
from imissive.core.api.requests import client_address
from imissive.core.errors import ApiError
from imissive.core.problems import sentence

_LIFETIMES_DAYS = {"30": 30, "90": 90, "365": 365}
_OVERLAP_HOURS = {"0": 0, "1": 1, "24": 24, "168": 168}


class IpAllowListForm(forms.Form):
    """The IP allow-list of a key."""

    networks = forms.CharField(
        label=gettext_lazy("Only from these addresses"),
        required=False,
        max_length=4000,
        widget=forms.Textarea(attrs={"rows": 2, "dir": "ltr", "spellcheck": "false"}),
        help_text=gettext_lazy(
            "Addresses or networks of your servers, such as 203.0.113.7 or 203.0.113.0/24, one a"
            " line. None means from everywhere."
        ),
    )

    def clean_networks(self) -> list[str]:
        written: list[str] = self.cleaned_data["networks"].replace(",", " ").split()
        try:
            return ip_allow_list.clean(written)
        except ip_allow_list.NotAList as error:
            raise forms.ValidationError(sentence(error.problem)) from None


class KeyForm(IpAllowListForm, SingleUseForm):
    """A new key: name, mode, scopes, IP allow-list and lifetime."""

    field_order = ["name", "kind", "scopes", "networks", "life"]
    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=80,
        help_text=gettext_lazy("Which program uses it, such as “Order service”."),
    )
    kind = forms.ChoiceField(
        label=gettext_lazy("Kind"),
        widget=forms.RadioSelect,
        initial="test",
        choices=[
            ("test", gettext_lazy("Test: reaches only the simulator, costs nothing")),
            ("live", gettext_lazy("Live: reaches handsets, costs credits")),
        ],
    )
    scopes = forms.MultipleChoiceField(
        label=gettext_lazy("May be used to"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        choices=Scope.choices,
        help_text=gettext_lazy("None ticked means everything."),
    )
    life = forms.ChoiceField(
        label=gettext_lazy("Works"),
        required=False,
        choices=[
            ("", gettext_lazy("until it is revoked")),
            ("30", gettext_lazy("for 30 days")),
            ("90", gettext_lazy("for 90 days")),
            ("365", gettext_lazy("for a year")),
        ],
    )


class RotationForm(SingleUseForm):
    """The overlap in which the old key works beside the new one."""

    overlap = forms.ChoiceField(
        label=gettext_lazy("The old key works"),
        initial="24",
        choices=[
            ("24", gettext_lazy("for 24 more hours")),
            ("1", gettext_lazy("for one more hour")),
            ("168", gettext_lazy("for 7 more days")),
            ("0", gettext_lazy("no longer: it has leaked")),
        ],
    )


def _is_network(written: str) -> bool:
    try:
        ip_allow_list.clean([written])
    except ValueError:
        return False
    return True


@member_page(Action.MANAGE_KEYS)
def key_list(request: HttpRequest, member: Member) -> HttpResponse:
    """Show the organization's working keys, and the latest expired and revoked ones."""
    mine = _keys_of(member).prefetch_related("replaced_by")
    gone = Q(revoked_at__isnull=False) | Q(expires_at__lte=clock.now())
    context = {
        "page": "keys",
        "working": mine.exclude(gone).order_by("-created_at"),
        "ended": mine.filter(gone).order_by("-created_at")[:50],
    }
    return show_page(request, member, "accounts/keys/keys.html", context)


@member_page(Action.MANAGE_KEYS, FORM)
def new_key(request: HttpRequest, member: Member) -> HttpResponse:
    """Show the form for a new key; on POST, create the key and show its secret once."""
    form = KeyForm(request.POST if request.method == "POST" else None)
    if not form.is_bound or not form.is_valid():
        context = {"page": "keys", "form": form}
        return show_page(request, member, "accounts/keys/key_new.html", context)
    if not form.is_first():
        return _created_already(request, member)
    values = form.cleaned_data
    days = _LIFETIMES_DAYS.get(values["life"])
    with form.usable_after_failure():
        key, secret = api_keys.create_key(
            member.organization,
            values["name"],
            test=values["kind"] == "test",
            scopes=values["scopes"],
            allowed=values["networks"],
            expires_at=clock.now() + timedelta(days=days) if days else None,
            created_by=member.user,
            address=client_address(request),
        )
    return _show_secret(request, member, key, secret)


@member_page(Action.MANAGE_KEYS, FORM)
def rotate(request: HttpRequest, member: Member, key_id: str) -> HttpResponse:
    """Ask for the overlap; on POST, create the new key and show its secret once."""
    key = _key_of(member, key_id)
    form = RotationForm(request.POST if request.method == "POST" else None)
    if not form.is_bound or not form.is_valid():
        return confirmation_page(
            request,
            member,
            page="keys",
            title=_("Rotate %(name)s?") % {"name": key.name},
            text=_(
                "You get a new key with the same rights. Put it into your program, then let"
                " the old one end."
            ),
            button=_("Make the new key"),
            danger=False,
            back=page_url(member, "keys"),
            form=form,
        )
    if not form.is_first():
        return _created_already(request, member)
    overlap = timedelta(hours=_OVERLAP_HOURS[form.cleaned_data["overlap"]])
    try:
        with form.usable_after_failure():
            new, secret = api_keys.rotate_key(
                key, overlap, actor=member.user, address=client_address(request)
            )
    except ApiError:
        messages.error(request, _("This key has ended, or was rotated already."))
        return _back(member)
    return _show_secret(request, member, new, secret, old=key)


@member_page(Action.MANAGE_KEYS, FORM)
def revoke(request: HttpRequest, member: Member, key_id: str) -> HttpResponse:
    """Ask for confirmation; on POST, revoke the key."""
    key = _key_of(member, key_id)
    if request.method == "POST":
        api_keys.revoke_key(key, actor=member.user, address=client_address(request))
        messages.success(request, _("%(name)s does not work any more.") % {"name": key.name})
        return _back(member)
    return confirmation_page(
        request,
        member,
        page="keys",
        title=_("Revoke %(name)s?") % {"name": key.name},
        text=_("Whatever uses it is refused at once. It cannot be undone."),
        button=_("Revoke"),
        back=page_url(member, "keys"),
    )


@member_page(Action.MANAGE_KEYS, FORM)
def restrict(request: HttpRequest, member: Member, key_id: str) -> HttpResponse:
    """Show the key's IP allow-list as a form; on POST, save it."""
    key = _key_of(member, key_id)
    current = {"networks": "\n".join(key.networks)}
    form = IpAllowListForm(request.POST if request.method == "POST" else None, initial=current)
    if form.is_bound and form.is_valid():
        allowed = form.cleaned_data["networks"]
        try:
            api_keys.restrict_key(key, allowed, actor=member.user, address=client_address(request))
        except ApiError:
            messages.error(request, _("This key has ended."))
        else:
            messages.success(request, _("Saved."))
        return _back(member)
    return confirmation_page(
        request,
        member,
        page="keys",
        title=_("Where may %(name)s be used from?") % {"name": key.name},
        text=_("Calls from everywhere else are refused at once. You are at %(address)s now.")
        % {"address": client_address(request)},
        button=_("Save"),
        danger=False,
        back=page_url(member, "keys"),
        form=form,
    )


def _keys_of(member: Member) -> QuerySet[ApiKey]:
    return ApiKey.objects.filter(organization=member.organization)


def _key_of(member: Member, key_id: str) -> ApiKey:
    return object_or_404(_keys_of(member), ids.KEY, key_id)


def _show_secret(
    request: HttpRequest, member: Member, key: ApiKey, secret: str, old: ApiKey | None = None
) -> HttpResponse:
    context: dict[str, Any] = {
        "page": "keys",
        "key": key,
        "secret": secret,
        "old": old,
        "public_url": settings.PUBLIC_URL,
    }
    return show_page(request, member, "accounts/keys/key_created.html", context)


def _created_already(request: HttpRequest, member: Member) -> HttpResponse:
    text = _("The key was made already. Its secret was shown then; if you lost it, rotate the key.")
    messages.warning(request, text)
    return _back(member)


def _back(member: Member) -> HttpResponse:
    return to_page(member, "keys")
