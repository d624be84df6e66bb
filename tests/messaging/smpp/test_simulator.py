"""The carrier simulator with smpplib's client: outcomes of messages, and receipts."""

from __future__ import annotations

import time
from typing import Any

import pytest
import smpplib.gsm

from messaging.smpp import pdus
from messaging.smpp.constants import MessageState, Status
from messaging.smpp.receipt import IdForm, normalize_id
from messaging.text.encoding import concat_udh, split
from tests.support.simulators import running_simulator
from tests.support.smpp_clients import raw_esme, smpplib_esme, submit_sm

PREFIX = "96650000000"


@pytest.fixture
def simulator():
    with running_simulator(receipt_delay=0.02) as running:
        yield running


@pytest.fixture
def esme(simulator):
    with smpplib_esme(simulator.port) as bound:
        yield bound


# -- plain messages --------------------------------------------------------------------------


def test_a_message_gets_a_response_and_a_receipt(simulator, esme):
    response = esme.submit("Your code is 1234")
    esme.wait(lambda: esme.delivered)

    (submit,) = simulator.submits
    assert response.status == 0
    assert response.message_id.decode() == submit.message_id
    assert (submit.system_id, submit.source, submit.destination, submit.text) == (
        "demo",
        "MyCompany",
        "966512345678",
        "Your code is 1234",
    )
    (receipt,) = esme.receipts
    assert (receipt.message_id, receipt.state) == (submit.message_id, "delivered")
    (pdu,) = esme.delivered
    assert pdu.esm_class == 0x04
    assert (pdu.source_addr, pdu.destination_addr) == (b"966512345678", b"MyCompany")
    assert (pdu.source_addr_ton, pdu.dest_addr_ton) == (1, 5)
    assert b"stat:DELIVRD err:000 text:Your code is 1234" in pdu.short_message


def test_arabic(simulator, esme):
    text = "رمز التحقق الخاص بك هو 1234"
    parts, coding, esm_class = smpplib.gsm.make_parts(text)
    esme.submit(parts[0], data_coding=coding, esm_class=esm_class)
    esme.wait(lambda: esme.delivered)

    (submit,) = simulator.submits
    assert submit.data_coding == 8
    assert submit.user_data == text.encode("utf-16-be")
    assert submit.text == text
    assert esme.receipts[0].state == "delivered"


@pytest.mark.parametrize("text", ["long " * 60, "رسالة طويلة " * 20])
def test_every_part_of_a_long_message_has_its_own_id_and_receipt(simulator, esme, text):
    parts, coding, esm_class = smpplib.gsm.make_parts(text)
    assert len(parts) > 1
    for part in parts:
        esme.submit(part, data_coding=coding, esm_class=esm_class)
    esme.wait(lambda: len(esme.delivered) == len(parts))

    submits = simulator.submits
    assert "".join(submit.text for submit in submits) == text
    concats = [submit.concat for submit in submits]
    assert [(concat.total, concat.index) for concat in concats] == [
        (len(parts), index + 1) for index in range(len(parts))
    ]
    assert len({concat.reference for concat in concats}) == 1
    assert {receipt.message_id for receipt in esme.receipts} == {
        submit.message_id for submit in submits
    }


def test_parts_joined_by_sar_tlvs(simulator, esme):
    for index in (1, 2):
        esme.submit(
            f"part {index}", sar_msg_ref_num=7, sar_total_segments=2, sar_segment_seqnum=index
        )
    esme.wait(lambda: len(esme.delivered) == 2)
    concats = [submit.concat for submit in simulator.submits]
    assert [(c.reference, c.total, c.index) for c in concats] == [(7, 2, 1), (7, 2, 2)]
    assert len({receipt.message_id for receipt in esme.receipts}) == 2


@pytest.mark.parametrize(
    ("text", "fields", "fits"),
    [
        (b"x" * 160, {}, True),
        (b"x" * 161, {}, False),
        (concat_udh(1, 2, 1) + b"x" * 153, {"esm_class": 0x40}, True),
        (concat_udh(1, 2, 1) + b"x" * 154, {"esm_class": 0x40}, False),
        (concat_udh(1, 2, 1, 16) + b"x" * 152, {"esm_class": 0x40}, True),
        (concat_udh(1, 2, 1, 16) + b"x" * 153, {"esm_class": 0x40}, False),
        (b"\x06\x27" * 70, {"data_coding": 8}, True),
        (b"\x06\x27" * 71, {"data_coding": 8}, False),
        (concat_udh(1, 2, 1) + b"\x06\x27" * 67, {"data_coding": 8, "esm_class": 0x40}, True),
        (concat_udh(1, 2, 1) + b"\x06\x27" * 68, {"data_coding": 8, "esm_class": 0x40}, False),
    ],
)
def test_a_text_too_long_for_a_short_message_is_refused(esme, text, fields, fits):
    assert esme.submit(text, **fields).status == (0 if fits else Status.ESME_RINVMSGLEN)


