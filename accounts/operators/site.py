"""Admin site of the operators: login, content security policy, menu and panels."""

from typing import TYPE_CHECKING, Any

from allauth.account.decorators import secure_admin_login
from csp.constants import UNSAFE_EVAL, UNSAFE_INLINE
from csp.decorators import csp_update
from django.contrib import auth
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.contrib.admin import AdminSite
else:
    from unfold.sites import UnfoldAdminSite as AdminSite

# The minimum that django-unfold needs beyond the policy of settings.py: Alpine compiles the
# expressions in its attributes (eval), and Unfold writes its colours into a style element. Scripts
# must still come from our own origin, and inline scripts are still refused. Only
# `OperatorSite.admin_view` adds this; pages outside the admin keep the strict policy.
UNFOLD_CSP = {"script-src": [UNSAFE_EVAL], "style-src": [UNSAFE_INLINE]}

_PRIMARY = {
    "50": "oklch(97.6% .016 188)",
    "100": "oklch(94.5% .036 187)",
    "200": "oklch(89.4% .063 186)",
    "300": "oklch(82.4% .089 185)",
    "400": "oklch(73.2% .105 185)",
    "500": "oklch(62.5% .1 187)",
    "600": "oklch(50.2% .084 190)",
    "700": "oklch(43.4% .072 191)",
    "800": "oklch(37.6% .061 192)",
    "900": "oklch(32.4% .051 193)",
    "950": "oklch(23.2% .04 195)",
}


def _item(title: Any, icon: str, model: str, *, permission: str = "") -> dict[str, Any]:
    """Return a menu item; `permission` defaults to the one to view the model."""
    app, name = model.split(".")
    needed = permission or f"{app}.view_{name}"
    item: dict[str, Any] = {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{app}_{name}_changelist"),
        "permission": lambda request: request.user.has_perm(needed),
    }
    waiting = site.waiting[model]() if model in site.waiting else 0
    if waiting:
        item["badge"] = str(waiting)
    return item


def _menu(_request: HttpRequest) -> list[dict[str, Any]]:
    return [
        {
            "title": _("Customers"),
            "items": [
                _item(_("Organizations"), "apartment", "accounts.organization"),
                _item(_("Users"), "person", "accounts.user"),
                _item(_("API keys"), "key", "accounts.apikey"),
                _item(_("Sender IDs"), "badge", "messaging.senderid"),
                _item(_("Suppressions"), "do_not_disturb_on", "messaging.suppression"),
            ],
        },
        {
            "title": _("Money"),
            "items": [
                _item(_("Balances"), "account_balance_wallet", "accounts.balance"),
                _item(_("Ledger"), "receipt_long", "accounts.ledgerentry"),
                _item(
                    _("Top-ups and corrections"),
                    "payments",
                    "accounts.creditchange",
                    permission="accounts.view_ledgerentry",
                ),
                _item(_("Prices"), "sell", "messaging.price"),
            ],
        },
        {
            "title": _("Traffic"),
            "items": [
                _item(_("Messages"), "sms", "messaging.message"),
                _item(_("Carriers"), "cell_tower", "messaging.carrier"),
                _item(_("Routes"), "alt_route", "messaging.route"),
                _item(_("Country rules"), "schedule", "messaging.sendingrule"),
                _item(_("Number ranges"), "dialpad", "messaging.numberrange"),
                _item(_("SMPP accounts"), "hub", "messaging.smppaccount"),
                _item(_("SMPP binds"), "lan", "messaging.smppsession"),
                _item(_("Receipts not used"), "unknown_document", "messaging.earlyreceipt"),
            ],
        },
        {
            "title": _("One-time passwords"),
            "items": [
                _item(_("Verifications"), "password", "otp.verification"),
                _item(_("Rules"), "rule", "otp.otpsettings"),
                _item(_("Held prefixes"), "front_hand", "otp.heldprefix"),
            ],
        },
        {
            "title": _("Webhooks"),
            "items": [
                _item(_("Endpoints"), "webhook", "webhooks.endpoint"),
                _item(_("Deliveries"), "outbox", "webhooks.delivery"),
            ],
        },
        {
            "title": _("Oversight"),
            "items": [
                _item(_("Audit log"), "policy", "accounts.auditentry"),
                _item(_("Operator groups"), "group", "auth.group"),
            ],
        },
    ]


_CONFIG: dict[str, Any] = {
    "SITE_TITLE": _("imissive operators"),
    "SITE_HEADER": "imissive",
    "SITE_SUBHEADER": _("Operators"),
    "SITE_ICON": lambda _request: static("img/mark.svg"),
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda _request: static("img/mark.svg")}
    ],
    "STYLES": [lambda _request: static("css/admin.css")],
    "SHOW_LANGUAGES": True,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": True,
    "SIDEBAR": {"show_search": True, "navigation": _menu},
}


class OperatorSite(AdminSite):
    """Unfold's admin site with our login, content security policy and menu.

    Apps register with three attributes. `panels` are the panels of the index page: functions that
    take the request and return a template's name and its context, or None where the operator may
    not see the panel. `organization_panels` are the same for an organization's page, and also take
    the organization. `waiting` maps a model, `app.name`, to a function that returns how many of its
    objects wait for an operator; the menu shows the number.
    """

    index_title = _("Operations")
    index_template = "accounts/operators/operations.html"

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        self.panels: list[Callable[[HttpRequest], tuple[str, dict[str, Any]] | None]] = []
        self.organization_panels: list[
            Callable[[HttpRequest, Any], tuple[str, dict[str, Any]] | None]
        ] = []
        self.waiting: dict[str, Callable[[], int]] = {}

    def _get_list(self, key: str, *arguments: Any) -> list[Any]:
        """Return a list of Unfold's settings; Unfold reads lists without `_get_config`."""
        if key in _CONFIG:
            return [item(*arguments) for item in _CONFIG[key]]
        return list(super()._get_list(key, *arguments))  # type: ignore[misc]

    def _get_config(self, key: str, *arguments: Any) -> Any:
        """Return one of Unfold's settings; ours are in this module, beside the menu."""
        if key == "COLORS":
            return {**super()._get_config(key, *arguments), "primary": dict(_PRIMARY)}  # type: ignore[misc]
        if key in _CONFIG:
            return self._get_value(_CONFIG[key], *arguments)  # type: ignore[attr-defined]
        return super()._get_config(key, *arguments)  # type: ignore[misc]

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        return csp_update(UNFOLD_CSP)(super().admin_view(view, cacheable))

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> TemplateResponse:
        panels = [panel for build in self.panels if (panel := build(request)) is not None]
        return super().index(request, {**(extra_context or {}), "panels": panels})

    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Log operators in like everybody: email, second factor, and the same rate limits."""
        response: HttpResponse = secure_admin_login(super().login)(request, extra_context)
        return response

    def logout(  # type: ignore[override]  # redirects: the admin has no logout page of its own
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        auth.logout(request)
        return redirect("home")


site = OperatorSite()
