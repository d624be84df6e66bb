from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _


class MessagingConfig(AppConfig):
    name = "messaging"
    verbose_name = _("Messaging")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Have the reader of numbers know the ranges that operators enter."""
        from messaging.numbers import e164
        from messaging.routing import numbering

        e164.set_ranges_source(numbering.ranges)
