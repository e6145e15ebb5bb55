"""More components come from where the machine takes the others."""

from __future__ import annotations

from ansible_collections.gpulab.workstation.plugins.module_utils import _apt_sources
from ansible_collections.gpulab.workstation.plugins.module_utils._apt_sources import Source

WANTED = ("contrib", "non-free", "non-free-firmware")

LIST = """\
# deb http://old.example/debian bookworm main
deb http://mirror.example/debian/ bookworm main non-free-firmware # the lab's
deb [arch=amd64 signed-by=/k.gpg] http://security.example bookworm-security main contrib non-free non-free-firmware
deb-src http://mirror.example/debian bookworm main
deb http://other.example/tool stable tool
"""

DEB822 = """\
Types: deb deb-src
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/k.gpg

# a comment
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
Enabled: no

Types: deb
URIs: http://key.example/debian
Suites: sid
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 -----END PGP PUBLIC KEY BLOCK-----
"""


def test_only_what_is_missing_is_added_and_only_where_main_is() -> None:
    lacking = _apt_sources.missing(_apt_sources.parse_list(LIST), WANTED)
    assert lacking == [Source("http://mirror.example/debian", "bookworm", ("contrib", "non-free"))]


def test_each_suite_gets_its_components_with_the_key_of_the_others() -> None:
    lacking = _apt_sources.missing(_apt_sources.parse_deb822(DEB822), WANTED)
    assert [(source.uri, source.suite) for source in lacking] == [
        ("http://mirror.example/debian", "bookworm"),
        ("http://mirror.example/debian", "bookworm-updates"),
        ("http://key.example/debian", "sid"),
    ]
    assert lacking[0].signed_by == "/usr/share/keyrings/k.gpg"
    assert lacking[2].signed_by.startswith("\n -----BEGIN")


def test_the_composed_file_says_what_was_missing_and_then_nothing_is() -> None:
    sources = _apt_sources.parse_deb822(DEB822)
    text = _apt_sources.compose(_apt_sources.missing(sources, WANTED), heading="# Why.")
    added = _apt_sources.parse_deb822(text)
    assert _apt_sources.missing([*sources, *added], WANTED) == []
