"""What a user of the machine has after site.yml, seen with other eyes than the roles'."""

import json

import pytest

RECEIPTS = "/var/lib/gpulab/receipts"


def test_an_ordinary_user_trains_a_step_with_the_command_on_the_path(host):
    program = (
        "import keras, numpy; m = keras.Sequential([keras.layers.Dense(1)]); m.compile('sgd', 'mse'); "
        "print(m.fit(numpy.ones((8, 4)), numpy.ones(8), verbose=0).history['loss'][0] >= 0)"
    )
    nobody = "cd / && setpriv --reuid=65534 --regid=65534 --clear-groups env HOME=/tmp"
    result = host.run(f"{nobody} gpulab-python -c %s", program)
    assert result.rc == 0, result.stderr
    assert result.stdout.strip().endswith("True")


def test_the_environment_in_use_is_the_cpu_build_without_cuda_libraries(host):
    packages = host.check_output("/opt/gpulab/envs/tensorflow/bin/python -m pip list --format=freeze")
    assert "tensorflow_cpu==" in packages or "tensorflow-cpu==" in packages
    assert "nvidia" not in packages


def test_nothing_that_was_installed_can_be_written_by_others(host):
    places = "/opt/gpulab /usr/local /etc/security /var/lib/gpulab"
    writable = host.check_output(f"find {places} -perm /o+w ! -type l ! -type c | head")
    assert writable == ""


def test_the_proof_is_recorded_with_its_accuracy_and_what_was_not_checked(host):
    proof = json.loads(host.file(f"{RECEIPTS}/cifar10.json").content_string)["details"]
    assert proof["passed"] is True
    losses = [epoch["loss"] for epoch in proof["history"]]
    assert losses[-1] < losses[0] or len(losses) == 1
    statuses = {check["status"] for check in proof["checks"]}
    assert "failed" not in statuses
    assert "not_checked" in statuses, "a machine without a GPU cannot have had everything checked"


@pytest.mark.parametrize("user", ["nobody", "root"])
def test_limits_apply_to_a_new_session(host, user):
    assert host.check_output("su %s -s /bin/sh -c 'ulimit -n'", user) == "16384"


def test_no_unit_has_failed(host):
    assert host.check_output("systemctl --failed --no-legend --plain | wc -l") == "0"
