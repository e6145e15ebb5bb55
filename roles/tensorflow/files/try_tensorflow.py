"""Import TensorFlow, multiply matrices on every device, and say what is here as one line of JSON."""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy
import tensorflow as tf

for device in tf.config.list_logical_devices():
    with tf.device(device.name):
        product = tf.linalg.matmul(tf.eye(64), tf.fill((64, 64), 2.0))
    if not numpy.array_equal(product.numpy(), numpy.full((64, 64), 2.0)):
        sys.exit(f"{device.name} multiplies wrongly")

print(
    json.dumps(
        {
            "tensorflow": tf.__version__,
            "keras": keras.__version__,
            "numpy": numpy.__version__,
            "python": sys.version.split()[0],
            "cuda": tf.test.is_built_with_cuda(),
            "devices": [device.device_type for device in tf.config.list_physical_devices()],
        }
    )
)
