"""Train the CIFAR-10 network of the guide, and say what happened.

  cifar10_train.py --dataset generated
  cifar10_train.py --dataset ~/cifar-10-python.tar.gz --recipe fast

One readable line per epoch goes to standard output. For programs: --progress FILE gets one JSON object a line
as things happen, --result FILE one JSON object at the end. Exit status:

  0  trained; whether the accuracy is good enough is for the reader of the result to judge
  2  the command line is wrong
  3  the images cannot be used: missing, damaged, not the expected ones
  4  TensorFlow cannot be loaded, or does not see the devices that were asked for
  5  the loss, or a weight, is not a number any more
  6  not enough memory, of the machine or of the GPU
  7  the progress or the result cannot be written
  8  a GPU fails by itself; the message names it
"""
# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import argparse
import json
import math
import os
import re
import statistics
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Callable

import cifar10_data
import numpy as np

# TensorFlow reads this when it is loaded: its notes about instruction sets would hide our lines.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# CUDA's own order is by speed. Every other tool numbers GPUs by their place on the bus.
os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")


class TrainingError(Exception):
    """Training cannot start or go on; the message says why, `status` is the exit status."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


# --- telling ---------------------------------------------------------------------------------------------------------


class Progress:
    """Says what happens, as it happens: lines for people, and JSON lines for a program that follows the file."""

    def __init__(self, path: Path | None) -> None:
        try:
            self._stream = path.open("a", encoding="utf-8") if path else None
        except OSError as error:
            raise TrainingError(f"cannot write {path}: {error.strerror}", status=7) from error

    def tell(self, event: str, line: str = "", **values: object) -> None:
        record = {"event": event, **values, "t": round(time.time(), 3)}
        if line:
            print(line, flush=True)
            record["message"] = line
        if self._stream is None:
            return
        try:
            self._stream.write(json.dumps(record) + "\n")
            self._stream.flush()
        except OSError as error:
            raise TrainingError(f"cannot write {self._stream.name}: {error.strerror}", status=7) from error

    def mark(self, name: str, edge: str) -> None:
        """Open (`begin`) or close (`end`) a stretch of time that a recorder may look at by itself."""
        self.tell("mark", mark=name, edge=edge)


def write_result(path: Path, result: dict[str, object]) -> None:
    """Write the whole result or none of it."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise TrainingError(f"cannot write {path}: {error.strerror}", status=7) from error


# --- the machine -----------------------------------------------------------------------------------------------------


def available_memory() -> int | None:
    """Bytes this process can still take: the machine's, or what a container's limit leaves of it."""
    room = []
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                room.append(int(line.split()[1]) * 1024)
    except OSError:
        return None
    for limit, usage in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        try:
            room.append(int(Path(limit).read_text(encoding="ascii")) - int(Path(usage).read_text(encoding="ascii")))
        except (OSError, ValueError):  # no such cgroup version here, or the limit is "max"
            continue
    return min(room, default=None)


def require_memory(images: int, *, recipe: Recipe) -> None:
    """Refuse before the kernel has to kill something."""
    pixels = images * 3 * cifar10_data.SIDE**2
    if recipe.whiten:
        # What the first convolution and its pooling make of an image, in half precision, while it is being copied.
        need = 900 * 2**20 + pixels + images * 3 * 2 * math.prod(WHITENED)
    else:
        # The images as bytes, as floats, and TensorFlow's copy of the floats.
        need = 900 * 2**20 + pixels * 9
    room = available_memory()
    if room is not None and room < need:
        raise TrainingError(
            f"not enough memory: training on {images} images needs about {need / 2**30:.1f} GiB, "
            f"{room / 2**30:.1f} GiB can be had",
            status=6,
        )


def cpu_has_bfloat16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return " avx512_bf16" in flags or " amx_bf16" in flags


# --- the recipes -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    """How the network is trained. The network is the same in every recipe."""

    name: str
    batch_size: int
    epochs: int = 0
    # Instead of a number of epochs: as many as it takes to see this many images.
    images_seen: int = 0
    # The first convolution is set, not learned: its filters whiten patches, which is most of what it would learn. As it
    # never changes, what it makes of the images is computed once, and kept on the device, where batches are gathered.
    whiten: bool = False
    # Steps in one call of the training function: Python is out of the way for the others.
    steps_per_call: int = 1
    # The height of the learning rate's one cycle; None is Adam's own constant rate.
    peak_rate: float | None = None
    initializer: str = "glorot_uniform"

    def sized(self, *, epochs: int | None, images: int) -> Recipe:
        """The recipe with its number of epochs settled, for so many images to train on."""
        return replace(self, epochs=epochs or self.epochs or math.ceil(self.images_seen / images))


