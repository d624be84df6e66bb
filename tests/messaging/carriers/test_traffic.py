"""Carriers' responses, counted by the minute."""

from datetime import timedelta

import pytest
from django.utils import timezone

from messaging.carriers import traffic
from messaging.carriers.traffic import Tally
from messaging.models import Carrier, CarrierTraffic
from messaging.smpp.link import LinkError, NotSent
from messaging.smpp.pdus import GenericNack, SubmitSmResp
from messaging.states import Status


@pytest.mark.parametrize(
    ("outcome", "counted"),
    [
        (SubmitSmResp(sequence=1, status=0, message_id="a"), Tally(accepted=1)),
        (SubmitSmResp(sequence=1, status=0x58, message_id=""), Tally(throttled=1)),
        (SubmitSmResp(sequence=1, status=0x0B, message_id=""), Tally(refused=1)),
        (SubmitSmResp(sequence=1, status=0x45, message_id=""), Tally(refused=1)),
        (SubmitSmResp(sequence=1, status=0, message_id=""), Tally(accepted=1)),
        (GenericNack(sequence=1, status=0), Tally(refused=1)),
        (LinkError("lost"), Tally(unanswered=1)),
        (NotSent("no bind is up"), Tally()),
        (ValueError("too long"), Tally()),
    ],
)
def test_counts_by_outcome(outcome, counted: Tally) -> None:
    tally = Tally()
    tally.count_submit(outcome)
    assert tally == counted


def test_receipts_and_rates() -> None:
    tally = Tally(accepted=6, refused=2)
    for status in (Status.DELIVERED, Status.DELIVERED, Status.FAILED, Status.EXPIRED):
        tally.count_receipt(status)
    assert (tally.delivered, tally.failed) == (2, 2)
    assert (tally.error_rate, tally.delivery_rate) == (25, 50)
    assert (Tally().error_rate, Tally().delivery_rate) == (None, None)


def test_taken_counts_are_reset_and_can_be_added_again() -> None:
    tally = Tally(accepted=2)
    counts = tally.take()
    assert (tally, counts) == (Tally(), Tally(accepted=2))
    tally.accepted = 1
    tally.add(counts)
    assert tally == Tally(accepted=3)


def test_minutes_add_up_and_old_ones_are_deleted(carrier: Carrier) -> None:
    now = timezone.now()
    for _ in range(2):
        traffic.record(carrier.pk, Tally(accepted=3, failed=1), now)
    traffic.record(carrier.pk, Tally(accepted=5), now - timedelta(minutes=90))
    mine = CarrierTraffic.objects.filter(carrier=carrier)
    assert mine.count() == 2
    hour = traffic.since(now - timedelta(hours=1))[carrier.pk]
    assert hour == Tally(accepted=6, failed=2)
    figures = traffic.figures()[carrier.pk]
    assert (figures.hour, figures.day.accepted, figures.queued) == (hour, 11, 0)
    CarrierTraffic.objects.create(carrier=carrier, minute=now - timedelta(days=2, minutes=1))
    traffic.record(carrier.pk, Tally(), now)
    assert mine.count() == 2, "what is older than two days went"
