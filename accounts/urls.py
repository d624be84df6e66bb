"""The API's addresses of the account, under /v1/."""

from django.urls import path

from accounts import api

urlpatterns = [path("balance", api.BalanceView.as_view())]
