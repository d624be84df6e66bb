"""Rules for codes that an organization sets itself: the countries that codes may go to."""

from collections.abc import Iterable

from django.db import transaction

from accounts.audit import trail
from accounts.models import Member
from otp.models import OtpSettings


@transaction.atomic
def choose_countries(member: Member, countries: Iterable[str], address: str) -> None:
    """Set the countries that codes may go to, as ISO 3166 codes; empty means no restriction.

    The countries that operators allow still apply. A change is recorded in the audit log.
    """
    chosen = sorted(set(countries))
    own, _created = OtpSettings.objects.select_for_update().get_or_create(
        organization=member.organization
    )
    before = own.chosen_countries
    if before == chosen:
        return
    own.chosen_countries = chosen
    own.save(update_fields=["chosen_countries"])
    trail.record(
        "otp.countries_changed",
        actor=member.user,
        organization=member.organization,
        detail={"countries": {"from": before, "to": chosen}},
        address=address,
    )
