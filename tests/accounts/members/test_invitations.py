"""Invitations: sent by email, accepted once and only by the right person."""

from datetime import timedelta

import pytest
from allauth.account.models import EmailAddress
from django.core import mail
from django.core.cache import cache
from django.test import Client
from django.utils import timezone

from accounts.access.page_access import public_id
from accounts.members import invitations
from accounts.members.people import vouch_for_address
from accounts.members.team import NotAllowed
from accounts.models import AuditEntry, Invitation, Member, Organization, User
from accounts.roles import Role
from tests.support.factories import Customer, World, in_threads
from tests.support.mails import link
from tests.support.people import PLAIN_STATIC, browser, member

EMAIL = "noor@najd.example"


@pytest.fixture(autouse=True)
def _plain(settings) -> None:
    settings.STORAGES = PLAIN_STATIC
    cache.clear()


@pytest.fixture
def owner(customer: Customer) -> Client:
    return browser(member(customer.organization))


def _team(customer: Customer, path: str = "") -> str:
    return f"/dashboard/{public_id(customer.organization)}/team/{path}"


def _invite(client: Client, customer: Customer, email: str = EMAIL, role: str = "developer") -> str:
    """Invite an address and return the path of the link in the mail."""
    response = client.post(_team(customer, "invite/"), {"email": email, "role": role})
    assert response.status_code == 302, response.content.decode()
    return link("/invitations/", email.lower())


def _known(email: str = EMAIL) -> User:
    """Create a user whose email address is verified."""
    user = User.objects.create_user(email, "a-long-and-odd-one", name="Noor")
    vouch_for_address(user)
    return user


def _wait_a_minute() -> None:
    earlier = timezone.now() - timedelta(minutes=2)
    Invitation.objects.update(sent_at=earlier)


def test_the_mail_names_the_inviter_and_the_organization(owner: Client, customer: Customer) -> None:
    _invite(owner, customer)
    message = mail.outbox[-1]
    assert message.to == [EMAIL]
    assert customer.organization.name in message.subject
    assert "as Developer" in message.body
    assert "7 days" in message.body
    html = message.alternatives[0].content  # type: ignore[attr-defined]
    assert link("/invitations/", EMAIL) in html
    kept = Invitation.objects.get(email=EMAIL)
    token = link("/invitations/", EMAIL).split("/")[2]
    assert token.encode() not in bytes(kept.digest)


def test_a_newcomer_signs_up_and_is_in(owner: Client, customer: Customer, client: Client) -> None:
    url = _invite(owner, customer)
    assert customer.organization.name in client.get(url).content.decode()
    assert client.post(url)["Location"] == "/accounts/signup/"
    form = client.get("/accounts/signup/").content.decode()
    assert EMAIL in form
    assert 'name="organization"' not in form
    # A disabled field cannot be changed by a posted value.
    data = {"name": "Noor", "email": "evil@evil.example", "password1": "a-long-and-odd-one"}
    assert client.post("/accounts/signup/", data)["Location"] == "/"
    assert customer.organization.name in client.get("/", follow=True).content.decode()
    joined = Member.objects.get(user__email=EMAIL)
    assert (joined.organization, joined.role) == (customer.organization, Role.DEVELOPER)
    assert not Organization.objects.filter(memberships__user__email="evil@evil.example").exists()
    assert EmailAddress.objects.get(email=EMAIL).verified
    assert not Invitation.objects.exists()


def test_a_newcomer_gets_in_where_sign_up_is_closed(
    owner: Client, customer: Customer, client: Client, settings
) -> None:
    settings.SIGNUP_OPEN = False
    client.post(_invite(owner, customer))
    data = {"name": "Noor", "password1": "a-long-and-odd-one"}
    client.post("/accounts/signup/", data)
    assert Member.objects.filter(user__email=EMAIL).exists()
    assert "by invitation" in Client().get("/accounts/signup/").content.decode()


def test_a_user_with_an_account_accepts(owner: Client, customer: Customer, client: Client) -> None:
    user = _known()
    url = _invite(owner, customer, EMAIL.upper())
    page = client.get(url).content.decode()
    assert f"/accounts/login/?next={url}" in page
    # Without a login, a POST does not accept the invitation.
    client.post(url)
    assert not Member.objects.filter(user=user).exists()
    mine = browser(user)
    assert "Accept the invitation" in mine.get(url).content.decode()
    home = f"/dashboard/{public_id(customer.organization)}/"
    assert mine.post(url)["Location"] == home
    assert Member.objects.get(user=user).role == Role.DEVELOPER
    actions = list(
        AuditEntry.objects.filter(organization=customer.organization)
        .order_by("id")
        .values_list("action", "target")
    )
    assert actions == [("member.invited", EMAIL), ("member.joined", EMAIL)]


