"""Import TensorFlow, compute on every device, and say what is here as one line of JSON.

On each device: a matrix product, a convolution (on a GPU that is cuDNN's work), and a product that XLA compiled.
"""

import json
import os
import re
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# The memory of a GPU is left to those who compute there.
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")

import keras
import numpy
import tensorflow as tf


def product():
    return tf.linalg.matmul(tf.eye(64), tf.fill((64, 64), 2.0))


def convolution():
    return tf.nn.conv2d(tf.ones((1, 16, 16, 4)), tf.ones((3, 3, 4, 8)), strides=1, padding="VALID")


def try_device(name):
    compiled = tf.function(product, jit_compile=True, autograph=False)
    for kind, work, value in (("product", product, 2), ("convolution", convolution, 36), ("XLA", compiled, 2)):
        with tf.device(name):
            try:
                result = work()
            except tf.errors.OpError as error:
                sys.exit(f"{name} fails ({kind}): {str(error).splitlines()[0]}")
        if result.device != name:
            sys.exit(f"{name} leaves the work to {result.device} ({kind})")
        if not numpy.array_equal(result.numpy(), numpy.full(result.shape, value)):
            sys.exit(f"{name} computes wrongly ({kind})")


def gpu_addresses():
    """Where the GPUs are on the bus, which TensorFlow tells only in a description for people."""
    from tensorflow.python.client import device_lib

    described = " ".join(device.physical_device_desc for device in device_lib.list_local_devices())
    return sorted(address.lower() for address in re.findall(r"pci bus id: ([0-9a-fA-F:.]+)", described))


# Those alone: XLA may list devices of its own.
devices = [device for device in tf.config.list_logical_devices() if device.device_type in ("CPU", "GPU")]
for device in devices:
    try_device(tf.DeviceSpec.from_string(device.name).replace(job="localhost", replica=0, task=0).to_string())

print(
    json.dumps(
        {
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": numpy.__version__,
            "python": sys.version.split()[0],
            "cuda": tf.test.is_built_with_cuda(),
            "devices": [device.device_type for device in devices],
            "gpus": gpu_addresses() if any(device.device_type == "GPU" for device in devices) else [],
        }
    )
)
