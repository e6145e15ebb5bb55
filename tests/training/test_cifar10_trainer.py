# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The trainer as people run it, in an environment that has TensorFlow: GPULAB_TRAINING_PYTHON, or .venv/training."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TRAINER = ROOT / "roles" / "cifar10" / "files" / "cifar10_train.py"
PYTHON = os.environ.get("GPULAB_TRAINING_PYTHON", str(ROOT / ".venv" / "training" / "bin" / "python"))

pytestmark = pytest.mark.skipif(not Path(PYTHON).exists(), reason=f"NOT CHECKED: no Python with TensorFlow at {PYTHON}")

# A small data set in the published layout, written by the environment's own NumPy.
LAYOUT = """
import pickle, sys
sys.path.insert(0, sys.argv[1])
import cifar10_data, numpy
from pathlib import Path
data = cifar10_data.draw(train=1000, test=200, seed=1)
folder = Path(sys.argv[2]); folder.mkdir()
def write(name, images, labels):
    batch = {b"data": images.transpose(0, 3, 1, 2).reshape(len(images), 3072), b"labels": labels.tolist()}
    (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
for number in range(5):
    part = slice(number * 200, number * 200 + 200)
    write(f"data_batch_{number + 1}", data.train_images[part], data.train_labels[part])
write("test_batch", data.test_images, data.test_labels)
"""


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images") / "cifar-10-batches-py"
    subprocess.run([PYTHON, "-c", LAYOUT, str(TRAINER.parent), str(folder)], check=True)
    return folder


def train(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [PYTHON, str(TRAINER), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=300, env={**os.environ, **environment}, check=False
    )


def damaged(layout: Path, folder: Path, change: Callable[[Path], object]) -> Path:
    """A copy of the layout with one thing wrong."""
    folder.mkdir()
    for file in layout.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    change(folder)
    return folder


@pytest.mark.parametrize("recipe", ["guide", "fast"])
def test_a_recipe_learns_the_shapes_and_says_how(tmp_path, recipe):
    result, progress = tmp_path / "result.json", tmp_path / "progress.jsonl"
    done = train(
        *("--dataset", "generated", "--generated-train", 3000, "--generated-test", 500, "--epochs", 6),
        *("--recipe", recipe, "--gpus", 0, "--result", result, "--progress", progress),
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(result.read_text())
    assert found["accuracy"] > 0.2, "one in ten is chance"
    assert found["history"][-1]["loss"] < found["history"][0]["loss"]
    assert found["dataset"]["source"] == "generated"
    assert found["trained_on"] == ["CPU:0"]
    events = [json.loads(line) for line in progress.read_text().splitlines()]
    assert [event["event"] for event in events if event["event"] != "mark"] == ["start", *["epoch"] * 6, "end"]
    assert [event["edge"] for event in events if event["event"] == "mark"] == ["begin", "end"] * 5


def test_a_folder_and_an_archive_of_the_layout_are_the_same_images(tmp_path, layout):
    archive = tmp_path / "images.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(layout, arcname=layout.name)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import cifar10_data as d; from pathlib import Path; "
        "a, b = (d.read(Path(path)) for path in sys.argv[2:]); "
        "assert (a.train_images == b.train_images).all() and (a.test_labels == b.test_labels).all(); "
        "drawn = d.draw(train=1000, test=200, seed=1); "
        "assert (a.train_images == drawn.train_images).all() and (a.test_images == drawn.test_images).all()"
    )
    subprocess.run([PYTHON, "-c", code, str(TRAINER.parent), str(layout.parent), str(archive)], check=True)


class Malice:
    def __reduce__(self):
        return os.system, ("touch /tmp/gpulab-was-here",)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def evil(path: Path) -> None:
    path.write_bytes(pickle.dumps(Malice()))


def copy(path: Path, to: Path) -> None:
    to.write_bytes(path.read_bytes())


def of_one_class(path: Path) -> None:
    """A network that learned nothing but to name this class would be right with nearly all of them."""
    images = b"\0" * 200 * 3072
    code = "import numpy, pickle, sys; pickle.dump({b'data': numpy.frombuffer(sys.stdin.buffer.read(), 'uint8')"
    code += ".reshape(200, 3072), b'labels': [7] * 190 + [1] * 10}, open(sys.argv[1], 'wb'), protocol=2)"
    subprocess.run([PYTHON, "-c", code, str(path)], input=images, check=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "data_batch_3").unlink(), "there is no data_batch_3"),
        (lambda folder: cut(folder / "test_batch"), "test_batch: not a CIFAR-10 batch"),
        (lambda folder: evil(folder / "data_batch_1"), "posix.system, which no image batch needs"),
        (lambda folder: (folder / "test_batch").write_bytes(pickle.dumps({b"data": 1})), "not a CIFAR-10 batch"),
        (
            lambda folder: copy(folder / "data_batch_2", folder / "test_batch"),
            "holds the images of data_batch_2",
        ),
        (lambda folder: of_one_class(folder / "test_batch"), "190 of the 200 images of test_batch are of one class"),
    ],
)
def test_damaged_images_are_refused_by_name(tmp_path, layout, change, message):
    done = train("--dataset", damaged(layout, tmp_path / "images", change))
    assert done.returncode == 3
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not Path("/tmp/gpulab-was-here").exists()


