"""Train the CIFAR-10 network of the guide on several machines at once, and say whether they came to the same.

  TF_CONFIG='{"cluster": {"worker": ["desk-1:23456", "desk-2:23456"]}, "task": {"type": "worker", "index": 0}}' \\
    cifar10_together.py --dataset generated

Each machine runs this with its own index, and waits for the others. Options, output and exit statuses are those of
cifar10_train.py; the result has a digest of the weights, which is the same everywhere when the machines did exchange
what they learned. Keras cannot fit a model across machines, so the steps are TensorFlow's own.
"""
# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import sys
import time
from typing import Any

import cifar10_data
import cifar10_meeting
import cifar10_train
import numpy as np
from cifar10_train import Progress, TrainingError

BATCH = 32  # of each device
EPOCHS = 10


def read_cluster() -> tuple[int, list[str]]:
    """This machine's number among the others, and where each of them is."""
    try:
        told = json.loads(os.environ["TF_CONFIG"])
        return int(told["task"]["index"]), [str(member) for member in told["cluster"]["worker"]]
    except (KeyError, ValueError) as error:
        raise TrainingError(f"TF_CONFIG does not say which machines train together: {error!r}", status=2) from error


def end_without(machine: str) -> None:
    """End this process, which would wait in TensorFlow's own code for a machine that went away."""
    print(f"cifar10_train: {machine} went away while the machines trained together", file=sys.stderr, flush=True)
    os._exit(8)


def train(data: cifar10_data.Dataset, options: argparse.Namespace, progress: Progress) -> dict[str, object]:
    """Train with the other machines and return the result, as --result writes it."""
    number, members = read_cluster()
    machines = len(members)
    meeting = cifar10_meeting.Meeting(members, number)
    try:
        meeting.meet()
    except cifar10_meeting.MeetingError as error:
        raise TrainingError(str(error), status=8) from error
    meeting.watch(end_without)
    try:
        import keras
        import tensorflow
    except ImportError as error:
        raise TrainingError(f"TensorFlow cannot be loaded: {error}", status=4) from error
    try:
        hardware = cifar10_train.look_at_hardware(tensorflow, gpus=options.gpus, recipe=cifar10_train.RECIPES["guide"])
        strategy = tensorflow.distribute.MultiWorkerMirroredStrategy()
        keras.utils.set_random_seed(options.seed)  # the same weights on every machine
        with strategy.scope():
            inputs = keras.Input((cifar10_data.SIDE, cifar10_data.SIDE, 3))
            model = keras.Sequential([inputs, *cifar10_train.network(keras, initializer="glorot_uniform")])
            optimizer = keras.optimizers.Adam()
            optimizer.build(model.trainable_variables)
        replicas = strategy.num_replicas_in_sync
        progress.tell("start", f"machine {number + 1} of {machines}, {replicas} devices train together")
        started = time.monotonic()
        history = fit(tensorflow, keras, strategy, model, optimizer, data, options=options, progress=progress)
    except tensorflow.errors.OpError as error:
        meeting.wait_for_news(40)  # of a machine that went away: TensorFlow hears of it sooner, and does not name it
        raise TrainingError(f"training together failed: {str(error).splitlines()[0][:300]}", status=8) from error
    meeting.leave()
    weights = hashlib.sha256(b"".join(keras.ops.convert_to_numpy(w).tobytes() for w in model.trainable_variables))
    return {
        "dataset": data.describe(),
        "recipe": "together",
        "epochs": len(history),
        "seed": options.seed,
        "machine": number,
        "machines": machines,
        "replicas": replicas,
        "devices": hardware.devices,
        "trained_on": cifar10_train.trained_on(model),
        "history": history,
        "accuracy": history[-1]["val_accuracy"],
        "weights": weights.hexdigest(),
        "seconds_training": round(time.monotonic() - started, 2),
        "images_per_s": history[-1]["images_per_s"],
    }


def fit(
    tensorflow: Any,
    keras: Any,
    strategy: Any,
    model: Any,
    optimizer: Any,
    data: cifar10_data.Dataset,
    *,
    options: argparse.Namespace,
    progress: Progress,
) -> list[dict[str, float]]:
    """Every device takes its own batch of a step; what they learned is summed up over all machines."""
    replicas = strategy.num_replicas_in_sync
    loss_of = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    shuffled = tensorflow.data.Dataset.from_tensor_slices((data.train_images, data.train_labels))
    shuffled = shuffled.shuffle(len(data.train_labels), seed=options.seed).repeat().batch(BATCH * replicas)
    sharding = tensorflow.data.Options()
    sharding.experimental_distribute.auto_shard_policy = tensorflow.data.experimental.AutoShardPolicy.DATA
    batches = iter(strategy.experimental_distribute_dataset(shuffled.with_options(sharding)))

    def step(images: Any, labels: Any) -> Any:
        with tensorflow.GradientTape() as tape:
            # Keras has divided it by the number of replicas already, so that a sum over them is the mean.
            loss = loss_of(labels, model(tensorflow.cast(images, "float32") / 255, training=True))
        weights = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights))
        return loss

    @tensorflow.function
    def steps(batches: Any, count: Any) -> Any:
        total = tensorflow.constant(0.0)
        for _step in tensorflow.range(count):
            total += strategy.reduce("SUM", strategy.run(step, next(batches)), None)
        return total / tensorflow.cast(count, "float32")

    @tensorflow.function
    def right(images: Any, labels: Any) -> Any:
        guesses = tensorflow.argmax(model(tensorflow.cast(images, "float32") / 255), axis=1, output_type="int32")
        return tensorflow.reduce_sum(tensorflow.cast(guesses == tensorflow.cast(labels, "int32"), "int32"))

    count = math.ceil(len(data.train_labels) / (BATCH * replicas))
    epochs, history = options.epochs or EPOCHS, []
    for epoch in range(1, epochs + 1):
        began = time.monotonic()
        loss = float(steps(batches, tensorflow.constant(count)))
        seconds = time.monotonic() - began
        if not math.isfinite(loss):
            raise TrainingError(f"the loss is not a number any more, in epoch {epoch}", status=5)
        parts = np.array_split(np.arange(len(data.test_labels)), max(1, len(data.test_labels) // 1000))
        correct = sum(int(right(data.test_images[part], data.test_labels[part])) for part in parts)
        row = {
            "epoch": epoch,
            "loss": round(loss, 5),
            "val_accuracy": round(correct / len(data.test_labels), 5),
            "images_per_s": round(count * BATCH * replicas / seconds, 1),
        }
        history.append(row)
        line = (
            f"epoch {epoch:2}/{epochs}  loss {loss:.3f}  test acc {row['val_accuracy']:.3f}  "
            f"{row['images_per_s']:,.0f} images/s together"
        )
        progress.tell("epoch", line, epochs=epochs, **row)
    return history


if __name__ == "__main__":
    sys.exit(cifar10_train.main(train))
