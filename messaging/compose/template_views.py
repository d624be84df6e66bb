"""Pages of an organization's templates: reusable texts with variables."""

from typing import Any

from django import forms
from django.contrib import messages
from django.db import IntegrityError, transaction
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.access.page_access import FORM, member_page, object_or_404
from accounts.audit import trail
from accounts.models import Member, Organization
from accounts.roles import Action
from accounts.ui.pages import confirmation_page, page_url, show_page, to_page
from imissive.core import ids
from imissive.core.api.requests import client_address
from messaging.compose.forms import LONGEST
from messaging.models import TextTemplate
from messaging.text import encoding, variables

MOST = 500
"""The most templates of an organization."""


class TemplateForm(forms.Form):
    name = forms.CharField(label=gettext_lazy("Name"), max_length=80)
    text = forms.CharField(
        label=gettext_lazy("Text"),
        max_length=LONGEST,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 6, "dir": "auto"}),
        help_text=gettext_lazy(
            "A name in braces, such as {name} or {order}, is filled in for each recipient."
        ),
    )

    def __init__(
        self, organization: Organization, data: Any = None, template: TextTemplate | None = None
    ) -> None:
        self.organization, self.template = organization, template
        initial = {"name": template.name, "text": template.text} if template else None
        super().__init__(data, initial=initial)

    def clean_text(self) -> str:
        text: str = self.cleaned_data["text"].replace("\r\n", "\n")
        if not text.strip():
            raise forms.ValidationError(_("This field is required."))
        try:
            parts = encoding.measure(text).parts
        except ValueError:
            raise forms.ValidationError(_("The text holds half a character.")) from None
        most = self.organization.max_parts
        if parts > most:
            message = _("The message has %(parts)s parts; at most %(most)s are allowed.")
            raise forms.ValidationError(message, params={"parts": parts, "most": most})
        return text

    def clean(self) -> dict[str, Any]:
        name = self.cleaned_data.get("name")
        if name and self._others().filter(name__iexact=name).exists():
            self.add_error("name", _("There is a template of that name already."))
        elif self.template is None and self._others().count() >= MOST:
            self.add_error(None, _("Remove templates first: there are %(most)s.") % {"most": MOST})
        return self.cleaned_data

    def _others(self) -> Any:
        mine = self.organization.text_templates.all()
        return mine.exclude(pk=self.template.pk) if self.template else mine

    def is_saved_already(self) -> bool:
        """Return whether an identical template exists: then the form was submitted twice."""
        text = self.data.get("text", "").replace("\r\n", "\n")
        name = self.data.get("name", "").strip()
        if "\0" in name + text:
            return False
        return bool(self.organization.text_templates.filter(name=name, text=text).exists())

    def save(self, member: Member, address: str) -> TextTemplate:
        """Save the template and return it. Raises IntegrityError if its name is used meanwhile."""
        template = self.template or TextTemplate(organization=self.organization)
        template.name, template.text = self.cleaned_data["name"], self.cleaned_data["text"]
        act = "template.changed" if self.template else "template.added"
        with transaction.atomic():
            template.save()
            _record(act, member, template, address)
        return template


@member_page(Action.READ_MESSAGES)
def template_list(request: HttpRequest, member: Member) -> HttpResponse:
    templates = member.organization.text_templates.order_by("name", "id")
    context = {
        "page": "compose",
        "templates": [(each, variables.variables_of(each.text)) for each in templates],
    }
    return show_page(request, member, "messaging/compose/templates.html", context)


@member_page(Action.SEND, FORM)
def new_template(request: HttpRequest, member: Member) -> HttpResponse:
    data = request.POST if request.method == "POST" else None
    form = TemplateForm(member.organization, data)
    if data is not None and form.is_saved_already():
        return _back(member)
    return _save(request, member, form)


@member_page(Action.SEND, FORM)
def change_template(request: HttpRequest, member: Member, template_id: str) -> HttpResponse:
    template = _template_of(member, template_id)
    data = request.POST if request.method == "POST" else None
    return _save(request, member, TemplateForm(member.organization, data, template))


@member_page(Action.SEND, FORM)
def remove_template(request: HttpRequest, member: Member, template_id: str) -> HttpResponse:
    """Ask for confirmation; a POST removes the template."""
    template = _template_of(member, template_id)
    if request.method == "POST":
        with transaction.atomic():
            if TextTemplate.objects.filter(pk=template.pk).delete()[0]:
                _record("template.removed", member, template, client_address(request))
        messages.success(request, _("%(name)s was removed.") % {"name": template.name})
        return _back(member)
    return confirmation_page(
        request,
        member,
        page="compose",
        title=_("Remove %(name)s?") % {"name": template.name},
        text=_("Messages that were sent with it stay as they are."),
        button=_("Remove"),
        back=page_url(member, "templates"),
    )


def _save(request: HttpRequest, member: Member, form: TemplateForm) -> HttpResponse:
    if form.is_bound and form.is_valid():
        try:
            template = form.save(member, client_address(request))
        except IntegrityError:
            form.add_error("name", _("There is a template of that name already."))
        else:
            messages.success(request, _("%(name)s is saved.") % {"name": template.name})
            return _back(member)
    context = {"page": "compose", "form": form, "template": form.template}
    return show_page(request, member, "messaging/compose/template.html", context)


def _template_of(member: Member, template_id: str) -> TextTemplate:
    mine = TextTemplate.objects.filter(organization=member.organization)
    return object_or_404(mine, ids.TEMPLATE, template_id)


def _record(act: str, member: Member, template: TextTemplate, address: str) -> None:
    trail.record(
        act,
        actor=member.user,
        organization=member.organization,
        target=template.name,
        address=address,
    )


def _back(member: Member) -> HttpResponse:
    return to_page(member, "templates")
