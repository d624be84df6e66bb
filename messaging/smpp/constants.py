"""The numbers of SMPP 3.4 by their names in the specification (chapter 5)."""

from __future__ import annotations

from enum import IntEnum
from typing import Final

HEADER_LENGTH: Final = 16  # octets, SMPP 3.4, 3.2
MAX_FRAME_LENGTH: Final = 65_536  # octets; ours: the specification sets no limit for a PDU
MAX_SHORT_MESSAGE: Final = 254  # octets, SMPP 3.4, 5.2.22
RESPONSE_BIT: Final = 0x80000000  # set in the command_id of every response, SMPP 3.4, 5.1.2.1
MAX_SEQUENCE: Final = 0x7FFFFFFF  # SMPP 3.4, 5.1.4
VERSION_3_3: Final = 0x33
VERSION_3_4: Final = 0x34


class CommandId(IntEnum):
    """command_id, SMPP 3.4, 5.1.2.1."""

    GENERIC_NACK = 0x80000000
    BIND_RECEIVER = 0x00000001
    BIND_RECEIVER_RESP = 0x80000001
    BIND_TRANSMITTER = 0x00000002
    BIND_TRANSMITTER_RESP = 0x80000002
    QUERY_SM = 0x00000003
    QUERY_SM_RESP = 0x80000003
    SUBMIT_SM = 0x00000004
    SUBMIT_SM_RESP = 0x80000004
    DELIVER_SM = 0x00000005
    DELIVER_SM_RESP = 0x80000005
    UNBIND = 0x00000006
    UNBIND_RESP = 0x80000006
    REPLACE_SM = 0x00000007
    REPLACE_SM_RESP = 0x80000007
    CANCEL_SM = 0x00000008
    CANCEL_SM_RESP = 0x80000008
    BIND_TRANSCEIVER = 0x00000009
    BIND_TRANSCEIVER_RESP = 0x80000009
    OUTBIND = 0x0000000B
    ENQUIRE_LINK = 0x00000015
    ENQUIRE_LINK_RESP = 0x80000015
    SUBMIT_MULTI = 0x00000021
    SUBMIT_MULTI_RESP = 0x80000021
    ALERT_NOTIFICATION = 0x00000102
    DATA_SM = 0x00000103
    DATA_SM_RESP = 0x80000103


class Status(IntEnum):
    """command_status, SMPP 3.4, 5.1.3. A peer may also send numbers that are not here."""

    ESME_ROK = 0x00
    ESME_RINVMSGLEN = 0x01
    ESME_RINVCMDLEN = 0x02
    ESME_RINVCMDID = 0x03
    ESME_RINVBNDSTS = 0x04
    ESME_RALYBND = 0x05
    ESME_RINVPRTFLG = 0x06
    ESME_RINVREGDLVFLG = 0x07
    ESME_RSYSERR = 0x08
    ESME_RINVSRCADR = 0x0A
    ESME_RINVDSTADR = 0x0B
    ESME_RINVMSGID = 0x0C
    ESME_RBINDFAIL = 0x0D
    ESME_RINVPASWD = 0x0E
    ESME_RINVSYSID = 0x0F
    ESME_RCANCELFAIL = 0x11
    ESME_RREPLACEFAIL = 0x13
    ESME_RMSGQFUL = 0x14
    ESME_RINVSERTYP = 0x15
    ESME_RINVNUMDESTS = 0x33
    ESME_RINVDLNAME = 0x34
    ESME_RINVDESTFLAG = 0x40
    ESME_RINVSUBREP = 0x42
    ESME_RINVESMCLASS = 0x43
    ESME_RCNTSUBDL = 0x44
    ESME_RSUBMITFAIL = 0x45
    ESME_RINVSRCTON = 0x48
    ESME_RINVSRCNPI = 0x49
    ESME_RINVDSTTON = 0x50
    ESME_RINVDSTNPI = 0x51
    ESME_RINVSYSTYP = 0x53
    ESME_RINVREPFLAG = 0x54
    ESME_RINVNUMMSGS = 0x55
    ESME_RTHROTTLED = 0x58
    ESME_RINVSCHED = 0x61
    ESME_RINVEXPIRY = 0x62
    ESME_RINVDFTMSGID = 0x63
    ESME_RX_T_APPN = 0x64
    ESME_RX_P_APPN = 0x65
    ESME_RX_R_APPN = 0x66
    ESME_RQUERYFAIL = 0x67
    ESME_RINVOPTPARSTREAM = 0xC0
    ESME_ROPTPARNOTALLWD = 0xC1
    ESME_RINVPARLEN = 0xC2
    ESME_RMISSINGOPTPARAM = 0xC3
    ESME_RINVOPTPARAMVAL = 0xC4
    ESME_RDELIVERYFAILURE = 0xFE
    ESME_RUNKNOWNERR = 0xFF


