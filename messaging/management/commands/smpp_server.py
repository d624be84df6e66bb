"""`manage.py smpp_server`: the process that customers bind to."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from messaging.gateway import process


class Command(BaseCommand):
    help = "Serve SMPP 3.4 to customers on SMPP_HOST:SMPP_PORT until SIGTERM."
    # They are for `manage.py check`, not for each start of each process.
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            process.run()
        except process.CannotServe as problem:
            raise CommandError(str(problem)) from None
