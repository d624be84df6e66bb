"""Admin pages of top-ups and corrections: request, confirm with both balances, approve."""

import uuid
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from accounts.credits import changes
from accounts.credits.field import CreditsField
from accounts.credits.reasons import CreditsReason
from accounts.models import CreditChange, Organization
from accounts.operators.base import (
    COUNTED_AT_MOST,
    ModelAdmin,
    ReadOnlyAdmin,
    action_page,
    badge,
    detail_action,
    operator,
)
from accounts.operators.site import site
from accounts.templatetags.shown import change_shown, credits_shown
from imissive.core.api.requests import client_address
from imissive.core.errors import ApiError
from imissive.core.problems import sentence

_TITLE = _("Top up or correct")
_NEXT = _("You see the balance before and after, and confirm it, on the next page.")


class ChangeForm(forms.Form):
    """Amount and reason of a top-up or a correction, with the form's reference."""

    credits = CreditsField(
        label=_("Credits"),
        widget=UnfoldAdminTextInputWidget(attrs={"inputmode": "decimal"}),
        help_text=_("Positive tops up; negative corrects. Six decimals at most."),
    )
    reason = forms.CharField(
        label=_("Reason"), max_length=200, widget=UnfoldAdminTextareaWidget(attrs={"rows": 3})
    )
    reference = forms.UUIDField(widget=forms.HiddenInput, initial=uuid.uuid4)

    def clean_credits(self) -> int:
        micro: int = self.cleaned_data["credits"]
        if micro == 0:
            raise forms.ValidationError(_("Zero would change nothing."))
        return micro


class ConfirmationForm(ChangeForm):
    """The same values in hidden fields."""

    confirmed = forms.BooleanField(widget=forms.HiddenInput, initial=True)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            field.widget = forms.HiddenInput()


def change_page(model_admin: ModelAdmin, request: HttpRequest, object_id: str) -> HttpResponse:
    """Show the form, then the confirmation, then apply the change. Raises Http404."""
    organization: Organization | None = model_admin.get_object(request, object_id)
    if organization is None:
        raise Http404
    posted = request.POST if request.method == "POST" else None
    form = ChangeForm(posted)
    if posted is None or not form.is_valid():
        return _show(model_admin, request, organization, form)
    micro, reason = form.cleaned_data["credits"], form.cleaned_data["reason"]
    if "confirmed" not in posted:
        return _confirm(model_admin, request, organization, form)
    try:
        change = changes.request_change(
            form.cleaned_data["reference"],
            organization,
            micro,
            reason,
            actor=operator(request),
            address=client_address(request),
        )
    except ApiError as refusal:
        form.add_error(None, sentence(refusal.problem))
        return _show(model_admin, request, organization, form)
    if change.status == CreditChange.Status.WAITING:
        messages.warning(request, _("The change waits for the approval of a second operator."))
        return HttpResponseRedirect(
            reverse("admin:accounts_creditchange_change", args=(change.pk,))
        )
    messages.success(request, _("The balance was changed."))
    return HttpResponseRedirect(_organization_url(organization))


def _confirm(
    model_admin: ModelAdmin, request: HttpRequest, organization: Organization, form: ChangeForm
) -> HttpResponse:
    micro = form.cleaned_data["credits"]
    if changes.balance_of(organization) + micro < 0:
        form.add_error(None, sentence(CreditsReason.CORRECTION_NOT_COVERED.problem()))
        return _show(model_admin, request, organization, form)
    waits = changes.needs_second_operator(organization, micro)
    values = {**{name: form.data.get(name) for name in form.fields}, "confirmed": "on"}
    explanation = (
        _("It is more than one operator may change in a day: a second one has to approve it.")
        if waits
        else _("The change and its reason stay in the ledger and cannot be undone.")
    )
    return _show(
        model_admin,
        request,
        organization,
        ConfirmationForm(initial=values),
        title=_("Request this change") if waits else _("Confirm this change"),
        explanation=explanation,
        facts=_facts(organization, micro, form.cleaned_data["reason"]),
    )