def test_registered_delivery(simulator, esme):
    wanted = {(0, "9"): 0, (1, "9"): 1, (2, "9"): 0, (0, "2"): 0, (1, "2"): 1, (2, "2"): 1}
    for registered, last in wanted:
        esme.submit("x", PREFIX + last, registered_delivery=registered)
    simulator.wait_for(lambda sim: all(submit.final_at for submit in sim.submits))
    esme.wait(lambda: len(esme.delivered) == sum(wanted.values()))
    asked = [s.receipt_id for s, n in zip(simulator.submits, wanted.values(), strict=True) if n]
    assert sorted(receipt.message_id for receipt in esme.receipts) == asked


# -- magic numbers ---------------------------------------------------------------------------


@pytest.mark.parametrize("plus", ["", "+"])
def test_undeliverable(esme, plus):
    assert esme.submit("x", f"{plus}{PREFIX}2").status == 0
    esme.wait(lambda: esme.delivered)
    (receipt,) = esme.receipts
    assert (receipt.state, receipt.raw_state, receipt.error_code) == ("failed", "UNDELIV", "027")


@pytest.mark.parametrize("plus", ["", "+"])
def test_refused(simulator, esme, plus):
    assert esme.submit("x", f"{plus}{PREFIX}3").status == Status.ESME_RINVDSTADR
    (submit,) = simulator.submits
    assert (submit.message_id, submit.status) == ("", Status.ESME_RINVDSTADR)


def test_throttled_twice_and_again_for_the_next_message(esme):
    statuses = [esme.submit(text, PREFIX + "4").status for text in ("a", "a", "a", "b", "b", "b")]
    throttled = Status.ESME_RTHROTTLED
    assert statuses == [throttled, throttled, 0, throttled, throttled, 0]
    esme.wait(lambda: len(esme.delivered) == 2)
    assert {receipt.state for receipt in esme.receipts} == {"delivered"}


def test_messages_and_parts_to_the_throttled_number_do_not_count_for_each_other(esme):
    parts = split("a long message " * 20).parts
    statuses = []
    for reference in (1, 2, 3):  # a carrier worker may use a new reference for a retry
        for index, part in enumerate(parts, 1):
            content = concat_udh(reference, len(parts), index) + part
            statuses.append(esme.submit(content, PREFIX + "4", esm_class=0x40).status)
    assert statuses == [Status.ESME_RTHROTTLED] * 2 * len(parts) + [0] * len(parts)


def test_no_receipt(simulator, esme):
    assert esme.submit("x", PREFIX + "5").status == 0
    assert esme.submit("x").status == 0
    esme.wait(lambda: esme.delivered)
    time.sleep(0.05)
    esme.client.poll()
    assert len(esme.delivered) == 1
    assert simulator.submits[0].state is MessageState.ENROUTE


def test_receipt_twice(esme):
    response = esme.submit("x", PREFIX + "6")
    esme.wait(lambda: len(esme.delivered) == 2)
    ids = {receipt.message_id for receipt in esme.receipts}
    assert ids == {response.message_id.decode()}


def test_receipt_before_the_response(esme):
    esme.send("x", PREFIX + "7")
    esme.wait(lambda: len(esme.events) == 2)
    assert esme.events == ["receipt", "answer"]
    assert esme.receipts[0].message_id == esme.responses[0].message_id.decode()


def test_receipt_before_the_response_on_another_bind(simulator):
    port = simulator.port
    with smpplib_esme(port, "receiver") as receiver, smpplib_esme(port, "transmitter") as sender:
        sender.send("x", PREFIX + "7")
        receiver.wait(lambda: receiver.delivered)
        assert not sender.responses
        sender.wait(lambda: sender.responses)
    assert receiver.receipts[0].message_id == sender.responses[0].message_id.decode()


@pytest.mark.parametrize(("last", "seconds"), [("1", 1.0), ("8", 60.0), ("9", 0.5)])
def test_receipt_delays(last, seconds):
    scale = 0.3 / seconds
    with (
        running_simulator(time_scale=scale, receipt_delay=0.5) as running,
        smpplib_esme(running.port) as esme,
    ):
        esme.submit("x", PREFIX + last)
        start = time.monotonic()
        esme.wait(lambda: esme.delivered)
        assert 0.25 < time.monotonic() - start < 2


# -- ids and receipts of other carriers -------------------------------------------------------


