"""Admin pages of sender IDs: the queue of requests, review, decisions, documents."""

import uuid
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Case, Count, F, IntegerField, QuerySet, Value, When
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.urls import path
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from unfold.widgets import (
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from accounts.audit import trail
from accounts.operators.base import (
    OperatorAdmin,
    action_page,
    badge,
    detail_action,
    operator,
)
from accounts.operators.site import site
from accounts.ui import stored_files
from imissive.core.api.requests import client_address
from imissive.core.errors import ApiError
from imissive.core.problems import sentence
from messaging.models import SenderDocument, SenderId
from messaging.senders import (
    approval,
    documents,
    history,
    lookalikes,
)

if TYPE_CHECKING:
    SenderModelForm = forms.ModelForm[SenderId]
else:
    SenderModelForm = forms.ModelForm

# The order of the list: pending ones first.
_WAITING_FIRST = Case(
    When(status=SenderId.Status.PENDING, then=Value(0)),
    default=Value(1),
    output_field=IntegerField(),
)
_WAITING_SINCE = Case(When(status=SenderId.Status.PENDING, then=F("created_at")))


# Frequent reasons to choose from, in both languages, since customers read them.
_REASONS = {
    _("Rejections"): (
        "Attach a document that shows the name is yours: a commercial registration, a trademark or"
        " a letter.",
        "The document names another company than yours.",
        "The name is taken, or looks like another company's.",
        "A promotional sender ID must end in -AD.",
        "The sample message does not fit the purpose.",
        "أرفق مستندًا يثبت أن الاسم لك: سجلًا تجاريًا أو علامة تجارية أو خطابًا.",
        "المستند باسم شركة غير شركتك.",
        "الاسم مستخدم، أو يشبه اسم شركة أخرى.",
        "اسم المرسل الترويجي يجب أن ينتهي بـ -AD.",
        "الرسالة النموذجية لا تناسب الغرض.",
    ),
    _("Revocations"): (
        "Recipients complained about messages from this sender ID.",
        "Offers were sent from a transactional sender ID.",
        "The carrier or the regulator asked for it.",
        "وردت شكاوى من مستلمي رسائل هذا الاسم.",
        "أُرسلت عروض باسم مرسل خدمي.",
        "طلبت ذلك شركة الاتصالات أو الجهة المنظمة.",
    ),
}


class RefusalForm(forms.Form):
    """A reason that is chosen, typed, or both."""

    usual = forms.ChoiceField(
        label=_("A usual reason"),
        required=False,
        widget=UnfoldAdminSelectWidget,
        choices=[
            ("", _("None: I write it myself")),
            *((name, [(text, text) for text in texts]) for name, texts in _REASONS.items()),
        ],
    )
    reason = forms.CharField(
        label=_("Reason"),
        required=False,
        max_length=200,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3, "dir": "auto"}),
        help_text=_("The customer reads it, after the usual one where you chose that."),
    )

    def clean(self) -> None:
        """Join the chosen and the typed reason; refuse an empty or a too long result."""
        reasons = (self.cleaned_data.get("usual", ""), self.cleaned_data.get("reason", ""))
        reason = " ".join(filter(None, reasons))
        max_length = SenderId._meta.get_field("reason").max_length or 0
        if not reason:
            self.add_error("reason", gettext("Choose a reason or write one."))
        elif len(reason) > max_length:
            self.add_error("reason", gettext("Together with the usual reason that is too long."))
        else:
            self.cleaned_data["reason"] = reason


class RequestForm(SenderModelForm):
    """A request by an operator for a customer, with the same checks as the customer's own."""

    class Meta:
        model = SenderId
        fields = ("organization", "name", "use", "purpose", "sample")
        widgets = {
            "name": UnfoldAdminTextInputWidget,
            "purpose": UnfoldAdminTextInputWidget,
            "sample": UnfoldAdminTextareaWidget,
        }

    def clean_name(self) -> str:
        try:
            return approval.normalize(self.cleaned_data["name"])[0]
        except ApiError as error:
            raise forms.ValidationError(sentence(error.problem)) from None


