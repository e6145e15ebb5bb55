"""The images the proof trains on: CIFAR-10 in its published layout, or ten classes drawn here.

Nothing is extracted and nothing is executed: archives are read in place, and the pickles inside may name
NumPy arrays and nothing else. NumPy and the standard library only.

The layout: https://www.cs.toronto.edu/~kriz/cifar.html
"""
# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Callable

import numpy as np

SIDE = 32
CLASSES = 10
CANONICAL_SHA256 = "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce"
TRAIN_FILES = tuple(f"data_batch_{number}" for number in range(1, 6))
TEST_FILE = "test_batch"
# One published batch is 31 MB. What is far larger is something else, and must not fill the memory.
LARGEST_BATCH = 256 * 2**20


# Of the test images that one class may have: a network that always names it must stay far below every floor.
LARGEST_SHARE = 0.3


class DatasetError(Exception):
    """The images cannot be used; the message says which file and why."""


@dataclass(frozen=True)
class Dataset:
    """Images are (n, 32, 32, 3) and labels (n,), both uint8."""

    name: str
    source: str  # canonical, path or generated
    sha256: str | None
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray

    def describe(self) -> dict[str, object]:
        return {
            "name": self.name,
            "source": self.source,
            "train": len(self.train_labels),
            "test": len(self.test_labels),
            "sha256": self.sha256,
        }


# --- the published layout ------------------------------------------------------------------------------------------


def read(path: Path, *, sha256: str | None = None) -> Dataset:
    """Read the python layout from a folder or a tar archive; refuse it if its digest is not `sha256`."""
    try:
        files, digest = _read_folder(path) if path.is_dir() else _read_archive(path)
    except OSError as error:
        raise DatasetError(f"{path}: {error.strerror or error}") from error
    if sha256 and digest != sha256:
        raise DatasetError(f"{path}: its sha256 is {digest}, {sha256} was expected")
    batches = {name: _parse_batch(files[name], f"{path}: {name}") for name in (*TRAIN_FILES, TEST_FILE)}
    _require_a_test(path, batches)
    canonical = digest == CANONICAL_SHA256
    return Dataset(
        name="CIFAR-10, the published archive" if canonical else f"CIFAR-10 layout in {path.name}",
        source="canonical" if canonical else "path",
        sha256=digest,
        train_images=np.concatenate([batches[name][0] for name in TRAIN_FILES]),
        train_labels=np.concatenate([batches[name][1] for name in TRAIN_FILES]),
        test_images=batches[TEST_FILE][0],
        test_labels=batches[TEST_FILE][1],
    )


