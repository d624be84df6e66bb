"""REST API of the balance: `GET /v1/balance`."""

from typing import Annotated, Literal

from pydantic import Field
from rest_framework.request import Request
from rest_framework.response import Response
from typing_extensions import TypedDict

from accounts.api.authentication import caller_of
from accounts.api.view import ApiView
from accounts.credits.ledger import TEST_BALANCE, credits_text
from accounts.models import Balance, Organization
from accounts.roles import Scope
from imissive.core.api.operation import operation

Credits = Annotated[str, Field(pattern=r"^[0-9]+(\.[0-9]{1,6})?$", examples=["250.5"])]


class AccountBalance(TypedDict):
    credits: Annotated[Credits, Field(description="What is left.")]
    low_balance_threshold: Annotated[
        Credits, Field(description="Below it `balance.low` is told; 0: never.", examples=["100"])
    ]


class TestBalance(AccountBalance):
    """The play balance of a test key: always 1,000,000 credits."""

    test: Literal[True]


class BalanceView(ApiView):
    """`GET /v1/balance`"""

    required_scope = Scope.BALANCE

    @operation("get_balance", "Read the balance", responses={200: AccountBalance | TestBalance})
    def get(self, request: Request) -> Response:
        """The organization's credits. A test key reads a fixed play balance, and spends none."""
        caller = caller_of(request)
        if caller.test:
            play: TestBalance = {
                "credits": credits_text(TEST_BALANCE),
                "low_balance_threshold": "0",
                "test": True,
            }
            return Response(play)
        organization = Organization.objects.get(id=caller.organization_id)
        balance = Balance.objects.filter(organization=organization).first()
        content: AccountBalance = {
            "credits": credits_text(balance.micro if balance else 0),
            "low_balance_threshold": credits_text(organization.low_balance_threshold),
        }
        return Response(content)
