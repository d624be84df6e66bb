"""Look-alike sender IDs, as tables. Pure except for the last test."""

import pytest

from messaging.senders.lookalikes import likeness, lookalikes_of, skeleton
from tests.support.factories import Customer, World


@pytest.mark.parametrize(
    ("name", "other", "found"),
    [
        ("NajdBank", "NAJDBANK", "same"),
        ("Najd Bank", "Najd-Bank", "same"),
        ("NajdBank", "Najd.Bank", "same"),
        ("STC0", "STCO", "same"),
        ("A1Rajhi", "AlRajhi", "same"),
        ("AIRajhi", "AlRajhi", "same"),
        ("A|Rajhi", "AlRajhi", "same"),
        ("5TCPay", "STCPay", "same"),
        ("$TCPay", "STCPay", "same"),
        ("Café", "Cafe", "same"),
        ("N@jd", "Najd", "same"),
        ("Θman", "Oman", "same"),
        ("Arnazon", "Amazon", "same"),
        ("MyShop-AD", "MyShop", "same"),
        ("أرامكو", "ارامكو", "same"),
        ("مكتبة", "مكتبه", "same"),
        ("شركتى", "شرکتي", "same"),
        ("بنـــك", "بنك", "same"),
        ("متجر٢٤", "متجر24", "same"),
        ("NajdBnk", "NajdBank", "near"),
        ("NajdBnak", "NajdBank", "near"),
        ("NajdBankk", "NajdBank", "near"),
        ("NajdBankSA", "NajdBank", "near"),
        ("NajdExpress", "NajdExpers", "near"),
        ("Najd", "Najdi", "near"),
        ("Najd", "Nejd", "near"),
        ("NajdBank", "HalaClinic", ""),
        ("NajdBank", "NajdShop", ""),
        ("STC", "STD", ""),
        ("Hala", "Halwani", ""),
        ("AD", "STC-AD", ""),
        ("-.-", "STC", ""),
    ],
)
def test_likeness(name: str, other: str, found: str) -> None:
    assert likeness(name, other) == found
    assert likeness(other, name) == found, "either way"


def test_the_suffix_alone_is_not_a_name() -> None:
    assert skeleton("-AD") == "ad"
    assert likeness("-AD", "-AD") == "same"


def test_other_organizations_approved_senders_closest_first(
    world: World, customer: Customer, outsider: Customer
) -> None:
    mine = world.sender(customer, "NajdBank9", status="pending")
    world.sender(customer, "NajdBank8")
    for name, status in (
        ("NajdBnk9", "approved"),
        ("NAJD BANK9", "approved"),
        ("Elsewhere9", "approved"),
        ("Najd-Bank9", "pending"),
    ):
        world.sender(outsider, name, status=status)
    found = [
        (each.sender.name, each.same)
        for each in lookalikes_of(mine)
        if each.sender.organization_id == outsider.id
    ]
    assert found == [("NAJD BANK9", True), ("NajdBnk9", False)]
