"""The showcase's SMPP account."""

from dataclasses import replace
from datetime import datetime, timedelta

from accounts.models import Organization
from messaging.gateway import history
from messaging.gateway.accounts import create_account
from messaging.gateway.console import Console
from messaging.models import SmppAccount, SmppHappening, SmppServer, SmppSession
from messaging.smpp import pdus

SERVER = "smpp-1"


def make(organization: Organization, now: datetime) -> SmppAccount:
    """Create an account with two live binds, and one that was refused."""
    account, _ = create_account(organization, "najd", name="Dispatch centre")
    account.networks, account.throughput = ["203.0.113.0/24"], 200
    account.save()
    server = SmppServer.objects.create(
        name=SERVER, started_at=now, seen_at=now + timedelta(hours=1)
    )
    console = Console()
    console.note("<", pdus.BindTransceiver("najd", system_type="VMS", sequence=1))
    submit = pdus.SubmitSm("", 5, 0, "NAJD", 1, 1, "966501234567", data_coding=8, sequence=2)
    submit.short_message, submit.registered_delivery = b"\x06\x45" * 40, 1
    long = replace(
        submit, esm_class=0x40, short_message=b"\5\0\3\x11\2\1" + b"\6\x45" * 60, sequence=3
    )
    bad = replace(submit, destination_addr="9665", sequence=4)
    receipt = pdus.DeliverSm(
        "", 1, 1, "966501234567", 5, 0, "NAJD", 4, sequence=1,
        short_message=b"id:0191f0c2a5d97d5e8c2f4b1d stat:DELIVRD err:000 text:",
    )  # fmt: skip
    for pdu, status, message_id in (
        (submit, 0, "019ec2f3a1b47c008f1d6d2c4b5a6978"),
        (long, 0, "019ec2f3a1b47c008f1d6d2c4b5a6979"),
        (bad, 0x0B, ""), (submit, 0x58, ""),
    ):  # fmt: skip
        console.note("<", pdu)
        console.note_response(pdu, status, message_id)
    console.note(">", receipt)
    console.note("<", pdus.DeliverSmResp(sequence=1))
    for kind, port, submits, pace in (("trx", 51814, 48_211, 41.5), ("tx", 51820, 45_003, 38.0)):
        SmppSession.objects.create(
            account=account, server=server, kind=kind, address="203.0.113.9", port=port, tls=True,
            interface_version=0x34, bound_at=now - timedelta(hours=7), reported_at=now,
            heard_at=now, submits=submits, refused=12, throttled=90 if kind == "tx" else 0,
            receipts=93_100 if kind == "trx" else 0, pending=14, outstanding=3, pace=pace,
            pdus=console.lines(), errors=console.error_lines() if kind == "trx" else [],
        )  # fmt: skip
    happenings = (("refused", "ESME_RINVPASWD", history.PASSWORD), ("bound", "", ""))
    for index, (what, status_name, reason) in enumerate(happenings):
        SmppHappening.objects.create(
            account=account, at=now - timedelta(hours=8 - index), what=what, kind="trx",
            address="203.0.113.9", status=status_name, reason=reason,
        )  # fmt: skip
    return account


def forget(names: tuple[str, ...]) -> None:
    """Delete the committed rows of the organizations with those names."""
    SmppServer.objects.filter(name=SERVER).delete()
    SmppAccount.objects.filter(organization__name__in=names).delete()
