"""URLs of the account's REST API, under /v1/."""

from django.urls import path

from accounts.api import balance

urlpatterns = [path("balance", balance.BalanceView.as_view())]
