"""`manage.py check_ledger`: verify that every balance equals its ledger."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts.credits.ledger import credits_text, discrepancies
from accounts.models import Organization


class Command(BaseCommand):
    help = "Prove for every organization that its balance equals its ledger; exit 1 if not."

    def handle(self, *args: Any, **options: Any) -> None:
        found = discrepancies()
        for row in found:
            self.stderr.write(
                f"{row.organization_id}: {row.what}: balance {credits_text(row.balance)},"
                f" ledger {credits_text(row.ledger)}"
            )
        if found:
            raise CommandError(f"{len(found)} discrepancies between balances and ledgers.")
        count = Organization.objects.count()
        self.stdout.write(f"{count} organizations: every balance equals its ledger.")
