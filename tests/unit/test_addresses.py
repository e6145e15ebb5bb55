"""A password in an address is found whole, and nothing is left of it for all to read."""

from __future__ import annotations

import pytest
from ansible_collections.gpulab.workstation.plugins.module_utils._addresses import credentials, without_secrets


@pytest.mark.parametrize(
    ("url", "user", "password", "public"),
    [
        ("https://me:pass@host/x", "me", "pass", "https://host/x"),
        ("http://me:p@ss:w@host:80/x", "me", "p@ss:w", "http://host:80/x"),
        ("https://me%40lab:100%25@host/x", "me@lab", "100%", "https://host/x"),
        ("https://token@host/x", "token", "", "https://host/x"),
        ("https://host/x@1", "", "", "https://host/x@1"),
        ("/srv/me:pass@host", "", "", "/srv/me:pass@host"),
    ],
)
def test_a_password_is_told_from_an_address(url: str, user: str, password: str, public: str) -> None:
    assert credentials(url) == (user, password)
    assert without_secrets({"urls": [f"see {url} and '{url}'"]}) == {"urls": [f"see {public} and '{public}'"]}