RECIPES = {
    "guide": Recipe("guide", batch_size=32, epochs=10),
    "fast": Recipe(
        "fast",
        batch_size=64,
        images_seen=150_000,
        whiten=True,
        steps_per_call=50,
        peak_rate=3e-3,
        initializer="he_normal",
    ),
}


@dataclass(frozen=True)
class Load:
    """How long each device trains by itself, and with how many images at a time; none for no seconds."""

    seconds: float
    batch: int


SMALLEST_LOAD = 256


@dataclass(frozen=True)
class Hardware:
    """What TensorFlow sees, and how it is best used there."""

    devices: list[dict[str, object]]
    precision: str  # a Keras dtype policy
    jit: bool


def look_at_hardware(tensorflow: Any, *, gpus: int | None, recipe: Recipe) -> Hardware:
    """What is there, refused if it is not the number of GPUs that was asked for."""
    seen = tensorflow.config.list_physical_devices("GPU")
    if gpus is not None and len(seen) != gpus:
        raise TrainingError(f"TensorFlow sees {len(seen)} GPUs, {gpus} were expected", status=4)
    devices: list[dict[str, object]] = []
    capabilities = []
    for device in seen:  # before any of them is in use
        tensorflow.config.experimental.set_memory_growth(device, True)
        details = tensorflow.config.experimental.get_device_details(device)
        capability = details.get("compute_capability", (0, 0))
        capabilities.append(capability)
        devices.append(
            {
                "kind": "GPU",
                "name": device.name.replace("/physical_device:", ""),
                "model": details.get("device_name"),
                "compute_capability": ".".join(map(str, capability)),
            }
        )
    for device, address in zip(devices, pci_addresses(tensorflow) if seen else []):
        device["pci_address"] = address
    if not seen:
        devices.append({"kind": "CPU", "name": "CPU:0", "model": None, "cores": len(os.sched_getaffinity(0))})
    precision = "float32"
    if recipe.whiten:
        if (capabilities and min(capabilities) >= (8, 0)) or (not capabilities and cpu_has_bfloat16()):
            precision = "mixed_bfloat16"
        elif capabilities and min(capabilities) >= (7, 0):
            precision = "mixed_float16"
    # On a CPU XLA makes these convolutions slower, and what several GPUs do together Keras cannot put through it.
    return Hardware(devices=devices, precision=precision, jit=recipe.whiten and len(seen) == 1)


def pci_addresses(tensorflow: Any) -> list[str]:
    """Where the GPUs are on the bus, in TensorFlow's order. It tells this only in a description for people."""
    from tensorflow.python.client import device_lib

    settings = tensorflow.compat.v1.ConfigProto()
    settings.gpu_options.allow_growth = True  # or the question alone would take all of their memory
    gpus = [device for device in device_lib.list_local_devices(settings) if device.device_type == "GPU"]
    return [found.group(1).lower() for gpu in gpus if (found := PCI_ADDRESS.search(gpu.physical_device_desc))]


def network(keras: Any, *, initializer: str) -> list[Any]:
    """The guide's network, from a 32x32x3 image of floats to ten logits."""
    layers = keras.layers
    return [
        layers.Conv2D(32, (3, 3), activation="relu", kernel_initializer=initializer),
        layers.MaxPooling2D((2, 2)),
        layers.Conv2D(64, (3, 3), activation="relu", kernel_initializer=initializer),
        layers.MaxPooling2D((2, 2)),
        layers.Conv2D(64, (3, 3), activation="relu", kernel_initializer=initializer),
        layers.Flatten(),
        layers.Dense(64, activation="relu"),
        # The loss wants logits in full precision, whatever the layers before compute in.
        layers.Dense(10, dtype="float32"),
    ]


PCI_ADDRESS = re.compile(r"pci bus id: ([0-9a-fA-F:.]+)")
WHITENED = (15, 15, 32)  # what comes out of the first convolution and its pooling


