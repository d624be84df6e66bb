"""The Permissions-Policy header of pages."""

from typing import Any

import pytest
from django.test import Client

from tests.support.people import PLAIN_STATIC


@pytest.mark.parametrize("path", ["/", "/docs", "/accounts/login/", "/admin/login/", "/nothing"])
def test_pages_may_use_little_of_a_browser(db: None, settings: Any, path: str) -> None:
    settings.STORAGES = PLAIN_STATIC
    policy = Client().get(path)["Permissions-Policy"]
    for name in ("camera", "microphone", "geolocation", "payment", "usb"):
        assert f"{name}=()" in policy
    for name in ("clipboard-write", "publickey-credentials-create", "publickey-credentials-get"):
        assert f"{name}=(self)" in policy