@admin.register(SenderId, site=site)
class SenderIdAdmin(OperatorAdmin):
    """Sender IDs. They change only by decisions, through `messaging.senders.approval`."""

    form = RequestForm
    autocomplete_fields = ("organization",)
    list_display = (
        "name",
        "organization",
        "status_badge",
        "use",
        "purpose",
        "attached",
        "created_at",
    )
    list_filter = ("status", "use", "kind")
    change_form_before_template = "messaging/admin/sender_review.html"
    list_select_related = ("organization",)
    search_fields = ("name", "organization__name")
    actions = ("approve_selected",)
    actions_detail = ("approve", "reject", "revoke", "make_default", "reopen")
    fields = ("organization", "name", "use", "purpose", "sample")
    view_fields = (
        ("organization", "status"),
        ("name", "kind", "use"),
        "purpose",
        "sample",
        "reason",
        "is_default",
        ("created_at", "decided_at", "decided_by"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[SenderId]:
        """Return pending sender IDs first, oldest first; then decided ones, newest first."""
        found = super().get_queryset(request).annotate(attachments=Count("documents"))
        ordered: QuerySet[SenderId] = found.order_by(_WAITING_FIRST, _WAITING_SINCE, "-created_at")
        return ordered

    @admin.display(description=_("Documents"))
    def attached(self, obj: Any) -> str:
        return str(obj.attachments or "—")

    def get_urls(self) -> list[Any]:
        document = path(
            "<uuid:object_id>/documents/<uuid:document_id>/",
            self.admin_site.admin_view(self.document),
            name="messaging_senderid_document",
        )
        return [document, *super().get_urls()]

    def document(
        self, request: HttpRequest, object_id: uuid.UUID, document_id: uuid.UUID
    ) -> HttpResponseBase:
        """Download a customer's document. It is audited."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        mine = SenderDocument.objects.filter(sender=object_id, pk=document_id)
        found = mine.select_related("file", "sender__organization").first()
        if found is None:
            raise Http404
        trail.record(
            "sender_id.document_opened",
            actor=operator(request),
            organization=found.sender.organization,
            target=f"{found.sender.public_id} {found.sender.name}",
            detail={"file": found.file.name},
            address=client_address(request),
        )
        return stored_files.download(found.file)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        sender = self.get_object(request, object_id)
        review = _review(sender) if sender and self.has_view_permission(request) else None
        context = {**(extra_context or {}), "review": review}
        response: HttpResponse = super().change_view(request, object_id, form_url, context)
        return response

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.view_fields if obj else self.fields

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Return False: a sender ID changes only by the decisions below, which are audited."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_decide_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("messaging.change_senderid")

    @badge(
        SenderId._meta.get_field("status").verbose_name,
        {"pending": "warning", "approved": "success", "rejected": "danger", "revoked": "danger"},
        ordering="status",
    )
    def status_badge(self, obj: SenderId) -> tuple[str, str]:
        return obj.status, obj.get_status_display()

    def save_model(self, request: HttpRequest, obj: SenderId, form: Any, change: bool) -> None:
        values = form.cleaned_data
        sender = approval.request_sender(
            values["organization"],
            values["name"],
            values["purpose"],
            values["sample"],
            use=values["use"],
            actor=operator(request),
            address=client_address(request),
        )
        obj.__dict__.update(sender.__dict__)

    def _audit(self, request: HttpRequest, obj: Any, verb: str, message: Any) -> None:
        """Do nothing, because `messaging.senders.approval` writes the audit log."""

    @detail_action(_("Approve"), permission="decide", icon="check")
    def approve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return action_page(
            self,
            request,
            object_id,
            title=_("Approve this sender ID"),
            explanation=self._approval(request, object_id),
            done=_("The sender ID was approved."),
            do=lambda sender, _values: approval.approve(
                sender, operator(request), address=client_address(request)
            ),
        )

    def _approval(self, request: HttpRequest, object_id: str) -> str:
        """Return the explanation of an approval, with a warning about look-alikes."""
        text = gettext("The organization can send with it at once. Mail and webhook tell it.")
        sender = self.get_object(request, object_id)
        near = lookalikes.lookalikes_of(sender) if sender else []
        if near:
            names = ", ".join(f"{each.sender.name} ({each.sender.organization})" for each in near)
            text += " " + gettext("Careful, it looks like: %(names)s.") % {"names": names}
        return text

    @detail_action(_("Reject"), permission="decide", icon="close", danger=True)
    def reject(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return action_page(
            self,
            request,
            object_id,
            title=_("Reject this sender ID"),
            explanation=_("The customer reads the reason, and may ask again."),
            done=_("The sender ID was rejected."),
            do=lambda sender, values: approval.reject(
                sender, operator(request), values["reason"], address=client_address(request)
            ),
            form_class=RefusalForm,
            danger=True,
        )

    @detail_action(_("Revoke"), permission="decide", icon="block", danger=True)
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return action_page(
            self,
            request,
            object_id,
            title=_("Revoke this sender ID"),
            explanation=_("New messages with it are refused from now on; queued ones still go."),
            done=_("The sender ID was revoked."),
            do=lambda sender, values: approval.revoke(
                sender, operator(request), values["reason"], address=client_address(request)
            ),
            form_class=RefusalForm,
            danger=True,
        )

    @detail_action(_("Make default"), permission="decide", icon="star")
    def make_default(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return action_page(
            self,
            request,
            object_id,
            title=_("Make this the default sender ID"),
            explanation=_("Requests of the organization that name no sender will use it."),
            done=_("The sender ID is the default now."),
            do=lambda sender, _values: approval.make_default(
                sender, operator(request), address=client_address(request)
            ),
        )

    @detail_action(_("Back to the queue"), permission="decide", icon="undo")
    def reopen(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return action_page(
            self,
            request,
            object_id,
            title=_("Put this sender ID back in the queue"),
            explanation=_("It waits for a decision again, as if the customer had asked again."),
            done=_("The sender ID waits for a decision again."),
            do=lambda sender, _values: approval.request_sender(
                sender.organization,
                sender.name,
                sender.purpose,
                sender.sample,
                use=sender.use,
                actor=operator(request),
                address=client_address(request),
            ),
        )

    @admin.action(description=_("Approve the selected sender IDs"), permissions=["decide"])
    def approve_selected(self, request: HttpRequest, queryset: QuerySet[SenderId]) -> None:
        """Approve the pending ones of the selected sender IDs; the others stay as they are."""
        approved = 0
        for sender in queryset.filter(status=SenderId.Status.PENDING):
            try:
                approval.approve(sender, operator(request), address=client_address(request))
                approved += 1
            except ApiError as error:  # somebody else was quicker
                messages.warning(request, f"{sender}: {sentence(error.problem)}")
        messages.success(request, _("Approved: %(count)s") % {"count": approved})

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Return only the buttons that apply to the sender ID's status."""
        buttons: list[Any] = super().get_actions_detail(request, object_id)  # type: ignore[misc]
        sender = self.get_object(request, str(object_id))
        if sender is None:
            return buttons
        offered = {
            SenderId.Status.PENDING: {"approve", "reject"},
            SenderId.Status.APPROVED: {"revoke", "make_default"},
            SenderId.Status.REJECTED: {"reopen"},
            SenderId.Status.REVOKED: {"reopen"},
            SenderId.Status.WITHDRAWN: set(),
        }[SenderId.Status(sender.status)]
        return [b for b in buttons if b.action_name.removeprefix("messaging_senderid_") in offered]


_COLOURS = {"good": "success", "bad": "danger", "late": "warning", "still": "default"}


def _review(sender: SenderId) -> dict[str, Any]:
    """Return the review of a sender ID: look-alikes, documents, history, others of its owner."""
    mine = SenderId.objects.filter(organization=sender.organization_id).exclude(pk=sender.pk)
    others = list(history.in_order(mine)[:20])
    for other in others:
        tone = history.TONES[SenderId.Status(other.status)]
        other.colour = _COLOURS[tone]  # type: ignore[attr-defined]
    return {
        "lookalikes": lookalikes.lookalikes_of(sender),
        "documents": documents.documents_of(sender),
        "history": history.history_of(sender),
        "others": others,
    }


def waiting() -> int:
    """Return the number of sender IDs that wait for a decision."""
    return SenderId.objects.filter(status=SenderId.Status.PENDING).count()


def pending_panel(request: HttpRequest) -> tuple[str, dict[str, Any]] | None:
    """Return the panel with the oldest pending requests, for the admin's first page."""
    if not request.user.has_perm("messaging.view_senderid"):
        return None
    pending = SenderId.objects.filter(status=SenderId.Status.PENDING)
    rows = pending.select_related("organization").order_by("created_at")[:10]
    return "messaging/admin/panels/senders.html", {"senders": rows}