def whitening_filters(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Kernel (3, 3, 3, 32) and bias (32,) that turn patches into their 16 main components, of both signs, made equally
    strong."""
    patches = np.lib.stride_tricks.sliding_window_view(images[:2000] / np.float32(255), (3, 3), axis=(1, 2))
    rows = patches[:, ::3, ::3].transpose(0, 1, 2, 4, 5, 3).reshape(-1, 27)
    mean = rows.mean(axis=0)
    strengths, components = np.linalg.eigh(np.cov((rows - mean).T))
    main = (components[:, -16:] / np.sqrt(strengths[-16:] + 1e-3)).T
    filters = np.concatenate([main, -main]).astype(np.float32)
    return filters.reshape(32, 3, 3, 3).transpose(1, 2, 3, 0), -filters @ mean


def whitened(
    keras: Any, layers: list[Any], images: np.ndarray, *, filters: tuple[np.ndarray, np.ndarray]
) -> np.ndarray:
    """What the network's first layers make of the images, with the filters set."""
    inputs = keras.Input((cifar10_data.SIDE, cifar10_data.SIDE, 3), dtype="uint8")
    outputs = keras.layers.Rescaling(1 / 255)(inputs)
    for layer in layers:
        outputs = layer(outputs)
    first = keras.Model(inputs, keras.ops.cast(outputs, "float16"))
    layers[0].set_weights(filters)
    result = np.empty((len(images), *WHITENED), np.float16)
    for start in range(0, len(images), 50):  # so few that what comes in between stays in the processor's caches
        part = slice(start, start + 50)
        result[part] = first.predict_on_batch(images[part])
    return result


def gather_layer(keras: Any, table: np.ndarray) -> Any:
    """A layer that turns row numbers into rows of a table in the memory of the device."""

    class Gather(keras.layers.Layer):
        def build(self, _shape: object) -> None:
            self.table = self.add_weight(
                shape=table.shape,
                dtype=table.dtype.name,
                trainable=False,
                # Rows are cast when they are gathered; on reading, Keras would cast the whole table in every step.
                autocast=False,
                initializer=lambda *_, **__: keras.ops.convert_to_tensor(table),
                name="rows",
            )

        def call(self, rows: Any) -> Any:
            return keras.ops.cast(keras.ops.take(self.table, rows, axis=0), self.compute_dtype)

    return Gather()


# --- each device by itself -------------------------------------------------------------------------------------------


def try_each(
    tensorflow: Any, keras: Any, data: cifar10_data.Dataset, *, hardware: Hardware, load: Load, progress: Progress
) -> list[dict[str, object]]:
    """Train on each device alone for a while, with batches that fill it; a device that fails is named, after all had
    their turn."""
    found = []
    for device in hardware.devices:
        name = str(device["name"])
        row: dict[str, object] = {key: device.get(key) for key in ("name", "model", "pci_address")}
        try:
            row.update(fill(tensorflow, keras, data, device=name, load=load, progress=progress))
            line = f"{name} alone: {row['images_per_s']:,.0f} images/s in batches of {row['batch_size']}"
        except tensorflow.errors.OpError as error:
            row["error"] = str(error).splitlines()[0][:300]
            line = f"{name} alone: {row['error']}"
        progress.tell("device", line, **row)
        found.append(row)
    broken = [
        f"{row['name']} ({row['model']}, {row['pci_address']}): {row['error']}" for row in found if "error" in row
    ]
    if broken:
        raise TrainingError("a device fails by itself: " + "; ".join(broken), status=8)
    return found


def fill(
    tensorflow: Any, keras: Any, data: cifar10_data.Dataset, *, device: str, load: Load, progress: Progress
) -> dict[str, object]:
    """Keep one device busy with the training of one large batch; halve the batch as long as it does not fit."""
    batch = load.batch
    while True:
        try:
            return fill_with(
                tensorflow, keras, data, device=device, batch=batch, seconds=load.seconds, progress=progress
            )
        except tensorflow.errors.ResourceExhaustedError:
            if batch <= SMALLEST_LOAD:
                raise
            batch //= 2


def fill_with(
    tensorflow: Any,
    keras: Any,
    data: cifar10_data.Dataset,
    *,
    device: str,
    batch: int,
    seconds: float,
    progress: Progress,
) -> dict[str, object]:
    with tensorflow.device(device):
        rows = np.resize(np.arange(len(data.train_labels)), batch)
        images = tensorflow.constant(data.train_images[rows])
        labels = tensorflow.constant(data.train_labels[rows].astype("int32"))
        model = keras.Sequential(
            [
                keras.Input((cifar10_data.SIDE, cifar10_data.SIDE, 3), dtype="uint8"),
                keras.layers.Rescaling(1 / 255),
                *network(keras, initializer="he_normal"),
            ]
        )
        optimizer = keras.optimizers.Adam(1e-3)
        optimizer.build(model.trainable_variables)
        loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

        # All steps of a call are one program on the device: Python and the copying of images leave no gaps.
        @tensorflow.function
        def steps(count: Any) -> Any:
            loss = tensorflow.constant(0.0)
            for _step in tensorflow.range(count):
                with tensorflow.GradientTape() as tape:
                    loss = loss_of(labels, model(images, training=True))
                optimizer.apply_gradients(
                    zip(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
                )
            return loss

        first = float(steps(tensorflow.constant(1)))
        began = time.monotonic()
        float(steps(tensorflow.constant(2)))
        calls = tensorflow.constant(max(1, round(2 / (time.monotonic() - began))))  # of about a second
        done, began = 0, time.monotonic()
        progress.mark(f"load {device}", "begin")
        while time.monotonic() - began < seconds or not done:
            last = float(steps(calls))
            done += int(calls)
        progress.mark(f"load {device}", "end")
        elapsed = time.monotonic() - began
    if not math.isfinite(last):
        raise tensorflow.errors.DataLossError(None, None, "the loss is not a number any more")
    if last >= first:
        raise tensorflow.errors.DataLossError(None, None, f"it does not learn, the loss went from {first} to {last}")
    return {
        "batch_size": batch,
        "images_per_s": round(done * batch / elapsed, 1),
        "loss": [round(first, 4), round(last, 4)],
    }


# --- training --------------------------------------------------------------------------------------------------------


def follow_class(keras: Any) -> Any:
    """The Keras callback that times the epochs, tells them, and stops at a loss that is not a number."""

    class Follow(keras.callbacks.Callback):
        def __init__(self, progress: Progress, *, epochs: int, images: int, began: float) -> None:
            super().__init__()
            self.progress, self.epochs, self.images, self.began = progress, epochs, images, began
            self.history: list[dict[str, float]] = []

        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
            # The first epoch holds the compilation: what is measured begins with the second.
            if epoch > 0 or self.epochs == 1:
                self.progress.mark("steps", "begin")
            self.started = time.monotonic()

        def on_test_begin(self, logs: object = None) -> None:
            self.seconds = time.monotonic() - self.started
            if len(self.history) > 0 or self.epochs == 1:
                self.progress.mark("steps", "end")

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            values = {name: round(float(value), 5) for name, value in (logs or {}).items()}
            if not all(map(math.isfinite, values.values())):
                raise TrainingError(f"the loss is not a number any more, in epoch {epoch + 1}", status=5)
            # A ReLU can make a zero of what is no number, and the loss then looks sound.
            weights = map(keras.ops.convert_to_numpy, self.model.trainable_weights)
            if not all(np.isfinite(weight).all() for weight in weights):
                raise TrainingError(f"the weights are not numbers any more, in epoch {epoch + 1}", status=5)
            row = {
                "epoch": epoch + 1,
                "loss": values["loss"],
                "accuracy": values["accuracy"],
                "val_loss": values["val_loss"],
                "val_accuracy": values["val_accuracy"],
                "seconds": round(self.seconds, 3),
                "images_per_s": round(self.images / self.seconds, 1),
                # Since the training began, with whatever was prepared, compiled and tested until now.
                "elapsed": round(time.monotonic() - self.began, 3),
            }
            self.history.append(row)
            line = (
                f"epoch {epoch + 1:2}/{self.epochs}  loss {row['loss']:.3f}  acc {row['accuracy']:.3f}  "
                f"test acc {row['val_accuracy']:.3f}  {row['images_per_s']:,.0f} images/s"
            )
            self.progress.tell("epoch", line, epochs=self.epochs, **row)

    return Follow


def train(
    data: cifar10_data.Dataset, *, recipe: Recipe, load: Load, seed: int, gpus: int | None, progress: Progress
) -> dict[str, object]:
    """Train and return the result, as --result writes it."""
    try:
        import keras
        import tensorflow
    except ImportError as error:
        raise TrainingError(f"TensorFlow cannot be loaded: {error}", status=4) from error

    hardware = look_at_hardware(tensorflow, gpus=gpus, recipe=recipe)
    keras.utils.set_random_seed(seed)
    keras.mixed_precision.set_dtype_policy(hardware.precision)
    progress.tell(
        "start",
        f"{data.name}: {len(data.train_labels)} to train on, {len(data.test_labels)} to test with; "
        f"recipe {recipe.name}, {hardware.precision}, on "
        + ", ".join(str(device["model"] or device["name"]) for device in hardware.devices),
        dataset=data.describe(),
        recipe=recipe.name,
        epochs=recipe.epochs,
        devices=hardware.devices,
    )

    alone = []
    if load.seconds:
        alone = try_each(tensorflow, keras, data, hardware=hardware, load=load, progress=progress)
        keras.utils.set_random_seed(seed)  # again: the weights are the same with and without it

    started, cpu_started = time.monotonic(), time.process_time()
    names = [str(device["name"]) for device in hardware.devices]
    several = len(names) > 1
    strategy = tensorflow.distribute.MirroredStrategy(names) if several else tensorflow.distribute.get_strategy()
    layers = fed_layers(keras, data, recipe=recipe)  # outside: what is computed once is computed on one device
    with strategy.scope():
        model = assemble(keras, layers, images=len(data.train_labels), recipe=recipe, hardware=hardware)
    train_x, test_x = model_inputs(data, recipe=recipe)
    follow = follow_class(keras)(progress, epochs=recipe.epochs, images=len(data.train_labels), began=started)
    try:
        model.fit(
            train_x,
            data.train_labels,
            batch_size=recipe.batch_size,
            epochs=recipe.epochs,
            validation_data=(test_x, data.test_labels),
            validation_batch_size=recipe.batch_size if not recipe.whiten else 1000,
            verbose=0,
            callbacks=[follow],
        )
    except tensorflow.errors.ResourceExhaustedError as error:
        raise TrainingError(f"not enough memory on the device: {str(error).splitlines()[0]}", status=6) from error
    seconds, cpu_seconds = time.monotonic() - started, time.process_time() - cpu_started

    history = follow.history
    steady = [row["images_per_s"] for row in history[1:]] or [history[0]["images_per_s"]]
    return {
        "dataset": data.describe(),
        "recipe": recipe.name,
        "epochs": recipe.epochs,
        "batch_size": recipe.batch_size,
        "seed": seed,
        "devices": hardware.devices,
        "alone": alone,
        "trained_on": trained_on(model),
        "framework": {
            "tensorflow": tensorflow.__version__,
            "keras": keras.__version__,
            "python": ".".join(map(str, sys.version_info[:3])),
        },
        "precision": hardware.precision,
        "jit": hardware.jit,
        "history": history,
        "accuracy": history[-1]["val_accuracy"],
        "seconds_training": round(seconds, 2),
        "cpu_seconds_training": round(cpu_seconds, 2),
        "images_per_s": round(statistics.median(steady), 1),
    }


def fed_layers(keras: Any, data: cifar10_data.Dataset, *, recipe: Recipe) -> list[Any]:
    """The network's layers after what feeds them as the recipe wants it: images, or the rows of a table."""
    layers = network(keras, initializer=recipe.initializer)
    if not recipe.whiten:
        return [keras.Input((cifar10_data.SIDE, cifar10_data.SIDE, 3)), *layers]
    # One table for both parts, so that one network trains on the first rows and is tested on the rest.
    images = np.concatenate([data.train_images, data.test_images])
    table = whitened(keras, layers[:2], images, filters=whitening_filters(data.train_images))
    return [keras.Input((), dtype="int32"), gather_layer(keras, table), *layers[2:]]


def assemble(keras: Any, layers: list[Any], *, images: int, recipe: Recipe, hardware: Hardware) -> Any:
    """The network, ready to be fitted to so many images."""
    model = keras.Sequential(layers)
    rate: Any = 1e-3  # Adam's own
    if recipe.peak_rate is not None:
        steps = recipe.epochs * math.ceil(images / recipe.batch_size)
        warm = max(1, steps // 5)
        # One cycle: up for a fifth of the way, then down to nothing.
        rate = keras.optimizers.schedules.CosineDecay(
            recipe.peak_rate / 10, decay_steps=steps - warm, warmup_target=recipe.peak_rate, warmup_steps=warm, alpha=0
        )
    model.compile(
        optimizer=keras.optimizers.Adam(rate, beta_2=0.99 if recipe.whiten else 0.999),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        # Several devices agree after each step, which Keras cannot put into a loop of steps.
        steps_per_execution=recipe.steps_per_call if len(hardware.devices) == 1 else 1,
        jit_compile=hardware.jit,
    )
    return model


def model_inputs(data: cifar10_data.Dataset, *, recipe: Recipe) -> tuple[Any, Any]:
    """What the network is fed: row numbers of its own table, or the images themselves, scaled to 0..1."""
    if recipe.whiten:
        rows = np.arange(len(data.train_labels) + len(data.test_labels), dtype="int32")
        return rows[: len(data.train_labels)], rows[len(data.train_labels) :]
    scale = np.float32(255)
    return data.train_images / scale, data.test_images / scale


def trained_on(model: Any) -> list[str]:
    """The devices that hold the trained weights: where the steps really ran, not where they could have."""
    names = set()
    for weight in model.trainable_variables:
        value = weight.value
        for part in getattr(value, "values", [value]):  # a mirrored weight has one part on each device
            names.add(part.device.rsplit("device:", 1)[-1])
    return sorted(names)


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", required=True, help="folder or tar of the CIFAR-10 python layout, or 'generated'")
    parser.add_argument("--sha256", help="what the archive's (or the six batch files') digest must be")
    parser.add_argument("--generated-train", type=int, default=12000, metavar="N", help="images to draw (12000)")
    parser.add_argument("--generated-test", type=int, default=2000, metavar="N", help="images to draw (2000)")
    parser.add_argument("--recipe", choices=sorted(RECIPES), default="guide")
    parser.add_argument(
        "--epochs", type=int, metavar="N", help="default: the recipe's own (guide 10, fast 3 of CIFAR-10)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the weights, the order, and drawn images (1)")
    parser.add_argument("--gpus", type=int, metavar="N", help="refuse to train unless TensorFlow sees exactly N GPUs")
    parser.add_argument(
        "--load-seconds", type=float, default=0, metavar="S", help="first train on each device alone for so long (0)"
    )
    parser.add_argument("--load-batch", type=int, default=4096, metavar="N", help="images at a time for that (4096)")
    parser.add_argument("--progress", type=Path, metavar="FILE", default=os.environ.get("GPULAB_PROGRESS"))
    parser.add_argument("--result", type=Path, metavar="FILE", default=os.environ.get("GPULAB_RESULT"))
    options = parser.parse_args(arguments)
    for name in ("epochs", "generated_train", "generated_test", "load_batch"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            parser.error(f"--{name.replace('_', '-')} must be at least 1")
    return options


# How the images are trained on: on this machine, or with others (cifar10_together.py).
Way = Callable[[cifar10_data.Dataset, argparse.Namespace, Progress], "dict[str, Any]"]


def train_here(data: cifar10_data.Dataset, options: argparse.Namespace, progress: Progress) -> dict[str, Any]:
    recipe = RECIPES[options.recipe].sized(epochs=options.epochs, images=len(data.train_labels))
    require_memory(len(data.train_labels) + len(data.test_labels), recipe=recipe)
    load = Load(options.load_seconds, options.load_batch)
    return train(data, recipe=recipe, load=load, seed=options.seed, gpus=options.gpus, progress=progress)


def run(options: argparse.Namespace, way: Way) -> None:
    progress = Progress(options.progress)
    try:
        if options.dataset == "generated":
            data = cifar10_data.draw(train=options.generated_train, test=options.generated_test, seed=options.seed)
        else:
            data = cifar10_data.read(Path(options.dataset).expanduser(), sha256=options.sha256)
        result = way(data, options, progress)
    except cifar10_data.DatasetError as error:
        raise TrainingError(str(error), status=3) from error
    except MemoryError as error:
        raise TrainingError("not enough memory", status=6) from error
    if options.result:
        write_result(options.result, result)
    progress.tell(
        "end",
        f"accuracy {result['accuracy']:.4f} on {len(data.test_labels)} test images after "
        f"{result['epochs']} epochs in {result['seconds_training']:.0f} s",
        accuracy=result["accuracy"],
        images_per_s=result["images_per_s"],
    )


def main(way: Way = train_here) -> int:
    try:
        run(parse_arguments(), way)
    except TrainingError as error:
        print(f"cifar10_train: {error}", file=sys.stderr)
        return error.status
    return 0


if __name__ == "__main__":
    sys.exit(main())