def test_a_session_does_not_hold_the_invitations_token(
    owner: Client, customer: Customer, client: Client
) -> None:
    url = _invite(owner, customer)
    token = url.strip("/").rpartition("/")[2]
    assert len(token) > 30
    assert client.post(url)["Location"] == "/accounts/signup/"
    assert EMAIL in client.get("/accounts/signup/").content.decode()
    assert token not in str(dict(client.session)), "not even decrypted"


def test_another_persons_invitation_is_of_no_use(owner: Client, customer: Customer) -> None:
    url = _invite(owner, customer)
    stranger = browser(_known("evil@evil.example"))
    assert "for another address" in stranger.get(url).content.decode()
    stranger.post(url)
    assert not Member.objects.filter(user__email="evil@evil.example").exists()
    assert Invitation.objects.filter(email=EMAIL).exists()


def test_accepting_asks_for_the_address_itself(owner: Client, customer: Customer) -> None:
    """It does so for every caller, for example the sign-up."""
    _invite(owner, customer)
    stranger = _known("evil@evil.example")
    with pytest.raises(NotAllowed, match="another address"):
        invitations.accept(Invitation.objects.get(email=EMAIL), stranger)
    assert not Member.objects.filter(user=stranger).exists()


def test_an_address_that_is_not_proved_does_not_count(owner: Client, customer: Customer) -> None:
    url = _invite(owner, customer)
    claims = _known("claims@evil.example")
    EmailAddress.objects.create(user=claims, email=EMAIL, verified=False)
    browser(claims).post(url)
    assert not Member.objects.filter(user=claims).exists()


def test_a_second_proved_address_counts(owner: Client, customer: Customer) -> None:
    url = _invite(owner, customer)
    user = _known("noor@home.example")
    EmailAddress.objects.create(user=user, email=EMAIL, verified=True)
    browser(user).post(url)
    assert Member.objects.filter(user=user).exists()


def test_a_link_works_once(owner: Client, customer: Customer) -> None:
    user = _known()
    url = _invite(owner, customer)
    mine = browser(user)
    mine.post(url)
    Member.objects.filter(user=user).delete()
    response = mine.post(url)
    assert response.status_code == 404
    assert "does not work any more" in response.content.decode()
    assert not Member.objects.filter(user=user).exists()


def test_a_link_ends_after_seven_days(owner: Client, customer: Customer) -> None:
    url = _invite(owner, customer)
    row = Invitation.objects.get(email=EMAIL)
    days = row.expires_at - row.sent_at
    assert days == timedelta(days=7)
    Invitation.objects.update(expires_at=timezone.now())
    assert Client().get(url).status_code == 404
    # The address can be invited again.
    _invite(owner, customer)


def test_sending_again_ends_the_old_link(owner: Client, customer: Customer) -> None:
    old = _invite(owner, customer)
    row = Invitation.objects.get(email=EMAIL)
    again = _team(customer, f"invitations/{row.pk}/resend/")
    assert "a moment ago" in owner.post(again, follow=True).content.decode()
    assert len(mail.outbox) == 1
    _wait_a_minute()
    owner.post(again)
    new = link("/invitations/", EMAIL)
    assert new != old
    assert Client().get(old).status_code == 404
    assert Client().get(new).status_code == 200


def test_revoking(owner: Client, customer: Customer) -> None:
    url = _invite(owner, customer)
    row = Invitation.objects.get(email=EMAIL)
    revoke = _team(customer, f"invitations/{row.pk}/revoke/")
    assert "does not work any more" in owner.post(revoke, follow=True).content.decode()
    assert Client().get(url).status_code == 404
    assert owner.post(revoke).status_code == 404
    last = AuditEntry.objects.filter(organization=customer.organization).latest("id")
    assert (last.action, last.target) == ("invitation.revoked", EMAIL)


def test_another_organizations_invitation_is_not_found(
    owner: Client, customer: Customer, outsider: Customer
) -> None:
    other = browser(member(outsider.organization))
    _invite(other, outsider)
    row = Invitation.objects.get(email=EMAIL)
    for act in ("resend", "revoke"):
        assert owner.post(_team(customer, f"invitations/{row.pk}/{act}/")).status_code == 404
    assert Invitation.objects.filter(pk=row.pk).exists()


