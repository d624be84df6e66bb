"""The drill for some seconds: `make drill` runs it for as long as you like."""

import pytest

from tests.journeys import count
from tests.journeys.drill import Drill
from tests.support.running_platform import Site
from tests.support.scenes import BINDS, WINDOW
from tests.support.simulators import running_simulator
from tests.support.webhook_receivers import receiver

pytestmark = [pytest.mark.platform, pytest.mark.timeout(180)]

SECONDS, SEED = 6.0, 1


def test_nothing_is_lost_while_parts_are_killed_at_random(site: Site) -> None:
    with (
        running_simulator(receipt_delay=0.2, receipt_attempts=1000) as carrier,
        receiver() as posts,
    ):
        site.reset()
        site.use_simulator(carrier.port, binds=BINDS, window=WINDOW)
        site.top_up(1_000_000)
        drill = Drill(site, carrier, posts, SEED)
        drill.run(SECONDS, at_least=101)
        drill.settle()
        counted = count.promises(drill)
    print(count.table(drill, counted))
    assert len(drill.records.accepted) > 100
    assert drill.records.over_smpp
    assert sum(drill.records.kills.values()) >= 3
    assert [promise.text for promise in counted if not promise.kept] == []


def test_missing_records_are_found(site: Site) -> None:
    """Records that the database does not have, and a post that is missing, break promises."""
    with running_simulator(receipt_delay=0.05) as carrier, receiver() as posts:
        site.reset()
        site.use_simulator(carrier.port, binds=BINDS, window=WINDOW)
        drill = Drill(site, carrier, posts, SEED)
        for number in range(3):
            body = {"to": f"+96655000000{number}", "message": "One of three"}
            response = count.until_accepted(site, "/v1/sms/send", body, drill.records.refused)
            drill.records.accepted[response["message_id"]] = body["to"]
        drill.settle()
        assert all(promise.kept for promise in count.promises(drill))

        drill.records.accepted[count.public_id("0" * 32)] = "+966550000009"
        drill.records.over_smpp.add(count.public_id("0" * 32))
        drill.records.events["message.sent"].pop()
        broken = {promise.text for promise in count.promises(drill) if not promise.kept}
        assert broken == {
            "accepted messages that are stored",
            "delivered, or failed after two lost responses",
            "credits charged",
            "numbers submitted",
            "receipts over SMPP",
            "message.sent",
        }
