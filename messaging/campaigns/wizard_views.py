"""The campaign wizard, one page for each step: recipients, columns, text, check, start.

Each step is stored in the campaign's row and has its own address, so that members may reload or
leave a page and return, and the back button undoes nothing.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _

from accounts.access.page_access import FORM, READ, member_page
from accounts.access.post_limits import PREVIEW, UPLOAD, limit_posts
from accounts.models import Balance, Member, Organization
from accounts.roles import Action, may
from accounts.ui.live_fragments import live_page
from accounts.ui.pages import show_page, to_page
from imissive.core.api.requests import client_address
from imissive.core.countries import name_of
from imissive.core.lookups import row_of
from messaging.campaigns import drafts
from messaging.campaigns.chunks import Bad, Good, bad_rows, chunk_of, good_rows
from messaging.campaigns.forms import ColumnsForm, RecipientsForm, StartForm, TextForm
from messaging.campaigns.views import campaign_or_404
from messaging.compose.forms import template_of
from messaging.importing import encodings as csv_encodings
from messaging.importing import problems
from messaging.importing.recipients import shape_of, variables_known
from messaging.importing.suggestions import suggestion
from messaging.models import Campaign
from messaging.models.campaign_states import UNSENT, State
from messaging.routing.cache import tables
from messaging.text import encoding

SHOWN_BUBBLES = 4
SHOWN_PROBLEMS = 20
StepView = Callable[[HttpRequest, Member, Campaign], HttpResponse]


def _step(methods: Sequence[str]) -> Callable[[StepView], Callable[..., HttpResponseBase]]:
    """Return a decorator for a step of an unsent campaign.

    For other campaigns, the step redirects to the campaign's page.
    """

    def decorate(view: StepView) -> Callable[..., HttpResponseBase]:
        @member_page(Action.SEND, methods)
        @wraps(view)
        def guarded(request: HttpRequest, member: Member, campaign_id: str) -> HttpResponse:
            campaign = campaign_or_404(member, campaign_id)
            if campaign.state not in UNSENT:
                return _to("campaign", member, campaign)
            return view(request, member, campaign)

        return guarded

    return decorate


def _to(name: str, member: Member, campaign: Campaign) -> HttpResponse:
    return to_page(member, name, campaign.public_id)


def _context(campaign: Campaign | None, step: str, **more: Any) -> dict[str, Any]:
    """Return the context with all steps, the current one, and links to the earlier ones."""
    names = [
        ("recipients", _("Recipients"), "campaign_recipients"),
        ("columns", _("Columns"), "campaign_columns"),
        ("text", _("Text"), "campaign_text"),
        ("check", _("Check"), "campaign_check"),
        ("start", _("Send"), "campaign_start"),
    ]
    if campaign is not None and not campaign.columns:
        names = [each for each in names if each[0] != "columns"]
    at = [each[0] for each in names].index(step)
    steps = [
        {"label": label, "url": url if position < at else "", "here": position == at}
        for position, (_key, label, url) in enumerate(names)
    ]
    return {"page": "campaigns", "campaign": campaign, "steps": steps, **more}


# ---------------------------------------------------------------- recipients


@member_page(Action.SEND, FORM)
@limit_posts(UPLOAD)
def new_campaign(request: HttpRequest, member: Member) -> HttpResponse:
    form = _recipients_form(request, member)
    if form.is_bound and form.is_valid():
        return _create(member, form)
    return show_page(
        request,
        member,
        "messaging/campaigns/campaign_new.html",
        _context(None, "recipients", form=form),
    )


@_step(FORM)
@limit_posts(UPLOAD)
def recipients(request: HttpRequest, member: Member, campaign: Campaign) -> HttpResponse:
    """Choose another file or other lists for a draft."""
    initial = {
        "campaign_id": campaign.public_id,
        "name": campaign.name,
        "lists": [each.public_id for each in campaign.lists.all()],
    }
    form = _recipients_form(request, member, initial)
    if form.is_bound and form.is_valid():
        form.cleaned_data["campaign_id"] = campaign.id
        return _create(member, form)
    context = _context(campaign, "recipients", form=form)
    return show_page(request, member, "messaging/campaigns/campaign_new.html", context)


def _recipients_form(
    request: HttpRequest, member: Member, initial: dict[str, Any] | None = None
) -> RecipientsForm:
    if request.method == "POST":
        return RecipientsForm(member.organization, request.POST, request.FILES)
    return RecipientsForm(member.organization, initial=initial)


def _create(member: Member, form: RecipientsForm) -> HttpResponse:
    cleaned = form.cleaned_data
    campaign = drafts.create(
        member,
        cleaned["campaign_id"],
        cleaned["name"],
        cleaned["file"] or None,
        form.reading,
        form.chosen_lists,
    )
    if campaign is None:
        # The form of a campaign that was sent already, reached by the back button.
        campaign = row_of(drafts.campaigns_of(member.organization), cleaned["campaign_id"])
        if campaign is None:
            return to_page(member, "campaigns")
        return _to("campaign", member, campaign)
    return _to("campaign_columns" if campaign.columns else "campaign_text", member, campaign)


# ---------------------------------------------------------------- columns


@_step(FORM)
@limit_posts(PREVIEW)
def columns(request: HttpRequest, member: Member, campaign: Campaign) -> HttpResponse:
    if not campaign.columns:
        return _to("campaign_text", member, campaign)
    form = ColumnsForm(campaign, request.POST if request.method == "POST" else None)
    if form.is_bound:
        shape = form.shape()
        if shape is not None and shape != shape_of(campaign):
            # The columns may have changed: the member reviews them before the next step.
            if not drafts.set_shape(campaign, shape):
                messages.error(request, _file_gone())
            return _to("campaign_columns", member, campaign)
        if form.is_valid():
            drafts.change(
                campaign,
                **{
                    name: form.cleaned_data[name]
                    for name in ("number_column", "country", "reference_column")
                },
            )
            return _to("campaign_text", member, campaign)
    reading = drafts.reading_of(campaign)
    context = _context(
        campaign,
        "columns",
        form=form,
        sample=reading.sample if reading else [],
        encoding=csv_encodings.NAMES.get(campaign.encoding, campaign.encoding),
        gone=None if reading else _file_gone(),
    )
    return show_page(request, member, "messaging/campaigns/campaign_columns.html", context)


def _file_gone() -> str:
    return _("The file was kept for 90 days. Upload it again.")


# ---------------------------------------------------------------- text


@_step(FORM)
@limit_posts(PREVIEW)
def write(request: HttpRequest, member: Member, campaign: Campaign) -> HttpResponse:
    """Write the text; a template may fill the form first."""
    templates = list(member.organization.text_templates.order_by("name", "id"))
    if campaign.columns and campaign.number_column is None:
        return _to("campaign_columns", member, campaign)
    chosen = template_of(templates, request.POST.get("template", ""))
    if request.method == "POST" and request.POST.get("act") == "template" and chosen:
        initial = {"sender": request.POST.get("sender", ""), "text": chosen.text}
        form = TextForm(campaign, initial=initial)
    else:
        form = TextForm(campaign, request.POST if request.method == "POST" else None)
        if form.is_bound and form.is_valid():
            drafts.request_check(campaign, **form.cleaned_data)
            return _to("campaign_check", member, campaign)
    context = _context(
        campaign,
        "text",
        form=form,
        templates=templates,
        chosen=chosen,
        variables=variables_known(campaign),
    )
    return show_page(request, member, "messaging/campaigns/campaign_text.html", context)


# ---------------------------------------------------------------- the check


@_step(READ)
def check(request: HttpRequest, member: Member, campaign: Campaign) -> HttpResponse:
    """Show the check's findings, during and after it."""
    if campaign.state == State.DRAFT:
        return _to("campaign_text", member, campaign)
    context = _context(campaign, "check", live=campaign.state == State.CHECKING)
    context |= {"query": "", "every": "1s"}
    if campaign.state == State.READY:
        context |= _findings(member, campaign)
    return live_page(
        request, member, "messaging/campaigns/campaign_check", "campaign_check_body", context
    )


