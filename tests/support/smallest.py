"""The smallest stack that has an environment and a proof in it, for tests and measurements that are not about these."""

from __future__ import annotations

from typing import Any

SMALLEST: dict[str, Any] = {
    "tensorflow_env_manager": "venv",
    "cifar10_dataset": "generated",
    "cifar10_generated_images": 500,
    "cifar10_epochs": 1,
    "cifar10_min_accuracy": 0.01,
    # Where an engine may not raise its own hard limit, no container can go above it.
    "os_prep_open_files": 16384,
}
