"""What an organization chooses of its rules itself."""

from collections.abc import Iterable

from django.db import transaction

from accounts.audit import trail
from accounts.models import Member
from otp.models import OtpSettings


@transaction.atomic
def choose_countries(member: Member, countries: Iterable[str], address: str) -> None:
    """Narrow the countries that codes may go to, by ISO 3166; none narrows nothing.

    What operators allow stands above it. Where nothing changes, nothing is recorded.
    """
    wanted = sorted(set(countries))
    own, _made = OtpSettings.objects.select_for_update().get_or_create(
        organization=member.organization
    )
    before = own.chosen_countries
    if before == wanted:
        return
    own.chosen_countries = wanted
    own.save(update_fields=["chosen_countries"])
    trail.record(
        "otp.countries_changed",
        actor=member.user,
        organization=member.organization,
        detail={"countries": {"from": before, "to": wanted}},
        address=address,
    )