def test_a_cut_archive_is_refused(tmp_path, layout):
    archive = tmp_path / "images.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(layout, arcname=layout.name)
    archive.write_bytes(archive.read_bytes()[:50000])
    done = train("--dataset", archive)
    assert done.returncode == 3
    assert "not a whole tar archive" in done.stderr


def test_images_other_than_the_expected_ones_are_refused(layout):
    done = train("--dataset", layout, "--sha256", "0" * 64)
    assert done.returncode == 3
    assert "was expected" in done.stderr


def test_missing_images_are_refused(tmp_path):
    done = train("--dataset", tmp_path / "nothing")
    assert done.returncode == 3
    assert "No such file" in done.stderr


def test_a_gpu_that_is_not_seen_stops_the_training_before_it_starts():
    done = train("--dataset", "generated", "--generated-train", 100, "--gpus", 1)
    assert done.returncode == 4
    assert "sees 0 GPUs, 1 were expected" in done.stderr


def test_a_full_disk_is_named(tmp_path):
    small = ("--dataset", "generated", "--generated-train", 100, "--generated-test", 100, "--epochs", 1)
    done = train(*small, "--progress", "/dev/full")
    assert done.returncode == 7
    assert "No space left on device" in done.stderr


POISONED = """
import sys
sys.path.insert(0, sys.argv[1])
import cifar10_train, keras
sound, layer, precision = cifar10_train.network, int(sys.argv[2]), sys.argv[3]
def poisoned(*given, **named):
    layers = sound(*given, **named)
    layers[layer].bias_initializer = keras.initializers.Constant(float("nan"))
    return layers
cifar10_train.network = poisoned
cifar10_train.cpu_has_bfloat16 = lambda: precision == "mixed_bfloat16"
sizes = ["--generated-train", "1000", "--generated-test", "100", "--epochs", "3"]
sys.argv = ["cifar10_train.py", "--dataset", "generated", "--recipe", "fast", *sizes]
sys.exit(cifar10_train.main())
"""


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
@pytest.mark.parametrize(("layer", "message"), [(-1, "the loss is not a number"), (-2, "weights are not numbers")])
def test_what_is_no_number_any_more_ends_the_training(precision, layer, message):
    """In the logits the loss shows it. Before a ReLU, which makes a zero of it on some processors, the weights do."""
    done = subprocess.run(
        [PYTHON, "-c", POISONED, str(TRAINER.parent), str(layer), precision],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 5, done.stderr
    assert precision in done.stdout
    assert message in done.stderr


def test_too_little_memory_is_refused_before_it_runs_out():
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import cifar10_train as t; "
        "t.available_memory = lambda: 2**28; "
        "sys.argv = ['t', '--dataset', 'generated', '--generated-train', '100']; sys.exit(t.main())"
    )
    done = subprocess.run(
        [PYTHON, "-c", code, str(TRAINER.parent)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 6
    assert "needs about" in done.stderr


STEP = """
import sys
sys.path.insert(0, sys.argv[1])
import cifar10_train, keras, numpy, tensorflow
keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
gather = cifar10_train.gather_layer(keras, numpy.zeros((1000, 4), "float16"))
gather.build(())
step = tensorflow.function(gather).get_concrete_function(tensorflow.TensorSpec((8,), "int32"))
made = [output.op.type for op in step.graph.get_operations() for output in op.outputs if 1000 in output.shape]
sys.exit(f"of the whole table: {made}" if set(made) - {"ReadVariableOp"} else 0)
"""


def test_a_step_touches_the_rows_it_gathers_and_not_the_whole_table():
    """The table is most of a gigabyte: a cast of all of it makes each step a hundred times slower."""
    done = subprocess.run(
        [PYTHON, "-c", STEP, str(TRAINER.parent)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr


# Two devices made of the processor stand for two GPUs. `spoil` is what is wrong with the second.
TWO_DEVICES = """
import sys
sys.path.insert(0, sys.argv[1])
import cifar10_train
from dataclasses import replace
look, fill_with, spoil = cifar10_train.look_at_hardware, cifar10_train.fill_with, sys.argv[2]
def two(tensorflow, **options):
    cpu = tensorflow.config.list_physical_devices("CPU")[0]
    tensorflow.config.set_logical_device_configuration(cpu, [tensorflow.config.LogicalDeviceConfiguration()] * 2)
    found = look(tensorflow, **{**options, "gpus": 0})
    def stand_in(number):
        return {"kind": "CPU", "name": f"CPU:{number}", "model": "stand-in", "pci_address": f"0000:0{number}:00.0"}
    return replace(found, devices=[stand_in(0), stand_in(1)])
def filled(tensorflow, *given, device, batch, **options):
    if spoil == "memory" and batch > 256:
        raise tensorflow.errors.ResourceExhaustedError(None, None, "out of memory")
    if spoil == "second" and device == "CPU:1":
        raise tensorflow.errors.InternalError(None, None, "CUDA_ERROR_ILLEGAL_ADDRESS")
    return fill_with(tensorflow, *given, device=device, batch=batch, **options)
cifar10_train.look_at_hardware, cifar10_train.fill_with = two, filled
sizes = ["--generated-train", "1000", "--generated-test", "100", "--epochs", "2", "--load-seconds", "0.1"]
sys.argv = ["cifar10_train.py", "--dataset", "generated", *sizes, "--load-batch", "1024", *sys.argv[3:]]
sys.exit(cifar10_train.main())
"""


def train_on_two(spoil: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [PYTHON, "-c", TWO_DEVICES, str(TRAINER.parent), spoil, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.parametrize("recipe", ["guide", "fast"])
def test_several_devices_train_one_by_one_and_then_together(tmp_path, recipe):
    result, progress = tmp_path / "result.json", tmp_path / "progress.jsonl"
    done = train_on_two("nothing", "--recipe", recipe, "--result", result, "--progress", progress)
    assert done.returncode == 0, done.stderr
    found = json.loads(result.read_text())
    assert found["trained_on"] == ["CPU:0", "CPU:1"]
    assert [(row["name"], row["pci_address"]) for row in found["alone"]] == [
        ("CPU:0", "0000:00:00.0"),
        ("CPU:1", "0000:01:00.0"),
    ]
    assert all(row["loss"][1] < row["loss"][0] and row["images_per_s"] > 0 for row in found["alone"])
    marks = [event["mark"] for line in progress.read_text().splitlines() if (event := json.loads(line)).get("mark")]
    assert marks == ["load CPU:0", "load CPU:0", "load CPU:1", "load CPU:1", "steps", "steps"]


def test_a_device_that_fails_alone_is_named_with_its_place():
    done = train_on_two("second")
    assert done.returncode == 8
    assert "CPU:1 (stand-in, 0000:01:00.0): CUDA_ERROR_ILLEGAL_ADDRESS" in done.stderr
    assert "CPU:0" not in done.stderr.splitlines()[-1]


def test_a_load_that_does_not_fit_is_halved_until_it_does(tmp_path):
    result = tmp_path / "result.json"
    done = train_on_two("memory", "--result", result)
    assert done.returncode == 0, done.stderr
    assert [row["batch_size"] for row in json.loads(result.read_text())["alone"]] == [256, 256]


SHUFFLED = """
import sys
sys.path.insert(0, sys.argv[1])
import cifar10_data, cifar10_train, numpy
from dataclasses import replace
draw = cifar10_data.draw
def shuffled(**options):
    data = draw(**options)
    return replace(data, train_labels=numpy.random.permutation(data.train_labels))
cifar10_data.draw = shuffled
sizes = ["--generated-train", "3000", "--epochs", "3"]
sys.argv = ["cifar10_train.py", "--dataset", "generated", *sizes, "--result", sys.argv[2]]
sys.exit(cifar10_train.main())
"""


def test_shuffled_labels_are_not_learned(tmp_path):
    """The floor tells a broken stack from a sound one: without a link between image and label nothing is learned."""
    result = tmp_path / "result.json"
    subprocess.run([PYTHON, "-c", SHUFFLED, str(TRAINER.parent), str(result)], check=True, timeout=300)
    assert json.loads(result.read_text())["accuracy"] < 0.2


@pytest.mark.parametrize("arguments", [[], ["--dataset", "generated", "--epochs", "0"], ["--recipe", "slow"]])
def test_a_wrong_command_line_is_refused(arguments):
    assert train(*arguments).returncode == 2