def _findings(member: Member, campaign: Campaign) -> dict[str, Any]:
    findings = campaign.findings
    first = chunk_of(campaign, 0)
    good = good_rows(first)[:SHOWN_BUBBLES] if first else []
    bad = bad_rows(first)[:SHOWN_PROBLEMS] if first else []
    encodings: dict[str, int] = findings.get("encodings", {})
    forcing = encoding.forcing_ucs2(campaign.text) if encodings.get("ucs2") else []
    return {
        "bubbles": [_bubble(row) for row in good],
        "bad_count": campaign.rows - campaign.good,
        "kinds": [
            (problems.WORDS.get(kind, problems.WORDS[problems.Kind.OTHER]), count)
            for kind, count in findings.get("problems", {}).items()
        ],
        "bad": [(row, problems.in_words(row.kind, row.detail)) for row in bad],
        "suggested": _suggested(campaign, bad_rows(first)) if first else "",
        "gsm7": encodings.get("gsm7", 0),
        "ucs2": encodings.get("ucs2", 0),
        "forcing": forcing[:12],
        "countries": [
            (name_of(country), count) for country, count in findings.get("countries", {}).items()
        ],
        "sizes": sorted((int(size), count) for size, count in findings.get("sizes", {}).items()),
        "windows": _windows(campaign),
        "held": findings.get("held", 0),
        "too_many": findings.get("too_many", False),
        **_money(member, campaign),
    }


