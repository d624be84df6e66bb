"""The REST API of the account itself."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api_view import ApiView
from accounts.authentication import caller_of
from accounts.ledger import credits_text
from accounts.models import Balance, Organization
from accounts.roles import Scope


class BalanceView(ApiView):
    """`GET /v1/balance`"""

    required_scope = Scope.BALANCE

    @extend_schema(operation_id="get_balance", responses={200: dict[str, Any]})
    def get(self, request: Request) -> Response:
        organization = Organization.objects.get(id=caller_of(request).organization_id)
        balance = Balance.objects.filter(organization=organization).first()
        return Response(
            {
                "credits": credits_text(balance.micro if balance else 0),
                "low_balance_threshold": credits_text(organization.low_balance_threshold),
            }
        )
