"""Take screenshots of every page in both themes, both languages and two widths.

`python -m tests.screenshots` writes them to ./screenshots/. `python -m tests.screenshots overview
message` takes only these pages; `--docs` also updates the pictures of the README.
"""

import os
import subprocess
import sys
from itertools import product
from pathlib import Path

import django

FOLDER = Path("screenshots")
DOCS = Path("docs/images")
THEMES = ("light", "dark")
LANGUAGES = ("en", "ar")
IN_README = {
    "overview": ("light", "en", "wide"),
    "message-delivered": ("light", "en", "wide"),
    "compose-arabic": ("light", "ar", "wide"),
    "campaign-finished": ("dark", "en", "wide"),
    "messages": ("dark", "ar", "phone"),
}
WIDTHS = {"wide": (1280, 860), "phone": (360, 740)}


def main(arguments: list[str]) -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "imissive.settings")
    if "DATABASE_URL" not in os.environ:
        command = [sys.executable, "-m", "imissive.run.embedded", "--fast", "--", sys.executable]
        command += ["-m", "tests.screenshots", *arguments]
        raise SystemExit(subprocess.run(command, check=False).returncode)
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    take([name for name in arguments if not name.startswith("-")], docs="--docs" in arguments)


def take(names: list[str], *, docs: bool) -> None:
    from playwright.sync_api import BrowserContext

    from tests.support import browsers, showcase

    shown = showcase.make()
    pages = pages_of(shown)
    FOLDER.mkdir(exist_ok=True)
    with browsers.live_server() as url, browsers.chromium() as browser:

        def open_as(who: str, theme: str, language: str, size: tuple[int, int]) -> BrowserContext:
            context = browser.new_context(
                viewport={"width": size[0], "height": size[1]},
                color_scheme="dark" if theme == "dark" else "light",
                timezone_id="Asia/Riyadh",
            )
            cookies = {"theme": theme, "django_language": language}
            context.add_cookies(
                [{"name": name, "value": value, "url": url} for name, value in cookies.items()]
            )
            if who == "acting":
                browsers.log_in(context, url, shown.operator, acting_as=shown.organization)
            elif who:
                browsers.log_in(context, url, getattr(shown, who))
            return context

        for theme, language, (width, size) in product(THEMES, LANGUAGES, WIDTHS.items()):
            for who in ("", "owner", "newcomer", "operator", "acting"):
                context = open_as(who, theme, language, size)
                page = context.new_page()
                page.on("console", lambda message: print("console:", message.text))
                for name, (as_whom, path) in pages.items():
                    if as_whom != who or (names and name not in names):
                        continue
                    page.goto(url + path)
                    page.wait_for_load_state("networkidle")
                    overflow = page.evaluate("document.documentElement.scrollWidth > innerWidth")
                    file = FOLDER / f"{name}-{theme}-{language}-{width}.png"
                    page.screenshot(path=str(file), full_page=True)
                    print(file, "(wider than the window!)" if overflow else "")
                context.close()
        if docs:
            _docs(open_as, url, pages)


def _docs(open_as, url, pages) -> None:
    DOCS.mkdir(parents=True, exist_ok=True)
    for name, (theme, language, width) in IN_README.items():
        context = open_as("owner", theme, language, WIDTHS[width])
        page = context.new_page()
        page.goto(url + pages[name][1])
        page.screenshot(path=str(DOCS / f"{name}.png"))
        context.close()


