"""Pages of sender IDs: list, request, one with its history and documents, actions, notices."""

import uuid
from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.access.page_access import FORM, POST, member_page, object_or_404, public_id
from accounts.access.post_limits import UPLOAD, limit_posts
from accounts.models import Member
from accounts.roles import Action
from accounts.ui import stored_files
from accounts.ui.pages import confirmation_page, page_url, show_page, to_page
from imissive.core import ids
from imissive.core.api.requests import client_address
from imissive.core.errors import ApiError
from imissive.core.problems import sentence
from messaging.models import SenderDocument, SenderId
from messaging.senders import approval, history
from messaging.senders import documents as sender_documents
from messaging.senders.documents import (
    MAX_BYTES,
    MOST_DOCUMENTS,
    Document,
    NotADocument,
)
from messaging.senders.reasons import SenderReason

Status = SenderId.Status
AGAIN = (Status.REJECTED, Status.REVOKED, Status.WITHDRAWN)
"""Statuses in which a sender ID may be requested again."""


class _Files(forms.ClearableFileInput):
    allow_multiple_selected = True


class DocumentsField(forms.FileField):
    """Uploaded documents. RequestForm reads them once everything else in the form is valid."""

    def __init__(self) -> None:
        super().__init__(
            label=gettext_lazy("Documents"),
            required=False,
            widget=_Files(attrs={"accept": ".pdf,.png,.jpg,.jpeg"}),
            help_text=gettext_lazy(
                "A commercial registration, trademark or letter that shows the name is yours. PDF,"
                " PNG or JPEG; at most 5 files of 5 MB. Only your team's owners and admins and our"
                " operators can open them."
            ),
        )

    def clean(self, data: Any, initial: Any = None) -> list[Any]:
        """Return the uploads; refuse too many or too large ones."""
        if len(data or []) > MOST_DOCUMENTS:
            raise forms.ValidationError(_("At most 5 files can be attached."))
        uploads = [super(DocumentsField, self).clean(each, initial) for each in data or []]
        for upload in uploads:
            if (upload.size or 0) > MAX_BYTES:
                message = _("%(name)s is larger than 5 MB.")
                raise forms.ValidationError(message, params={"name": upload.name or ""})
        return uploads


def _document(upload: Any) -> Document:
    name = upload.name or ""
    try:
        return sender_documents.document(name, upload.read())
    except NotADocument:
        message = _(
            "%(name)s is no PDF, PNG or JPEG, whatever its name says, or it is damaged. Save it"
            " again as one of these."
        )
        raise forms.ValidationError(message, params={"name": name}) from None


class RequestForm(forms.Form):
    """A request for a sender ID."""

    name = forms.CharField(
        label=gettext_lazy("Sender ID"),
        max_length=24,
        widget=forms.TextInput(attrs={"dir": "ltr", "autocomplete": "off", "spellcheck": "false"}),
        help_text=gettext_lazy(
            "What handsets show: up to 11 Latin letters, digits, spaces or common punctuation, such"
            " as MyCompany. Or a number with its plus, or a short code of 3 to 8 digits."
        ),
    )
    use = forms.ChoiceField(
        label=gettext_lazy("Use"),
        widget=forms.RadioSelect,
        choices=[
            (
                SenderId.Use.TRANSACTIONAL,
                gettext_lazy("Transactional: orders, appointments, codes"),
            ),
            (SenderId.Use.PROMOTIONAL, gettext_lazy("Promotional: offers and news")),
        ],
        help_text=gettext_lazy(
            "In Saudi Arabia a promotional sender ID ends in -AD, such as MyShop-AD, and its"
            " messages go out during the day only. A transactional one does not end so, and may"
            " carry no offers: carriers block it."
        ),
    )
    purpose = forms.CharField(
        label=gettext_lazy("Purpose"),
        max_length=approval.MAX_PURPOSE,
        help_text=gettext_lazy("What you send and to whom, in a sentence."),
    )
    sample = forms.CharField(
        label=gettext_lazy("Sample message"),
        max_length=approval.MAX_SAMPLE,
        widget=forms.Textarea(attrs={"rows": 3, "dir": "auto"}),
        help_text=gettext_lazy("A text just as you will send it, with your company's name in it."),
    )
    documents = DocumentsField()

    def clean_name(self) -> str:
        try:
            return approval.normalize(self.cleaned_data["name"])[0]
        except ApiError as error:
            raise forms.ValidationError(sentence(error.problem)) from None

    def clean(self) -> None:
        """Check the use against the name; read the documents."""
        self._check_use()
        # Last, and only in a valid form, because reading files is expensive.
        if not self.errors:
            try:
                uploads = self.cleaned_data["documents"]
                self.cleaned_data["documents"] = [_document(upload) for upload in uploads]
            except forms.ValidationError as error:
                self.add_error("documents", error)

    def _check_use(self) -> None:
        name, use = self.cleaned_data.get("name"), self.cleaned_data.get("use")
        if not name or not use:
            return
        promotional = name.upper().endswith(approval.PROMOTIONAL_SUFFIX)
        if use == SenderId.Use.PROMOTIONAL and not promotional and name[0] not in "+0123456789":
            message = _("A promotional sender ID ends in -AD: for example %(name)s.")
            example = f"{name[:8].rstrip()}{approval.PROMOTIONAL_SUFFIX}"
            self.add_error("name", forms.ValidationError(message, params={"name": example}))
        elif use == SenderId.Use.TRANSACTIONAL and promotional:
            self.add_error("use", _("A sender ID that ends in -AD is a promotional one."))


