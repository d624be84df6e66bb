"""The showcase's campaigns, one in each state."""

import csv
import io
import random
from datetime import datetime, timedelta
from typing import Any

from accounts.models import MICRO, Organization, User
from accounts.ui import stored_files
from messaging.campaigns import check
from messaging.models import Batch, Campaign
from messaging.models.campaign_states import State

TEXT = "مرحبًا {name}، خصم 20% على طلبك القادم حتى نهاية الشهر: https://najd.example/c/{code}"
_NAMES = ("سارة الحربي", "محمد العتيبي", "نورة", "Khalid", "ريم", "عبدالله القحطاني", "Layla")


def make(organization: Organization, owner: User, now: datetime) -> None:
    """Create a draft, a checked campaign, and some that were started."""
    dice = random.Random(20)
    mine: dict[str, Any] = {"organization": organization, "created_by": owner, "sender": "NAJD"}
    _sent(now, mine)
    _draft(organization, dice, {**mine, "name": "Eid greetings", "text": ""})
    checked = _draft(organization, dice, {**mine, "name": "May offers", "text": TEXT})
    Campaign.objects.filter(pk=checked.pk).update(state=State.CHECKING, due_at=now)
    check.check(checked.id)


def _draft(organization: Organization, dice: random.Random, fields: dict[str, Any]) -> Campaign:
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["الجوال", "Name", "Code", "City"])
    for index in range(240):
        number = f"05{dice.randrange(10**8):08d}"
        wrong = {7: "12345", 31: "9.66501E+11", 64: "+966112345678", 90: ""}
        name = "" if index in (12, 55) else dice.choice(_NAMES)
        writer.writerow([wrong.get(index, number), name, f"N{index:04d}", "الرياض"])
    stored = stored_files.store(
        organization,
        name="customers-may.csv",
        content_type="text/csv",
        content=[file.getvalue().encode("utf-8-sig")],
    )
    return Campaign.objects.create(
        file=stored, encoding="utf-8", delimiter=",", number_column=0, country="SA",
        columns=["الجوال", "Name", "Code", "City"], **fields,
    )  # fmt: skip


def _sent(now: datetime, mine: dict[str, Any]) -> None:
    day = timedelta(days=1)
    common = {
        **mine,
        "text": "Your parcel waits for you until Sunday. Bring your ID.",
        "rows": 5000,
    }
    finished = {
        "by_status": {"delivered": 4711, "failed": 203, "expired": 48},
        "by_reason": {"UNDELIV": 171, "EXPIRED": 48, "REJECTD": 32},
        "parts": 4962, "price": 2_481 * MICRO, "refunded": 0,
    }  # fmt: skip
    Campaign.objects.create(
        **common, name="Parcels waiting", state=State.FINISHED, good=4962, position=4962,
        parts=4962, price=2_481 * MICRO, charged=2_481 * MICRO, results=finished,
        batch=Batch.objects.create(organization=mine["organization"]),
        started_at=now - 3 * day, ended_at=now - 3 * day, counted_at=now - 2 * day,
    )  # fmt: skip
    running = {
        "by_status": {"queued": 412, "sending": 50, "sent": 371, "delivered": 1120, "failed": 47},
        "by_reason": {"UNDELIV": 40, "ESME_RINVDSTADR": 7},
        "parts": 2000, "price": 1_000 * MICRO, "refunded": 3_500_000,
    }  # fmt: skip
    Campaign.objects.create(
        **common, name="Delivery windows", state=State.RUNNING, good=4980, position=2000,
        parts=4980, price=2_490 * MICRO, charged=1_000 * MICRO, results=running, per_minute=1000,
        batch=Batch.objects.create(organization=mine["organization"]),
        started_at=now, counted_at=now, due_at=now + day,
    )  # fmt: skip
    paused = {**running, "by_status": {"delivered": 1000}, "by_reason": {}, "refunded": 0}
    Campaign.objects.create(
        **{**common, "rows": 60_012}, name="Loyalty points", state=State.PAUSED,
        pause=Campaign.Pause.CREDITS, good=60_000, position=1000, parts=120_000,
        price=120_000 * MICRO, charged=2000 * MICRO, results=paused, counted_at=now,
        batch=Batch.objects.create(organization=mine["organization"]), started_at=now,
    )  # fmt: skip
    Campaign.objects.create(
        **common, name="National day", state=State.SCHEDULED, good=4980, parts=4980,
        price=2_490 * MICRO, scheduled_at=now + 9 * day, due_at=now + 9 * day,
    )  # fmt: skip