STATUS_TEXT: Final[dict[int, str]] = {
    Status.ESME_ROK: "no error",
    Status.ESME_RINVMSGLEN: "message length is invalid",
    Status.ESME_RINVCMDLEN: "command length is invalid",
    Status.ESME_RINVCMDID: "invalid command id",
    Status.ESME_RINVBNDSTS: "incorrect bind status for the command",
    Status.ESME_RALYBND: "already bound",
    Status.ESME_RINVPRTFLG: "invalid priority flag",
    Status.ESME_RINVREGDLVFLG: "invalid registered delivery flag",
    Status.ESME_RSYSERR: "system error",
    Status.ESME_RINVSRCADR: "invalid source address",
    Status.ESME_RINVDSTADR: "invalid destination address",
    Status.ESME_RINVMSGID: "message id is invalid",
    Status.ESME_RBINDFAIL: "bind failed",
    Status.ESME_RINVPASWD: "invalid password",
    Status.ESME_RINVSYSID: "invalid system id",
    Status.ESME_RCANCELFAIL: "cancel_sm failed",
    Status.ESME_RREPLACEFAIL: "replace_sm failed",
    Status.ESME_RMSGQFUL: "message queue full",
    Status.ESME_RINVSERTYP: "invalid service type",
    Status.ESME_RINVNUMDESTS: "invalid number of destinations",
    Status.ESME_RINVDLNAME: "invalid distribution list name",
    Status.ESME_RINVDESTFLAG: "invalid destination flag",
    Status.ESME_RINVSUBREP: "invalid submit with replace request",
    Status.ESME_RINVESMCLASS: "invalid esm_class",
    Status.ESME_RCNTSUBDL: "cannot submit to distribution list",
    Status.ESME_RSUBMITFAIL: "submit_sm or submit_multi failed",
    Status.ESME_RINVSRCTON: "invalid source address TON",
    Status.ESME_RINVSRCNPI: "invalid source address NPI",
    Status.ESME_RINVDSTTON: "invalid destination address TON",
    Status.ESME_RINVDSTNPI: "invalid destination address NPI",
    Status.ESME_RINVSYSTYP: "invalid system_type",
    Status.ESME_RINVREPFLAG: "invalid replace_if_present flag",
    Status.ESME_RINVNUMMSGS: "invalid number of messages",
    Status.ESME_RTHROTTLED: "throttled: over the allowed message rate",
    Status.ESME_RINVSCHED: "invalid scheduled delivery time",
    Status.ESME_RINVEXPIRY: "invalid validity period",
    Status.ESME_RINVDFTMSGID: "predefined message is invalid or not found",
    Status.ESME_RX_T_APPN: "receiver: temporary application error",
    Status.ESME_RX_P_APPN: "receiver: permanent application error",
    Status.ESME_RX_R_APPN: "receiver: message rejected",
    Status.ESME_RQUERYFAIL: "query_sm failed",
    Status.ESME_RINVOPTPARSTREAM: "error in the optional part of the PDU",
    Status.ESME_ROPTPARNOTALLWD: "optional parameter not allowed",
    Status.ESME_RINVPARLEN: "invalid parameter length",
    Status.ESME_RMISSINGOPTPARAM: "expected optional parameter missing",
    Status.ESME_RINVOPTPARAMVAL: "invalid optional parameter value",
    Status.ESME_RDELIVERYFAILURE: "delivery failure",
    Status.ESME_RUNKNOWNERR: "unknown error",
}