class AgainForm(RequestForm):
    """A new request for the same sender ID: its name stays, its documents may be removed."""

    without = forms.MultipleChoiceField(
        label=gettext_lazy("Remove these documents"),
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    field_order = ("use", "purpose", "sample", "without", "documents")

    def __init__(self, sender: SenderId, data: Any = None, uploads: Any = None) -> None:
        known = {"use": sender.use, "purpose": sender.purpose, "sample": sender.sample}
        super().__init__(data, uploads, initial=known)
        self.sender = sender
        self.fields["name"] = forms.CharField(required=False, widget=forms.HiddenInput)
        had = sender_documents.documents_of(sender)
        if had:
            self.fields["without"].choices = [(str(each.id), str(each)) for each in had]  # type: ignore[attr-defined]
        else:
            del self.fields["without"]

    def clean_name(self) -> str:
        """Return the sender ID's name and ignore the posted one."""
        return self.sender.name


@member_page(Action.READ_MESSAGES)
def sender_list(request: HttpRequest, member: Member) -> HttpResponse:
    """List the organization's sender IDs, and the notices of decisions."""
    found = SenderId.objects.filter(organization=member.organization)
    context = {
        "page": "sender_ids",
        "senders": history.in_order(found),
        "notices": history.notices_for(member),
        "notices_back": "sender_ids",
    }
    return show_page(request, member, "messaging/senders/sender_ids.html", context)


@member_page(Action.READ_MESSAGES)
def sender_page(request: HttpRequest, member: Member, sender_id: str) -> HttpResponse:
    """Show a sender ID with its history and documents. Raises Http404."""
    sender = _sender_of(member, sender_id)
    context = {
        "page": "sender_ids",
        "sender": sender,
        "documents": sender_documents.documents_of(sender),
        "history": history.history_of(sender),
        "again": sender.status in AGAIN,
    }
    return show_page(request, member, "messaging/senders/sender_id.html", context)


@member_page(Action.MANAGE_SENDERS, FORM)
@limit_posts(UPLOAD)
def new_sender(request: HttpRequest, member: Member) -> HttpResponse:
    """Show the form for a sender ID; a POST requests it."""
    form = RequestForm(request.POST, request.FILES) if request.method == "POST" else RequestForm()
    return _handle_form(request, member, form)


@member_page(Action.MANAGE_SENDERS, FORM)
@limit_posts(UPLOAD)
def request_again(request: HttpRequest, member: Member, sender_id: str) -> HttpResponse:
    """Show the form for a sender ID that was refused or withdrawn; a POST requests it again."""
    sender = _sender_of(member, sender_id)
    if sender.status not in AGAIN:
        messages.warning(request, _("It waits for a decision, or is approved already."))
        return _to(sender)
    posted = (request.POST, request.FILES) if request.method == "POST" else ()
    return _handle_form(request, member, AgainForm(sender, *posted), sender)


def _handle_form(
    request: HttpRequest, member: Member, form: RequestForm, sender: SenderId | None = None
) -> HttpResponse:
    """Show the form; if it is posted and valid, put the request in the queue."""
    if form.is_bound and form.is_valid():
        requested = _request(request, member, form)
        if requested is not None:
            messages.success(
                request, _("%(name)s is requested. We tell you by mail.") % {"name": requested.name}
            )
            return _to(requested)
    context = {"page": "sender_ids", "form": form, "sender": sender}
    return show_page(request, member, "messaging/senders/sender_id_request.html", context)


def _request(request: HttpRequest, member: Member, form: RequestForm) -> SenderId | None:
    """Request the form's sender ID and return it; None where that is refused, with form errors."""
    requested = form.cleaned_data
    try:
        return approval.request_sender(
            member.organization,
            requested["name"],
            requested["purpose"],
            requested["sample"],
            use=requested["use"],
            documents=requested["documents"],
            without=[uuid.UUID(each) for each in requested.get("without", [])],
            actor=member.user,
            address=client_address(request),
        )
    except ApiError as error:
        problem = error.problem
        if problem.reason is SenderReason.HAD_ALREADY:
            mine = SenderId.objects.filter(organization=member.organization)
            existing = mine.filter(name=requested["name"]).first()
            if existing and existing.status == Status.PENDING and _same(existing, requested):
                return existing  # a double click, or the form submitted again
        shown = problem.field in form.fields and not form.fields[problem.field].widget.is_hidden
        form.add_error(problem.field if shown else None, sentence(problem))
        return None


def _same(sender: SenderId, requested: dict[str, Any]) -> bool:
    fields = ("purpose", "sample", "use")
    return all(getattr(sender, field) == requested[field] for field in fields)


@member_page(Action.MANAGE_SENDERS, POST)
def make_default(request: HttpRequest, member: Member, sender_id: str) -> HttpResponse:
    """Make an approved sender ID the organization's default."""
    sender = _sender_of(member, sender_id)
    try:
        approval.make_default(sender, member.user, address=client_address(request))
    except ApiError as error:
        messages.error(request, sentence(error.problem))
    else:
        message = _("%(name)s is used where a message names no sender.")
        messages.success(request, message % {"name": sender.name})
    return _to(sender)


@member_page(Action.MANAGE_SENDERS, FORM)
def withdraw(request: HttpRequest, member: Member, sender_id: str) -> HttpResponse:
    """Ask for confirmation; a POST withdraws the request."""
    sender = _sender_of(member, sender_id)
    if request.method == "POST" or sender.status != Status.PENDING:
        _withdraw(request, member, sender)
        return _to(sender)
    return confirmation_page(
        request,
        member,
        page="sender_ids",
        title=_("Withdraw the request for %(name)s?") % {"name": sender.name},
        text=_("Nobody looks at it any more. You can ask for it again at any time."),
        button=_("Withdraw"),
        back=page_url(member, "sender_ids"),
    )


def _withdraw(request: HttpRequest, member: Member, sender: SenderId) -> None:
    if sender.status == Status.WITHDRAWN:
        return
    try:
        if request.method != "POST":
            raise ApiError(SenderReason.DECIDED, status=Status(sender.status).label)
        approval.withdraw(sender, member.user, address=client_address(request))
    except ApiError as error:
        messages.error(request, sentence(error.problem))
    else:
        messages.success(request, _("The request was withdrawn."))


@member_page(Action.MANAGE_SENDERS)
def document(
    request: HttpRequest, member: Member, sender_id: str, document_id: uuid.UUID
) -> HttpResponseBase:
    """Download a document of a sender ID. Raises Http404."""
    sender = _sender_of(member, sender_id)
    found = SenderDocument.objects.filter(sender=sender, id=document_id).first()
    file = stored_files.file_of(member.organization, found.file_id) if found else None
    if file is None:
        raise Http404
    return stored_files.download(file)


@member_page(Action.MANAGE_SENDERS, POST)
def dismiss(request: HttpRequest, member: Member, notice_id: int) -> HttpResponse:
    """Dismiss a notice, and redirect to the page where it was shown. Raises Http404."""
    if not approval.dismiss(member.organization, notice_id):
        raise Http404
    back = "sender_ids" if request.POST.get("back") == "sender_ids" else "overview"
    return to_page(member, back)


def _sender_of(member: Member, sender_id: str) -> SenderId:
    mine = SenderId.objects.filter(organization=member.organization)
    return object_or_404(mine, ids.SENDER, sender_id)


def _to(sender: SenderId) -> HttpResponse:
    return redirect("sender_id", public_id(sender.organization), sender.public_id)