def _facts(organization: Organization, micro: int, reason: str) -> list[tuple[Any, str]]:
    """Return the facts to confirm: the balance before and after, the change, its reason."""
    before = changes.balance_of(organization)
    return [
        (_("Balance before"), credits_shown(before)),
        (_("Change"), change_shown(micro)),
        (_("Balance after"), credits_shown(before + micro)),
        (_("Reason"), reason),
    ]


def _show(
    model_admin: ModelAdmin,
    request: HttpRequest,
    organization: Organization,
    form: forms.Form,
    *,
    title: Any = _TITLE,
    explanation: Any = _NEXT,
    facts: list[tuple[Any, str]] | None = None,
) -> HttpResponse:
    context = {
        **model_admin.admin_site.each_context(request),
        "title": title,
        "subtitle": str(organization),
        "explanation": explanation,
        "form": form,
        "facts": facts,
        "object": organization,
        "back": _organization_url(organization),
        "opts": model_admin.model._meta,
    }
    return TemplateResponse(request, "accounts/operators/act.html", context)


def _organization_url(organization: Organization) -> str:
    return reverse("admin:accounts_organization_change", args=(organization.pk,))


@admin.register(CreditChange, site=site)
class CreditChangeAdmin(ReadOnlyAdmin):
    """Top-ups and corrections; waiting ones need a second operator."""

    actions_detail = ("approve", "decline")
    list_display = (
        "created_at",
        "organization",
        "credits",
        "status_badge",
        "requested_by",
        "decided_by",
    )
    list_filter = ("status",)
    list_select_related = ("organization", "requested_by", "decided_by")
    search_fields = ("organization__name", "reason")
    ordering = ("-created_at",)
    fields = (
        ("organization", "credits", "status"),
        "reason",
        ("requested_by", "created_at"),
        ("decided_by", "decided_at"),
    )

    @admin.display(description=_("Credits"), ordering="micro")
    def credits(self, obj: CreditChange) -> str:
        return change_shown(obj.micro)

    @badge(
        _("status"),
        {"waiting": "warning", "applied": "success", "declined": "danger"},
        ordering="status",
    )
    def status_badge(self, obj: CreditChange) -> tuple[str, str]:
        return obj.status, obj.get_status_display()

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return operator(request).has_perm("accounts.view_ledgerentry")

    def has_decide_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return operator(request).has_perm("accounts.add_ledgerentry")

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Return the allowed actions: nobody may approve their own change."""
        buttons: list[Any] = super().get_actions_detail(request, object_id)  # type: ignore[misc]
        change = self.get_object(request, str(object_id))
        if change is None or change.status != CreditChange.Status.WAITING:
            return []
        own = change.requested_by_id == operator(request).pk
        return [each for each in buttons if not (own and each.action_name.endswith("_approve"))]

    @detail_action(_("Approve"), permission="decide", icon="check")
    def approve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        change = self.get_object(request, object_id)
        if change is None:
            raise Http404
        return action_page(
            self,
            request,
            object_id,
            title=_("Approve this change"),
            explanation=_("The change and its reason stay in the ledger and cannot be undone."),
            facts=_facts(change.organization, change.micro, change.reason),
            done=_("The balance was changed."),
            do=lambda waiting, _values: changes.approve(
                waiting, actor=operator(request), address=client_address(request)
            ),
        )

    @detail_action(_("Decline"), permission="decide", icon="close", danger=True)
    def decline(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return action_page(
            self,
            request,
            object_id,
            title=_("Decline this change"),
            explanation=_("The balance stays as it is. Who needs the change requests it again."),
            done=_("The change was declined."),
            do=lambda waiting, _values: changes.decline(
                waiting, actor=operator(request), address=client_address(request)
            ),
            danger=True,
        )


def _waiting() -> int:
    waiting = CreditChange.objects.filter(status=CreditChange.Status.WAITING)
    return waiting[:COUNTED_AT_MOST].count()


site.waiting["accounts.creditchange"] = _waiting
