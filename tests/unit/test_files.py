"""Files that a package manager reads are replaced all together or not at all, also where a disk is full."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.gpulab.workstation.plugins.module_utils import _files

FULL = "/dev/full"  # whatever is written there meets a full disk


def test_what_stands_in_the_way_is_named_and_nothing_is_left_of_the_attempt(tmp_path: Path) -> None:
    first, second, below_a_file = tmp_path / "first", tmp_path / "second", tmp_path / "first" / "below"
    first.write_text("before\n")
    second.write_text("before\n")
    files = {str(first): "after\n", str(second): None, str(below_a_file): "after\n"}
    with pytest.raises(_files.NotWritten, match="below cannot be written: File exists"):
        _files.write_all(files)
    assert (first.read_text(), second.read_text()) == ("before\n", "before\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second"]


def test_a_full_disk_is_said_to_be_full(tmp_path: Path) -> None:
    path = tmp_path / "sources"
    path.write_text("before\n")
    (tmp_path / "sources.new").symlink_to(FULL)
    with pytest.raises(_files.NotWritten, match="sources cannot be written: No space left on device"):
        _files.write_text(str(path), "after\n")
    assert path.read_text() == "before\n"


def test_what_is_as_asked_is_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "sources"
    path.write_text("as asked\n")
    before = path.stat()
    assert _files.write_all({str(path): "as asked\n", str(tmp_path / "none"): None}) == {
        str(path): "as asked\n",
        str(tmp_path / "none"): None,
    }
    assert path.stat() == before
