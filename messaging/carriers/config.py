"""The settings of a carrier's row for its worker: its binds, its submit_sm, its receipts."""

from typing import TYPE_CHECKING, cast

from django.conf import settings

from messaging.carriers.pdus import Ton, WireFormat
from messaging.carriers.receipt_rules import Rules
from messaging.models import Carrier
from messaging.smpp.client import PoolConfig

if TYPE_CHECKING:
    from messaging.smpp.receipt import IdForm


def wire_format(carrier: Carrier) -> WireFormat:
    """Return the format of submit_sm for that carrier."""
    return WireFormat(
        alphanumeric=Ton(carrier.source_ton_alphanumeric, carrier.source_npi_alphanumeric),
        numeric=Ton(carrier.source_ton_numeric, carrier.source_npi_numeric),
        short_code=Ton(carrier.source_ton_short_code, carrier.source_npi_short_code),
        destination=Ton(carrier.destination_ton, carrier.destination_npi),
        destination_plus=carrier.destination_plus,
        gsm_encoding=carrier.gsm_encoding,
        source_coding=carrier.source_coding,
        service_type=carrier.service_type,
        send_validity=carrier.send_validity,
    )


def receipt_rules(carrier: Carrier) -> Rules:
    """Return the rules for that carrier's receipts."""
    return Rules(
        id_form=cast("IdForm", carrier.receipt_id_form),
        by_data_sm=carrier.receipts_by_data_sm,
        unmarked=carrier.receipts_unmarked,
        text_first=carrier.receipt_text_first,
        words=carrier.receipt_words,
    )


def pool_config(carrier: Carrier) -> PoolConfig:
    """Return the settings of the binds to that carrier."""
    return PoolConfig(
        host=carrier.host,
        port=carrier.port,
        system_id=carrier.system_id,
        password=carrier.password,
        system_type=carrier.system_type,
        tls=carrier.tls,
        tls_verify=carrier.tls_verify,
        mode=carrier.bind_mode,
        binds=carrier.binds,
        window=carrier.window,
        throughput=carrier.throughput,
        enquire_link_interval=carrier.enquire_link_interval,
        # A response after the end of the lease would be too late.
        response_timeout=min(carrier.response_timeout, settings.CARRIER_LEASE * 0.4),
    )
