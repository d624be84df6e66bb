"""Fills an empty database with a demo: an organization with credits, and a simulated carrier."""

import secrets
from pathlib import Path
from typing import Any

from allauth.account.models import EmailAddress
from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from django.db import transaction
from dotenv import dotenv_values

from accounts.credits.ledger import adjust
from accounts.keys.api_keys import create_key
from accounts.models import MICRO, Member, Organization, User
from accounts.roles import Role
from imissive.run.processes import LOOPBACK, reachable, write_private
from messaging.gateway.accounts import create_account
from messaging.models import Carrier, Price, Route, RouteCarrier, SenderId

CREDITS = 100_000
SENDER = "MyCompany"
EMAIL, ADMIN_EMAIL = "demo@example.com", "admin@example.com"
CARRIER = "simulator"
SYSTEM_ID = "demo"
GCC = ("971", "965", "973", "974", "968")
# Micro-credits for one part: Saudi Arabia, its neighbours, everybody else.
PRICES = {"966": MICRO, "": 2 * MICRO} | dict.fromkeys(GCC, MICRO * 3 // 2)


class Command(BaseCommand):
    help = (
        "Make the demo organization, its people, keys and carrier in an empty database, and write"
        " their secrets to $DATA_DIR/demo.env. Later calls only take in changed ports."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--simulator-host", default=LOOPBACK, help="Where the carrier simulator runs."
        )

    def handle(self, *args: Any, simulator_host: str, **options: Any) -> None:
        file = Path(settings.DATA_DIR) / "demo.env"
        if not Organization.objects.exists():
            # In one transaction with the file: a demo whose secrets nobody has is of no use.
            with transaction.atomic():
                write_demo(file, seed(simulator_host))
            self.stdout.write(f"The demo is made; its secrets are in {file}")
        elif file.exists():
            update(file, simulator_host)
        else:
            self.stdout.write("There are organizations already: no demo is made.")


def seed(simulator_host: str) -> dict[str, str]:
    """Make everything of the demo; what `demo.env` shall hold."""
    organization = Organization.objects.create(name="Demo Company")
    password, admin_password = secrets.token_urlsafe(12), secrets.token_urlsafe(12)
    owner = User.objects.create_user(EMAIL, password, name="Demo")
    admin = User.objects.create_superuser(ADMIN_EMAIL, admin_password, name="Operator")
    for user in (owner, admin):
        EmailAddress.objects.create(user=user, email=user.email, verified=True, primary=True)
    Member.objects.create(organization=organization, user=owner, role=Role.OWNER)
    SenderId.objects.create(
        organization=organization,
        name=SENDER,
        kind=SenderId.Kind.ALPHANUMERIC,
        status=SenderId.Status.APPROVED,
        is_default=True,
        decided_by=admin,
    )
    adjust(organization, CREDITS * MICRO, reason="Demo credits", actor=admin)
    _, live_key = create_key(organization, "Demo", test=False, created_by=owner)
    _, test_key = create_key(organization, "Demo (test)", test=True, created_by=owner)
    _, smpp_password = create_account(organization, SYSTEM_ID, name="Demo")
    seed_carrier(simulator_host)
    return {
        **addresses(),
        "IMISSIVE_API_KEY": live_key,
        "IMISSIVE_TEST_KEY": test_key,
        "IMISSIVE_SENDER_ID": SENDER,
        "IMISSIVE_EMAIL": EMAIL,
        "IMISSIVE_PASSWORD": password,
        "IMISSIVE_ADMIN_EMAIL": ADMIN_EMAIL,
        "IMISSIVE_ADMIN_PASSWORD": admin_password,
        "IMISSIVE_CREDITS": str(CREDITS),
        "IMISSIVE_SMPP_SYSTEM_ID": SYSTEM_ID,
        "IMISSIVE_SMPP_PASSWORD": smpp_password,
    }


def addresses() -> dict[str, str]:
    """Where the demo is reached, as the settings have it now."""
    return {
        "IMISSIVE_URL": settings.PUBLIC_URL,
        "IMISSIVE_SMPP_HOST": reachable(settings.SMPP_HOST),
        "IMISSIVE_SMPP_PORT": str(settings.SMPP_PORT),
    }


def seed_carrier(simulator_host: str) -> None:
    """The simulator as the carrier of every number, and what a part costs."""
    carrier = Carrier.objects.create(
        slug=CARRIER,
        name="Simulator",
        is_sandbox=True,
        host=simulator_host,
        port=settings.SIMULATOR_PORT,
        system_id="imissive",
        password=secrets.token_hex(4),  # SMPP allows eight characters
        binds=2,
        window=100,
    )
    route = Route.objects.create(prefix="")
    RouteCarrier.objects.create(route=route, carrier=carrier)
    for prefix, micro in PRICES.items():
        Price.objects.create(prefix=prefix, micro=micro)


def update(file: Path, simulator_host: str) -> None:
    """Take in ports that changed since the demo was made. An operator's own changes stay."""
    Carrier.objects.filter(slug=CARRIER, is_sandbox=True, host=simulator_host).update(
        port=settings.SIMULATOR_PORT
    )
    values = {name: value or "" for name, value in dotenv_values(file).items()}
    fresh = values | {name: value for name, value in addresses().items() if name in values}
    if fresh != values:
        write_demo(file, fresh)


def write_demo(file: Path, values: dict[str, str]) -> None:
    """Write `demo.env`, which only its owner may read."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_private(file, "".join(f"{name}={value}\n" for name, value in values.items()))
