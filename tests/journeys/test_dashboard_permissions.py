"""Permissions of every page of an organization's dashboard, as one table.

A new URL without a row here fails. The rows have the permitted roles; other members get 403, an
outsider 404, and an anonymous user is redirected to the login.
"""

import pytest

from accounts.roles import Role
from messaging.models import (
    Carrier,
)
from tests.support.dashboard_pages import url_of, url_parameters
from tests.support.factories import Customer, World
from tests.support.people import (
    PLAIN_STATIC,
    browser,
    member,
    person,
)

ALL = frozenset(Role)
RUNS_IT = frozenset({Role.OWNER, Role.ADMIN})
BUILDS = RUNS_IT | {Role.DEVELOPER}
PAYS = RUNS_IT | {Role.FINANCE}
OWNS = frozenset({Role.OWNER})

TABLE: dict[str, tuple[str, frozenset[Role]]] = {
    "overview": ("GET", ALL),
    "messages": ("GET", ALL),
    "message": ("GET", ALL),
    "search": ("GET", ALL),
    "exports": ("GET", ALL),
    "new_export": ("POST", ALL),
    "fetch_export": ("GET", ALL),
    "cancel_export": ("GET POST", ALL),
    "cancel_message": ("GET POST", BUILDS),
    "resend_message": ("GET POST", BUILDS),
    "batch": ("GET", ALL),
    "cancel_batch": ("GET POST", BUILDS),
    "test_message": ("GET POST", BUILDS),
    "compose": ("GET POST", BUILDS),
    "compose_estimate": ("POST", BUILDS),
    "send_composed": ("POST", BUILDS),
    "contacts": ("GET", ALL),
    "new_contact": ("GET POST", BUILDS),
    "import_contacts": ("GET POST", BUILDS),
    "import_columns": ("GET POST", BUILDS),
    "not_imported": ("GET", BUILDS),
    "export_contacts": ("POST", BUILDS),
    "contact_lists": ("GET POST", ALL),
    "contact_list": ("GET POST", BUILDS),
    "remove_contact_list": ("GET POST", BUILDS),
    "contact": ("GET POST", BUILDS),
    "remove_contact": ("GET POST", BUILDS),
    "suppressions": ("GET", ALL),
    "add_suppressions": ("GET POST", BUILDS),
    "remove_suppression": ("GET POST", BUILDS),
    "templates": ("GET", ALL),
    "new_template": ("GET POST", BUILDS),
    "template": ("GET POST", BUILDS),
    "remove_template": ("GET POST", BUILDS),
    "campaigns": ("GET", ALL),
    "new_campaign": ("GET POST", BUILDS),
    "campaign": ("GET", ALL),
    "campaign_recipients": ("GET POST", BUILDS),
    "campaign_columns": ("GET POST", BUILDS),
    "campaign_text": ("GET POST", BUILDS),
    "campaign_check": ("GET", BUILDS),
    "campaign_start": ("GET POST", BUILDS),
    "pause_campaign": ("POST", BUILDS),
    "resume_campaign": ("POST", BUILDS),
    "unschedule_campaign": ("POST", BUILDS),
    "cancel_campaign": ("GET POST", BUILDS),
    "delete_campaign": ("GET POST", BUILDS),
    "campaign_problems": ("GET", ALL),
    "campaign_failures": ("GET", ALL),
    "team": ("GET", ALL),
    "invite": ("POST", RUNS_IT),
    "leave": ("GET POST", ALL),
    "resend_invitation": ("POST", RUNS_IT),
    "revoke_invitation": ("POST", RUNS_IT),
    "change_role": ("POST", RUNS_IT),
    "remove_member": ("GET POST", RUNS_IT),
    "keys": ("GET", BUILDS),
    "new_key": ("GET POST", BUILDS),
    "rotate_key": ("GET POST", BUILDS),
    "restrict_key": ("GET POST", BUILDS),
    "revoke_key": ("GET POST", BUILDS),
    "sender_ids": ("GET", ALL),
    "sender_id": ("GET", ALL),
    "new_sender": ("GET POST", RUNS_IT),
    "ask_sender_again": ("GET POST", RUNS_IT),
    "default_sender": ("POST", RUNS_IT),
    "withdraw_sender": ("GET POST", RUNS_IT),
    "sender_document": ("GET", RUNS_IT),
    "dismiss_sender_notice": ("POST", RUNS_IT),
    "smpp": ("GET", ALL),
    "smpp_password": ("GET POST", BUILDS),
    "webhooks": ("GET", BUILDS),
    "new_webhook": ("GET POST", BUILDS),
    "event_feed": ("GET", BUILDS),
    "webhook_delivery": ("GET", BUILDS),
    "replay_delivery": ("POST", BUILDS),
    "webhook": ("GET", BUILDS),
    "edit_webhook": ("GET POST", BUILDS),
    "rotate_webhook": ("GET POST", BUILDS),
    "switch_webhook": ("POST", BUILDS),
    "delete_webhook": ("GET POST", BUILDS),
    "test_webhook": ("POST", BUILDS),
    "replay_webhook": ("GET POST", BUILDS),
    "otp": ("GET", ALL),
    "choose_countries": ("POST", BUILDS),
    "send_try": ("POST", BUILDS),
    "otp_try": ("GET POST", BUILDS),
    "audit": ("GET", RUNS_IT),
    "export_audit": ("GET", RUNS_IT),
    "settings": ("GET", ALL),
    "rename_organization": ("POST", OWNS),
    "set_country": ("POST", OWNS),
    "set_alert": ("POST", PAYS),
    "usage": ("GET", ALL),
    "usage_file": ("GET", ALL),
    "credits": ("GET", PAYS),
    "ledger_file": ("GET", PAYS),
    "prices": ("GET", PAYS),
    "close_organization": ("GET POST", OWNS),
}
"""The methods and the permitted roles of each URL, by its name."""


@pytest.fixture(autouse=True)
def _plain(settings) -> None:
    settings.STORAGES = PLAIN_STATIC


def test_every_url_has_a_row() -> None:
    assert set(TABLE) == set(url_parameters())


@pytest.mark.parametrize("name", TABLE)
def test_each_role_has_access_to_its_pages(
    name: str, world: World, customer: Customer, outsider: Customer, carrier: Carrier
) -> None:
    methods, allowed = TABLE[name]
    members = {role: browser(member(customer.organization, role)) for role in Role}
    strangers = [
        browser(member(outsider.organization)),
        browser(person()),
        browser(person(is_staff=True, is_superuser=True)),
    ]
    url = url_of(name, world, customer, carrier)
    for method in ("GET", "POST"):
        responses = {}
        for role, client in members.items():
            if method == "POST":
                url = url_of(name, world, customer, carrier)
            responses[role] = client.generic(method, url).status_code
        if method not in methods.split():
            assert set(responses.values()) == {405}, (method, responses)
            continue
        refused = {role for role, status in responses.items() if status == 403}
        assert refused == set(Role) - allowed, (method, responses)
        assert all(responses[role] in (200, 302) for role in allowed), (method, responses)
        for stranger in strangers:
            assert stranger.generic(method, url).status_code == 404
        nobody = browser(None).generic(method, url)
        assert (nobody.status_code, nobody["Location"].split("?")[0]) == (302, "/accounts/login/")