def _require_a_test(path: Path, batches: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Refuse images whose accuracy would say nothing: tested on what was trained on, or nearly all of one class."""
    images, labels = batches[TEST_FILE]
    for name in TRAIN_FILES:
        if np.array_equal(images, batches[name][0]):
            raise DatasetError(f"{path}: {TEST_FILE} holds the images of {name}")
    most = int(np.bincount(labels).max())
    if most > LARGEST_SHARE * len(labels):
        raise DatasetError(f"{path}: {most} of the {len(labels)} images of {TEST_FILE} are of one class")


def _read_folder(path: Path) -> tuple[dict[str, bytes], str]:
    """The six batch files, and one digest over all of them in order."""
    inner = path / "cifar-10-batches-py"
    folder = inner if inner.is_dir() else path
    files: dict[str, bytes] = {}
    digest = hashlib.sha256()
    for name in (*TRAIN_FILES, TEST_FILE):
        file = folder / name
        if not file.is_file():
            raise DatasetError(f"{folder}: there is no {name} in it")
        if file.stat().st_size > LARGEST_BATCH:
            raise DatasetError(f"{file}: too large for a CIFAR-10 batch")
        files[name] = file.read_bytes()
        digest.update(files[name])
    return files, digest.hexdigest()


def _read_archive(path: Path) -> tuple[dict[str, bytes], str]:
    """The six batch files out of a tar, compressed or not, and the digest of the archive."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        for block in iter(lambda: stream.read(2**20), b""):
            digest.update(block)
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                if name not in (*TRAIN_FILES, TEST_FILE) or not member.isfile():
                    continue
                if member.size > LARGEST_BATCH:
                    raise DatasetError(f"{path}: {name} is too large for a CIFAR-10 batch")
                content = archive.extractfile(member)
                assert content is not None  # a regular file always has content
                files[name] = content.read()
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DatasetError(f"{path}: not a whole tar archive ({error})") from error
    missing = [name for name in (*TRAIN_FILES, TEST_FILE) if name not in files]
    if missing:
        raise DatasetError(f"{path}: there is no {missing[0]} in it")
    return files, digest.hexdigest()


class _ArraysOnly(pickle.Unpickler):
    """Loads dictionaries, lists, strings, numbers and NumPy arrays. Any other name in the file is refused."""

    def find_class(self, module: str, name: str) -> Callable[..., object]:
        if (module, name) in (("numpy.core.multiarray", "_reconstruct"), ("numpy._core.multiarray", "_reconstruct")):
            # Where NumPy keeps it has moved between versions; an array knows it in every one.
            return np.ndarray(0).__reduce__()[0]
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        if (module, name) == ("_codecs", "encode"):  # how Python 3 writes bytes in protocol 2
            return _encode
        raise DatasetError(f"it asks for {module}.{name}, which no image batch needs")


def _encode(text: str, encoding: str) -> bytes:
    return text.encode(encoding)


def _parse_batch(content: bytes, where: str) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of one pickled batch: planes R, G, B of 32x32 to rows of pixels."""
    try:
        batch = _ArraysOnly(io.BytesIO(content), encoding="bytes").load()
        data, labels = np.asarray(batch[b"data"]), np.asarray(batch[b"labels"])
    except DatasetError as error:
        raise DatasetError(f"{where}: {error}") from error
    except Exception as error:  # a damaged pickle can fail in any way at all
        raise DatasetError(f"{where}: not a CIFAR-10 batch ({type(error).__name__}: {error})") from error
    if data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3 * SIDE * SIDE:
        raise DatasetError(f"{where}: its data is {data.dtype} {data.shape}, not uint8 (n, 3072)")
    if labels.shape != data.shape[:1] or labels.dtype.kind not in "iu" or not len(labels):
        raise DatasetError(f"{where}: {labels.shape} labels for {len(data)} images")
    if labels.min() < 0 or labels.max() >= CLASSES:
        raise DatasetError(f"{where}: labels from {labels.min()} to {labels.max()}, not 0 to 9")
    images = data.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), labels.astype(np.uint8)


# --- ten classes, drawn --------------------------------------------------------------------------------------------

SHAPES = ("disc", "ring", "square", "frame", "triangle", "cross", "star", "crescent", "bars", "checks")


def draw(*, train: int, test: int, seed: int) -> Dataset:
    """Draw `train` + `test` images of ten shapes, the same for the same seed and sizes.

    Place, size, turn, colours, contrast, clutter and noise say nothing about the class, so nothing less than
    looking at the shape will do: the mean colour of an image, or a scrambled image, stays near one in ten.
    """
    generator = np.random.default_rng(seed)
    total = train + test
    # As many of each class as of any other, in no order.
    labels = generator.permutation(np.arange(total) % CLASSES).astype(np.uint8)
    images = np.empty((total, SIDE, SIDE, 3), np.uint8)
    for start in range(0, total, 1000):  # a few MB at a time
        part = slice(start, start + 1000)
        images[part] = _draw_batch(labels[part], generator)
    return Dataset(
        name=f"ten drawn shapes, seed {seed}",
        source="generated",
        sha256=None,
        train_images=images[:train],
        train_labels=labels[:train],
        test_images=images[train:],
        test_labels=labels[train:],
    )


def _draw_batch(labels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    count = len(labels)

    def uniform(low: float, high: float, *shape: int) -> np.ndarray:
        return generator.uniform(low, high, (count, *shape)).astype(np.float32)

    rows, columns = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    size = uniform(8.5, 13.0, 1, 1)
    across = (columns - uniform(13, 19, 1, 1)) / size
    down = (rows - uniform(13, 19, 1, 1)) / size
    turn = uniform(-0.5, 0.5, 1, 1)
    u = across * np.cos(turn) + down * np.sin(turn)
    v = down * np.cos(turn) - across * np.sin(turn)
    inside = _inside(labels, u, v)

    # Two colours at least a contrast apart, on a ground that brightens to one side.
    ground = uniform(0.15, 0.85, 1, 1, 3)
    towards = generator.normal(size=(count, 1, 1, 3)).astype(np.float32)
    towards /= np.linalg.norm(towards, axis=-1, keepdims=True)
    figure = ground + towards * uniform(0.35, 0.7, 1, 1, 1)
    slope = uniform(-0.2, 0.2, 1, 1) * (columns / SIDE - 0.5) + uniform(-0.2, 0.2, 1, 1) * (rows / SIDE - 0.5)
    image = np.where(inside[..., None], figure, ground) + slope[..., None]

    # Clutter: two small patches of other colours, anywhere.
    for _patch in range(2):
        patch = (np.abs(columns - uniform(0, SIDE, 1, 1)) < uniform(1, 3.5, 1, 1)) & (
            np.abs(rows - uniform(0, SIDE, 1, 1)) < uniform(1, 3.5, 1, 1)
        )
        image = np.where(patch[..., None], uniform(0, 1, 1, 1, 3), image)
    image += generator.normal(size=image.shape).astype(np.float32) * uniform(0.02, 0.1, 1, 1, 1)
    return (image.clip(0, 1) * 255).astype(np.uint8)


def _inside(labels: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Which pixels belong to the shape of each label; u and v are its own axes, about -1 to 1 across it."""
    radius = np.hypot(u, v)
    angle = np.arctan2(v, u)
    box = np.maximum(np.abs(u), np.abs(v))
    shapes = {
        "disc": radius < 0.85,
        "ring": np.abs(radius - 0.72) < 0.2,
        "square": box < 0.75,
        "frame": np.abs(box - 0.65) < 0.18,
        "triangle": (v > -0.6) & (v < 0.9 - 1.75 * np.abs(u)),
        "cross": (np.minimum(np.abs(u), np.abs(v)) < 0.25) & (box < 0.9),
        "star": radius < 0.62 + 0.36 * np.cos(5 * angle),
        "crescent": (radius < 0.9) & (np.hypot(u - 0.45, v) > 0.7),
        "bars": (box < 0.85) & (np.sin(u * 3.7 * np.pi / 1.7) > 0),
        "checks": (box < 0.85) & (np.sin(u * 2.4 * np.pi / 1.7) * np.sin(v * 2.4 * np.pi / 1.7) > 0),
    }
    return np.choose(labels[:, None, None], [shapes[name] for name in SHAPES])