def pages_of(shown) -> dict[str, tuple[str, str]]:
    """Return each page's user and path by its name."""
    from accounts.access.page_access import public_id
    from tests.support.showcase import organization_id

    home = f"/dashboard/{organization_id(shown)}/"
    queue = "/admin/messaging/senderid/"
    campaigns = {each.name: each.public_id for each in shown.organization.campaigns.all()}
    sender = shown.organization.sender_ids.get(name="NAJD-Care")
    refused = shown.organization.sender_ids.get(status="rejected")
    arabic = shown.organization.text_templates.get(name__startswith="ت").public_id
    smpp_account = shown.organization.smpp_accounts.get()
    smpp = f"/admin/messaging/smppaccount/{smpp_account.pk}/"
    kept = dict(shown.organization.files.values_list("name", "id"))
    batch = shown.organization.batches.filter(campaign=None).earliest("id")
    return {
        "landing": ("", "/"),
        "guide": ("", "/docs"),
        "reference": ("", "/docs/reference"),
        "reference-otp": ("", "/docs/reference/otp"),
        "reference-events": ("", "/docs/reference/events"),
        "login": ("", "/accounts/login/"),
        "password-reset": ("", "/accounts/password/reset/"),
        "signup": ("", "/accounts/signup/"),
        "check-mail": ("", "/accounts/confirm-email/"),
        "link-ended": ("", "/invitations/ended/"),
        "not-found": ("", "/nothing/"),
        "overview": ("owner", home),
        "overview-month": ("owner", f"{home}?span=30d"),
        "usage": ("owner", f"{home}usage/?span=30d"),
        "usage-country": ("owner", f"{home}usage/?span=30d&by=country"),
        "usage-wrong": ("owner", f"{home}usage/?since=2026-01-01&until=2025-01-01"),
        "credits": ("owner", f"{home}credits/"),
        "prices": ("owner", f"{home}credits/prices/"),
        "messages": ("owner", f"{home}messages/"),
        "messages-none": ("owner", f"{home}messages/?number=%2B966500000000"),
        "messages-filtered": (
            "owner",
            f"{home}messages/?status=delivered&country=SA&source=api"
            "&since=2026-01-01&sender=NAJD",
        ),
        "messages-wrong": ("owner", f"{home}messages/?since=2026-03-10&until=2026-03-09&batch=x"),
        "message-delivered": ("owner", f"{home}messages/{shown.delivered.public_id}/"),
        "message-failed": ("owner", f"{home}messages/{shown.failed.public_id}/"),
        "search": ("owner", f"{home}search/?q=NAJD"),
        "search-none": ("owner", f"{home}search/?q=nobody"),
        "exports": ("owner", f"{home}messages/exports/"),
        "resend": ("owner", f"{home}messages/{shown.failed.public_id}/resend/"),
        "batch": ("owner", f"{home}batches/{batch}/"),
        "batch-cancel": ("owner", f"{home}batches/{batch}/cancel/"),
        "test-message": ("owner", f"{home}test-message/"),
        "compose": ("owner", f"{home}compose/"),
        "compose-arabic": ("owner", f"{home}compose/?to=%2B966550000001&template={arabic}"),
        "contacts": ("owner", f"{home}contacts/"),
        "contact-new": ("owner", f"{home}contacts/new/"),
        "contact-lists": ("owner", f"{home}contacts/lists/"),
        "contacts-import": ("owner", f"{home}contacts/import/"),
        "contacts-import-columns": ("owner", f"{home}contacts/import/{kept['to-import.csv']}/"),
        "contacts-not-imported": (
            "owner", f"{home}contacts/not-imported/{kept['not-imported.csv']}/"
        ),
        "contacts-none": ("newcomer", f"/dashboard/{public_id(shown.fresh)}/contacts/"),
        "suppressions": ("owner", f"{home}suppressions/"),
        "suppressions-add": ("owner", f"{home}suppressions/add/"),
        "templates": ("owner", f"{home}templates/"),
        "template-new": ("owner", f"{home}templates/new/"),
        "first-steps": ("newcomer", f"/dashboard/{public_id(shown.fresh)}/"),
        "keys": ("owner", f"{home}keys/"),
        **_building_pages(shown, home),
        "key-new": ("owner", f"{home}keys/new/"),
        "campaigns": ("owner", f"{home}campaigns/"),
        "campaigns-none": ("newcomer", f"/dashboard/{public_id(shown.fresh)}/campaigns/"),
        "campaign-new": ("owner", f"{home}campaigns/new/"),
        **{
            f"campaign-{name}": ("owner", f"{home}campaigns/{campaigns[whose]}/{page}")
            for name, (whose, page) in {
                "columns": ("Eid greetings", "columns/"),
                "text": ("Eid greetings", "text/"),
                "check": ("May offers", "check/"),
                "start": ("May offers", "start/"),
                "running": ("Delivery windows", ""),
                "paused": ("Loyalty points", ""),
                "scheduled": ("National day", ""),
                "finished": ("Parcels waiting", ""),
                "cancel": ("Delivery windows", "cancel/"),
            }.items()
        },
        "team": ("owner", f"{home}team/"),
        "team-leave": ("owner", f"{home}team/leave/"),
        "sender-ids": ("owner", f"{home}sender-ids/"),
        "sender-id": ("owner", f"{home}sender-ids/{sender.public_id}/"),
        "sender-new": ("owner", f"{home}sender-ids/new/"),
        "sender-again": ("owner", f"{home}sender-ids/{refused.public_id}/again/"),
        "smpp": ("owner", f"{home}smpp/"),
        "smpp-none": ("newcomer", f"/dashboard/{public_id(shown.fresh)}/smpp/"),
        "smpp-password": ("owner", f"{home}smpp/{smpp_account.pk}/password/"),
        "settings": ("owner", f"{home}settings/"),
        "close": ("owner", f"{home}settings/close/"),
        "new-organization": ("owner", "/new-organization/"),
        "profile": ("owner", "/accounts/profile/"),
        "two-factor": ("owner", "/accounts/2fa/"),
        "totp": ("owner", "/accounts/2fa/totp/activate/"),
        "password": ("owner", "/accounts/password/change/"),
        "email": ("owner", "/accounts/email/"),
        "sessions": ("owner", "/accounts/sessions/"),
        "admin": ("operator", "/admin/"),
        "admin-senders": ("operator", queue),
        "admin-sender": ("operator", f"{queue}{sender.pk}/change/"),
        "admin-reject": ("operator", f"{queue}{sender.pk}/reject/"),
        "admin-organization": (
            "operator", f"/admin/accounts/organization/{shown.organization.pk}/change/"
        ),
        "admin-number-ranges": ("operator", "/admin/messaging/numberrange/"),
        "admin-number-range": ("operator", "/admin/messaging/numberrange/add/"),
        "admin-suspend": (
            "operator", f"/admin/accounts/organization/{shown.organization.pk}/suspend/"
        ),
        "admin-act-as": (
            "operator", f"/admin/accounts/organization/{shown.organization.pk}/act_as/"
        ),
        "admin-carriers": ("operator", "/admin/messaging/carrier/"),
        "admin-try": (
            "operator",
            f"/admin/messaging/route/try_it/?organization={organization_id(shown)}"
            "&to=%2B966501234567&sender=NAJD&text=Your+order+is+on+its+way",
        ),
        "acting": ("acting", home),
        "acting-sender": ("acting", f"{home}sender-ids/{sender.public_id}/"),
        "admin-adjust": (
            "operator", f"/admin/accounts/organization/{shown.organization.pk}/adjust_credits/"
        ),
        "admin-carrier": ("operator", f"/admin/messaging/carrier/{shown.carrier.pk}/change/"),
        "admin-smpp": ("operator", f"{smpp}change/"),
        "admin-smpp-console": ("operator", f"{smpp}console/"),
        "admin-smpp-end": (
            "operator", f"/admin/messaging/smppsession/{smpp_account.sessions.first().pk}/end/"
        ),
        "admin-messages": ("operator", "/admin/messaging/message/"),
        "admin-message": ("operator", f"/admin/messaging/message/{shown.failed.pk}/change/"),
        "admin-ledger": ("operator", "/admin/accounts/ledgerentry/"),
        "admin-audit": ("operator", "/admin/accounts/auditentry/"),
    }  # fmt: skip