@pytest.mark.parametrize(
    ("email", "role", "message"),
    [
        ("", "viewer", "This field is required"),
        ("noor", "viewer", "Enter a valid email address"),
        (EMAIL, "", "This field is required"),
        (EMAIL, "emperor", "not one of the available choices"),
        ("a@" + "b" * 250 + ".example", "viewer", "at most 254 characters"),
    ],
)
def test_bad_input(owner: Client, customer: Customer, email: str, role: str, message: str) -> None:
    response = owner.post(_team(customer, "invite/"), {"email": email, "role": role})
    assert response.status_code == 200
    assert message in response.content.decode()
    assert not Invitation.objects.exists()
    assert mail.outbox == []


def test_nobody_is_invited_twice(owner: Client, customer: Customer) -> None:
    _invite(owner, customer)
    data = {"email": EMAIL.upper(), "role": "viewer"}
    page = owner.post(_team(customer, "invite/"), data).content.decode()
    assert "invited already" in page
    user = member(customer.organization)
    data = {"email": user.email, "role": "viewer"}
    assert "a member already" in owner.post(_team(customer, "invite/"), data).content.decode()
    assert Invitation.objects.count() == 1


def test_only_owners_invite_owners(customer: Customer) -> None:
    admin = browser(member(customer.organization, Role.ADMIN))
    data = {"email": EMAIL, "role": "owner"}
    page = admin.post(_team(customer, "invite/"), data).content.decode()
    assert "not one of the available choices" in page
    by = Member.objects.get(organization=customer.organization, role=Role.ADMIN)
    with pytest.raises(NotAllowed, match="Only an owner"):
        invitations.invite(by, EMAIL, Role.OWNER)
    assert not Invitation.objects.exists()


def test_invitations_cannot_be_used_to_send_spam(
    owner: Client, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(invitations, "OPEN_AT_MOST", 2)
    for number in range(3):
        data = {"email": f"n{number}@x.example", "role": "viewer"}
        page = owner.post(_team(customer, "invite/"), data, follow=True).content.decode()
    assert "too many open invitations" in page
    assert len(mail.outbox) == 2
    monkeypatch.setattr(invitations, "MAILS_A_DAY", 2)
    Invitation.objects.all().delete()
    page = owner.post(_team(customer, "invite/"), data).content.decode()
    assert "enough invitations for today" in page
    assert len(mail.outbox) == 2


def test_a_mail_server_that_is_away_loses_nothing(
    owner: Client, customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object, **_more: object) -> int:
        raise ConnectionRefusedError

    with monkeypatch.context() as patched:
        patched.setattr("django.core.mail.EmailMultiAlternatives.send", broken)
        data = {"email": EMAIL, "role": "viewer"}
        page = owner.post(_team(customer, "invite/"), data, follow=True).content.decode()
    assert "could not be sent" in page
    _wait_a_minute()
    row = Invitation.objects.get(email=EMAIL)
    owner.post(_team(customer, f"invitations/{row.pk}/resend/"))
    assert Client().get(link("/invitations/", EMAIL)).status_code == 200


def test_a_closed_organization_takes_nobody_in(owner: Client, customer: Customer) -> None:
    url = _invite(owner, customer)
    Organization.objects.filter(pk=customer.id).update(status=Organization.Status.CLOSED)
    assert browser(_known()).post(url).status_code == 404


def test_a_member_who_accepts_keeps_their_role(owner: Client, customer: Customer) -> None:
    url = _invite(owner, customer, role="viewer")
    user = _known()
    Member.objects.create(organization=customer.organization, user=user, role=Role.ADMIN)
    browser(user).post(url)
    assert Member.objects.get(user=user).role == Role.ADMIN
    assert not Invitation.objects.exists()


def test_accepted_by_several_clicks_at_once(committed_world: World) -> None:
    customer = committed_world.customer()
    user = _known("clicks@najd.example")
    try:
        boss = member(customer.organization)
        by = Member.objects.select_related("organization", "user").get(user=boss)
        invitations.invite(by, user.email, Role.VIEWER)
        url = link("/invitations/", user.email)
        mine = [browser(user) for _ in range(4)]
        responses = in_threads([lambda each=each: each.post(url).status_code for each in mine])  # type: ignore[misc]
        assert set(responses) <= {302, 404}
        assert Member.objects.filter(user=user).count() == 1
        joined = AuditEntry.objects.filter(
            organization=customer.organization, action="member.joined"
        )
        assert joined.count() == 1
    finally:
        Member.objects.filter(organization=customer.organization).delete()
        User.objects.filter(pk=user.pk).update(email=f"gone-{user.pk}@example.com")
        EmailAddress.objects.filter(user=user).delete()