@pytest.mark.parametrize(
    ("response_form", "receipts"),
    [
        ("decimal", "same"),
        ("decimal", "hex"),
        ("hex", "same"),
        ("hex", "decimal"),
        ("hex", "hex"),
        ("uuid", "same"),
    ],
)
@pytest.mark.parametrize("style", ["both", "text", "tlv"])
def test_id_forms_and_receipt_styles(response_form, receipts, style):
    written = response_form if receipts == "same" else receipts
    with (
        running_simulator(
            receipt_delay=0, id_form=response_form, receipt_id_form=receipts, receipt_style=style
        ) as running,
        smpplib_esme(running.port) as esme,
    ):
        message_id = esme.submit("x").message_id.decode()
        esme.wait(lambda: esme.delivered)
        (pdu,), (receipt,) = esme.delivered, esme.receipts
        forms: dict[str, IdForm] = {"decimal": "decimal", "hex": "hex", "uuid": "as_is"}
        assert normalize_id(receipt.message_id, forms[written]) == normalize_id(
            message_id, forms[response_form]
        )
        assert (receipt.message_id == message_id) == (written == response_form)
        assert receipt.state == "delivered"
        assert bool(pdu.short_message) == (style != "tlv")
        assert (pdu.receipted_message_id is not None) == (style != "text")


@pytest.mark.parametrize("text", ["lower", "odd"])
def test_sloppy_receipts(text):
    with (
        running_simulator(receipt_delay=0, receipt_text=text, receipt_style="text") as running,
        smpplib_esme(running.port) as esme,
    ):
        message_id = esme.submit("stat:EXPIRED id:1", PREFIX + "2").message_id.decode()
        esme.wait(lambda: esme.delivered)
        (receipt,) = esme.receipts
        assert (receipt.message_id, receipt.state) == (message_id, "failed")
        assert receipt.error_code == "027"
        assert receipt.done_date is not None
        assert not esme.delivered[0].short_message.startswith(b"id:1 sub:001")


def test_a_uuid_has_one_form():
    with (
        pytest.raises(ValueError, match="UUID"),
        running_simulator(id_form="uuid", receipt_id_form="hex"),
    ):
        pass


# -- operations on earlier messages ------------------------------------------------------------


def test_query_sm(simulator, esme):
    states: list[Any] = []
    esme.client.set_query_resp_handler(states.append)
    for last in "529":
        esme.submit("x", PREFIX + last)
    esme.wait(lambda: len(esme.delivered) == 2)
    for submit in simulator.submits:
        esme.client.query_message(
            message_id=submit.message_id,
            source_addr_ton=5,
            source_addr_npi=0,
            source_addr="MyCompany",
        )
    esme.wait(lambda: len(states) == 3)
    assert [pdu.message_state for pdu in states] == [
        MessageState.ENROUTE,
        MessageState.UNDELIVERABLE,
        MessageState.DELIVERED,
    ]
    assert not states[0].final_date
    assert len(states[1].final_date) == 16


def test_query_and_cancel_find_only_own_messages(simulator):
    port = simulator.port
    with raw_esme(port) as esme, raw_esme(port, system_id="other") as other:
        response = esme.request(submit_sm(b"x", PREFIX + "8"))
        assert isinstance(response, pdus.SubmitSmResp)
        mine: dict[str, Any] = {"message_id": response.message_id, "source_addr": "MyCompany"}
        assert other.request(pdus.QuerySm(**mine)).status == Status.ESME_RQUERYFAIL
        assert other.request(pdus.CancelSm(**mine)).status == Status.ESME_RCANCELFAIL
        stranger = {**mine, "source_addr": "Other"}
        assert esme.request(pdus.QuerySm(**stranger)).status == Status.ESME_RQUERYFAIL

        assert esme.request(pdus.CancelSm(**mine)).status == 0
        receipt = esme.receive()
        assert isinstance(receipt, pdus.DeliverSm)
        assert b"stat:DELETED" in receipt.short_message
        assert esme.request(pdus.CancelSm(**mine)).status == Status.ESME_RCANCELFAIL
        state = esme.request(pdus.QuerySm(**mine))
        assert isinstance(state, pdus.QuerySmResp)
        assert state.message_state == MessageState.DELETED


@pytest.mark.parametrize(
    "request_pdu",
    [
        pdus.DataSm(),
        pdus.ReplaceSm(message_id="1"),
        pdus.SubmitMulti(dest_address=[pdus.SmeAddress()]),
    ],
)
def test_unknown_commands(simulator, request_pdu):
    with raw_esme(simulator.port) as esme:
        assert esme.request(request_pdu).status == Status.ESME_RINVCMDID


def test_enquire_link_and_unbind(simulator):
    with raw_esme(simulator.port) as esme:
        assert isinstance(esme.request(pdus.EnquireLink()), pdus.EnquireLinkResp)
        assert isinstance(esme.request(pdus.Unbind()), pdus.UnbindResp)
        assert esme.closed()
    simulator.wait_for(lambda sim: not sim.connections)