def _suggested(campaign: Campaign, bad: Sequence[Bad]) -> str:
    """Return a suggestion of another country for the numbers of a file, or ""."""
    if not campaign.columns:
        return ""
    failed = [row.written for row in bad if row.kind == problems.Kind.NUMBER]
    home = campaign.organization.default_country
    return suggestion(failed, home, campaign.country, campaign.good)


def _bubble(row: Good) -> dict[str, Any]:
    return {"row": row, "measure": encoding.measure(row.text)}


def _windows(campaign: Campaign) -> list[tuple[str, str]]:
    """Return the sending hours of the campaign's countries for its sender."""
    hours_of_countries = []
    for country in campaign.findings.get("countries", {}):
        hours = tables().sending_hours(country, campaign.sender)
        if hours is not None:
            hours_of_countries.append((name_of(country), str(hours)))
    return hours_of_countries


def _money(member: Member, campaign: Campaign) -> dict[str, Any]:
    balance = Balance.objects.filter(organization=member.organization).first()
    micro = balance.micro if balance else 0
    knows = may(member.role, Action.READ_CREDITS)
    return {"covered": campaign.price <= micro, "balance": micro if knows else None}


# ---------------------------------------------------------------- the start


@_step(FORM)
def start(request: HttpRequest, member: Member, campaign: Campaign) -> HttpResponse:
    """Choose the time, and confirm the cost."""
    if campaign.state != State.READY or not campaign.good:
        return _to("campaign_check", member, campaign)
    suspended = member.organization.status != Organization.Status.ACTIVE
    money, seen = _money(member, campaign), _seen(campaign)
    form = StartForm(
        member.user,
        request.POST if request.method == "POST" else None,
        covered=money["covered"],
        seen=seen,
    )
    if form.is_bound and form.is_valid() and not suspended:
        cleaned = form.cleaned_data
        if cleaned["seen"] != seen:
            messages.warning(request, _("The campaign was changed meanwhile. Look at it again."))
            return _to("campaign_check", member, campaign)
        chosen = {name: cleaned[name] for name in ("scheduled_at", "per_minute", "validity")}
        if drafts.start(member, campaign, client_address(request), **chosen):
            scheduled = cleaned["scheduled_at"]
            done = _("The campaign is scheduled.") if scheduled else _("It is begun.")
            messages.success(request, done)
        return _to("campaign", member, campaign)
    context = _context(
        campaign,
        "start",
        form=form,
        suspended=suspended,
        windows=_windows(campaign),
        bad_count=campaign.rows - campaign.good,
        **money,
    )
    return show_page(request, member, "messaging/campaigns/campaign_start.html", context)


def _seen(campaign: Campaign) -> str:
    """Return a fingerprint of what a member confirms: this check's messages and their price."""
    at = campaign.checked_at.isoformat() if campaign.checked_at else ""
    return f"{campaign.good}:{campaign.price}:{at}"
