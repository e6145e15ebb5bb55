"""Who else offers NVIDIA's packages to a machine, in the files that apt and dnf read."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.gpulab.workstation.plugins.module_utils._foreign_sources import foreign_sources

NVIDIA = "https://developer.download.nvidia.com/compute/cuda/repos"


@pytest.mark.parametrize(
    ("file", "text", "uris"),
    [
        pytest.param(
            "apt/sources.list", f"deb {NVIDIA}/debian12/x86_64/ /\n", [f"{NVIDIA}/debian12/x86_64/"], id="list"
        ),
        pytest.param(
            "apt/sources.list.d/graphics.sources",
            "Types: deb\nURIs: https://ppa.launchpadcontent.net/graphics-drivers/ppa/ubuntu\nSuites: noble\n",
            ["https://ppa.launchpadcontent.net/graphics-drivers/ppa/ubuntu"],
            id="people's archive",
        ),
        pytest.param(
            "yum.repos.d/cuda-rhel9.repo",
            f"[cuda]\nname=cuda\nbaseurl={NVIDIA}/rhel9/x86_64\n",
            [f"{NVIDIA}/rhel9/x86_64"],
            id="dnf",
        ),
        pytest.param(
            "yum.repos.d/rpmfusion-nonfree.repo",
            "[rpmfusion-nonfree]\nmetalink=https://mirrors.rpmfusion.org/metalink?repo=nonfree-el-9\nenabled=1\n",
            ["https://mirrors.rpmfusion.org/metalink?repo=nonfree-el-9"],
            id="list of mirrors",
        ),
        pytest.param(
            "apt/sources.list.d/cuda-debian12-12-8-local.list",
            "deb [signed-by=/k.gpg] file:///var/cuda-repo-debian12-12-8-local /\n",
            ["file:///var/cuda-repo-debian12-12-8-local"],
            id="local installer",
        ),
        pytest.param(
            "apt/sources.list", f"deb {NVIDIA.replace('//', '//me:secret@')}/ /\n", [f"{NVIDIA}/"], id="with a password"
        ),
        pytest.param("apt/sources.list", f"# deb {NVIDIA}/debian12/x86_64/ /\n", [], id="commented out"),
        pytest.param("yum.repos.d/x.repo", f"[cuda]\nbaseurl={NVIDIA}/rhel9\nenabled=0\n", [], id="turned off"),
        pytest.param(
            "apt/sources.list.d/gpulab-nvidia.sources", f"Types: deb\nURIs: {NVIDIA}\nSuites: /\n", [], id="ours"
        ),
        pytest.param("yum.repos.d/gpulab-nvidia.repo", f"[gpulab-nvidia]\nbaseurl={NVIDIA}\n", [], id="ours for dnf"),
        pytest.param("apt/sources.list", "deb http://archive.example/debian bookworm main non-free\n", [], id="Debian"),
        pytest.param(
            "apt/sources.list.d/ctk.list",
            "deb https://nvidia.github.io/libnvidia-container/stable/deb/amd64 /\n",
            [],
            id="container tools, which are no driver",
        ),
        pytest.param("yum.repos.d/broken.repo", "no section\n", [], id="not a file of dnf"),
    ],
)
def test_only_others_that_offer_the_driver_are_foreign(tmp_path: Path, file: str, text: str, uris: list[str]) -> None:
    path = tmp_path / "etc" / file
    path.parent.mkdir(parents=True)
    path.write_text(text)
    assert foreign_sources(root=str(tmp_path)) == [{"file": f"/etc/{file}", "uri": uri} for uri in uris]
