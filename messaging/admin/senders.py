"""The queue of sender IDs that wait for an operator."""

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Case, IntegerField, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext_lazy as _
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from accounts.admin_base import OperatorAdmin, ReasonForm, act, act_page, badge, operator
from accounts.admin_site import site
from imissive.errors import ApiError
from imissive.requests import client_address
from messaging import senders
from messaging.models import SenderId

if TYPE_CHECKING:
    SenderModelForm = forms.ModelForm[SenderId]
else:
    SenderModelForm = forms.ModelForm

# For the query's sake also the order of the status filter's work: what waits comes first.
_WAITING_FIRST = Case(
    When(status=SenderId.Status.PENDING, then=Value(0)),
    default=Value(1),
    output_field=IntegerField(),
)


class RequestForm(SenderModelForm):
    """A request made by an operator for a customer; the same checks as the customer's own."""

    class Meta:
        model = SenderId
        fields = ("organization", "name", "purpose", "sample")
        widgets = {
            "name": UnfoldAdminTextInputWidget,
            "purpose": UnfoldAdminTextInputWidget,
            "sample": UnfoldAdminTextareaWidget,
        }

    def clean_name(self) -> str:
        try:
            return senders.normalize(self.cleaned_data["name"])[0]
        except ApiError as error:
            raise forms.ValidationError(error.problem.message) from None


@admin.register(SenderId, site=site)
class SenderIdAdmin(OperatorAdmin):
    form = RequestForm
    autocomplete_fields = ("organization",)
    list_display = ("name", "organization", "kind", "status_badge", "purpose", "created_at")
    list_filter = ("status", "kind")
    list_select_related = ("organization",)
    search_fields = ("name", "organization__name")
    actions = ("approve_selected",)
    actions_detail = ("approve", "reject", "revoke", "make_default", "reopen")
    fields = ("organization", "name", "purpose", "sample")
    view_fields = (
        ("organization", "status"),
        ("name", "kind"),
        "purpose",
        "sample",
        "reason",
        "is_default",
        ("created_at", "decided_at", "decided_by"),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[SenderId]:
        return super().get_queryset(request).order_by(_WAITING_FIRST, "-created_at")

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.view_fields if obj else self.fields

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A sender ID changes only by the decisions below, each with its audit entry and event."""
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
        sender = senders.request_sender(
            values["organization"],
            values["name"],
            values["purpose"],
            values["sample"],
            actor=operator(request),
            address=client_address(request),
        )
        obj.__dict__.update(sender.__dict__)

    def _audit(self, request: HttpRequest, obj: Any, verb: str, message: Any) -> None:
        """`messaging.senders` writes the audit log itself."""

    @act(_("Approve"), permission="decide", icon="check")
    def approve(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return act_page(
            self,
            request,
            object_id,
            title=_("Approve this sender ID"),
            explanation=_("The organization can send with it at once, and is told by webhook."),
            done=_("The sender ID was approved."),
            do=lambda sender, _values: senders.approve(
                sender, operator(request), address=client_address(request)
            ),
        )

    @act(_("Reject"), permission="decide", icon="close", danger=True)
    def reject(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return act_page(
            self,
            request,
            object_id,
            title=_("Reject this sender ID"),
            explanation=_("The customer reads the reason, and may ask again."),
            done=_("The sender ID was rejected."),
            do=lambda sender, values: senders.reject(
                sender, operator(request), values["reason"], address=client_address(request)
            ),
            form_class=ReasonForm,
            danger=True,
        )

    @act(_("Revoke"), permission="decide", icon="block", danger=True)
    def revoke(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return act_page(
            self,
            request,
            object_id,
            title=_("Revoke this sender ID"),
            explanation=_("New messages with it are refused from now on; queued ones still go."),
            done=_("The sender ID was revoked."),
            do=lambda sender, values: senders.revoke(
                sender, operator(request), values["reason"], address=client_address(request)
            ),
            form_class=ReasonForm,
            danger=True,
        )

    @act(_("Make default"), permission="decide", icon="star")
    def make_default(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return act_page(
            self,
            request,
            object_id,
            title=_("Make this the default sender ID"),
            explanation=_("Requests of the organization that name no sender will use it."),
            done=_("The sender ID is the default now."),
            do=lambda sender, _values: senders.make_default(
                sender, operator(request), address=client_address(request)
            ),
        )

    @act(_("Back to the queue"), permission="decide", icon="undo")
    def reopen(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return act_page(
            self,
            request,
            object_id,
            title=_("Put this sender ID back in the queue"),
            explanation=_("It waits for a decision again, as if the customer had asked again."),
            done=_("The sender ID waits for a decision again."),
            do=lambda sender, _values: senders.request_sender(
                sender.organization,
                sender.name,
                sender.purpose,
                sender.sample,
                actor=operator(request),
                address=client_address(request),
            ),
        )

    @admin.action(description=_("Approve the selected sender IDs"), permissions=["decide"])
    def approve_selected(self, request: HttpRequest, queryset: QuerySet[SenderId]) -> None:
        """Those that are not pending stay as they are: a revoked one is not approved by the way."""
        approved = 0
        for sender in queryset.filter(status=SenderId.Status.PENDING):
            try:
                senders.approve(sender, operator(request), address=client_address(request))
                approved += 1
            except ApiError as error:  # somebody else was quicker
                messages.warning(request, f"{sender}: {error.problem.message}")
        messages.success(request, _("Approved: %(count)s") % {"count": approved})

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Only the buttons that the sender ID's status has room for."""
        buttons: list[Any] = super().get_actions_detail(request, object_id)  # type: ignore[misc]
        sender = self.get_object(request, str(object_id))
        if sender is None:
            return buttons
        offered = {
            SenderId.Status.PENDING: {"approve", "reject"},
            SenderId.Status.APPROVED: {"revoke", "make_default"},
            SenderId.Status.REJECTED: {"reopen"},
            SenderId.Status.REVOKED: {"reopen"},
        }[SenderId.Status(sender.status)]
        return [b for b in buttons if b.action_name.removeprefix("messaging_senderid_") in offered]


def waiting() -> int:
    """How many sender IDs wait for a decision."""
    return SenderId.objects.filter(status=SenderId.Status.PENDING).count()


def pending_panel(request: HttpRequest) -> tuple[str, dict[str, Any]] | None:
    """The head of the queue, for the admin's first page."""
    if not request.user.has_perm("messaging.view_senderid"):
        return None
    pending = SenderId.objects.filter(status=SenderId.Status.PENDING)
    rows = pending.select_related("organization").order_by("created_at")[:10]
    return "admin/panels/senders.html", {"senders": rows}