class Tag(IntEnum):
    """Tags of optional parameters (TLVs), SMPP 3.4, 5.3.2."""

    DEST_ADDR_SUBUNIT = 0x0005
    SOURCE_ADDR_SUBUNIT = 0x000D
    QOS_TIME_TO_LIVE = 0x0017
    PAYLOAD_TYPE = 0x0019
    ADDITIONAL_STATUS_INFO_TEXT = 0x001D
    RECEIPTED_MESSAGE_ID = 0x001E
    PRIVACY_INDICATOR = 0x0201
    USER_MESSAGE_REFERENCE = 0x0204
    USER_RESPONSE_CODE = 0x0205
    SOURCE_PORT = 0x020A
    DESTINATION_PORT = 0x020B
    SAR_MSG_REF_NUM = 0x020C
    LANGUAGE_INDICATOR = 0x020D
    SAR_TOTAL_SEGMENTS = 0x020E
    SAR_SEGMENT_SEQNUM = 0x020F
    SC_INTERFACE_VERSION = 0x0210
    CALLBACK_NUM = 0x0381
    DPF_RESULT = 0x0420
    MS_AVAILABILITY_STATUS = 0x0422
    NETWORK_ERROR_CODE = 0x0423
    MESSAGE_PAYLOAD = 0x0424
    DELIVERY_FAILURE_REASON = 0x0425
    MORE_MESSAGES_TO_SEND = 0x0426
    MESSAGE_STATE = 0x0427
    USSD_SERVICE_OP = 0x0501


class Ton(IntEnum):
    """Type of number, SMPP 3.4, 5.2.5."""

    UNKNOWN = 0
    INTERNATIONAL = 1
    NATIONAL = 2
    NETWORK_SPECIFIC = 3
    SUBSCRIBER = 4
    ALPHANUMERIC = 5
    ABBREVIATED = 6


class Npi(IntEnum):
    """Numbering plan indicator, SMPP 3.4, 5.2.6 (those that SMS uses)."""

    UNKNOWN = 0
    ISDN = 1
    LAND_MOBILE = 6
    NATIONAL = 8
    PRIVATE = 9


class DataCoding(IntEnum):
    """data_coding, SMPP 3.4, 5.2.19 (those that SMS uses)."""

    DEFAULT = 0x00
    IA5 = 0x01
    BINARY = 0x04
    LATIN_1 = 0x03
    UCS2 = 0x08


class MessageState(IntEnum):
    """message_state of query_sm_resp and of a receipt, SMPP 3.4, 5.2.28."""

    ENROUTE = 1
    DELIVERED = 2
    EXPIRED = 3
    DELETED = 4
    UNDELIVERABLE = 5
    ACCEPTED = 6
    UNKNOWN = 7
    REJECTED = 8


# The first octet of network_error_code: SMPP 3.4, 5.3.2.31, and SMPP 5.0, 4.8.4.42
NETWORK_GSM: Final = 3
NETWORK_SMPP: Final = 7

# esm_class, SMPP 3.4, 5.2.12
ESM_MESSAGE_TYPE_MASK: Final = 0x3C
ESM_DELIVERY_RECEIPT: Final = 0x04
ESM_INTERMEDIATE: Final = 0x20  # intermediate delivery notification
ESM_UDHI: Final = 0x40

# registered_delivery, SMPP 3.4, 5.2.17
REGISTERED_NONE: Final = 0x00
REGISTERED_FINAL: Final = 0x01  # a receipt for success and for failure
REGISTERED_FAILURE: Final = 0x02
REGISTERED_RECEIPT_MASK: Final = 0x03


def status_name(status: int) -> str:
    """Return a readable status, `ESME_RINVPASWD (0x0000000E)`, or only the number if unknown."""
    try:
        return f"{Status(status).name} (0x{status:08X})"
    except ValueError:
        return f"0x{status:08X}"


def status_text(status: int) -> str:
    """Return a status with its meaning: `ESME_RINVPASWD (0x0000000E): invalid password`."""
    text = STATUS_TEXT.get(status)
    return f"{status_name(status)}: {text}" if text else status_name(status)


def command_name(command_id: int) -> str:
    """Return a command's name, such as `submit_sm`, or its number if unknown."""
    try:
        return CommandId(command_id).name.lower()
    except ValueError:
        return f"0x{command_id:08X}"