def _building_pages(shown, home: str) -> dict[str, tuple[str, str]]:
    """Return the pages of webhooks and the other developer pages."""
    from accounts.access.page_access import public_id

    late = shown.endpoint.deliveries.filter(status="pending").latest("id")
    one = f"{home}webhooks/{shown.endpoint.public_id}/"
    key = shown.organization.api_keys.get(name="CI tests")
    return {
        "webhooks": ("owner", f"{home}webhooks/"),
        "webhook": ("owner", one),
        "webhook-new": ("owner", f"{home}webhooks/new/"),
        "webhook-replay": ("owner", f"{one}replay/"),
        "webhook-delivery": ("owner", f"{home}webhooks/deliveries/{late.public_id}/"),
        "webhooks-none": ("newcomer", f"/dashboard/{public_id(shown.fresh)}/webhooks/"),
        "audit": ("owner", f"{home}audit/"),
        "event-feed": ("owner", f"{home}webhooks/events/"),
        "otp": ("owner", f"{home}otp/"),
        "otp-none": ("newcomer", f"/dashboard/{public_id(shown.fresh)}/otp/"),
        "otp-try": ("owner", f"{home}otp/try/{shown.code.public_id}/"),
        "key-addresses": ("owner", f"{home}keys/{key.public_id}/addresses/"),
    }


if __name__ == "__main__":
    main(sys.argv[1:])
