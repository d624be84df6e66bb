"""Profile page of a user: name, language, time zone."""

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import translation
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods

from accounts.access.language import remember_language
from accounts.access.time_zone import time_zones
from accounts.members.people import check_name
from accounts.models import User


class ProfileForm(forms.Form):
    """Name, language and time zone of a user."""

    name = forms.CharField(
        label=_("Your name"),
        max_length=120,
        validators=[check_name],
        widget=forms.TextInput(attrs={"autocomplete": "name"}),
    )
    language = forms.ChoiceField(label=_("Language"), choices=settings.LANGUAGES)
    time_zone = forms.ChoiceField(
        label=_("Time zone"),
        required=False,
        choices=[
            ("", _("As the browser says")),
            *((zone, zone.replace("_", " ")) for zone in time_zones()),
        ],
    )


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def profile(request: HttpRequest) -> HttpResponse:
    """Show the profile form; on POST, save it and redirect in the chosen language."""
    user = request.user
    assert isinstance(user, User)  # noqa: S101 - login_required
    if request.method != "POST":
        current = {
            "name": user.name,
            "language": translation.get_language(),
            "time_zone": user.time_zone,
        }
        return render(
            request, "accounts/members/profile.html", {"form": ProfileForm(initial=current)}
        )
    form = ProfileForm(request.POST)
    if not form.is_valid():
        return render(request, "accounts/members/profile.html", {"form": form})
    User.objects.filter(pk=user.pk).update(**form.cleaned_data)
    language = form.cleaned_data["language"]
    with translation.override(language):
        messages.success(request, translation.gettext("Saved."))
    response = redirect("profile")
    remember_language(response, request, language)
    return response
