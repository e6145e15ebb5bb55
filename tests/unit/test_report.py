# Copyright: (c) 2026, The gpulab.workstation authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the report says of a run, from sample records."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.gpulab.workstation.plugins.plugin_utils.report import report_data
from ansible_collections.gpulab.workstation.plugins.plugin_utils.report_machine import actions, not_checked, status
from ansible_collections.gpulab.workstation.plugins.plugin_utils.report_series import thinned
from ansible_collections.gpulab.workstation.plugins.plugin_utils.report_text import WIDTH, report_table
from browser.samples import fleet, sample

DRIFTED = [{"component": "tensorflow", "drifted": True, "reasons": ["not installed"]}]
PLAN = {"summary": "Debian 12", "refusal": None, "stack": {}}


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (sample("cpu"), "proved"),
        (sample("gpu"), "proved"),
        (sample("planned"), "as planned"),
        (sample("failed_proof"), "failed"),
        (sample("failed_task"), "failed"),
        (sample("refused"), "refused"),
        (sample("unreachable"), "unreachable"),
        ({"host": "a"}, "not checked"),
        ({"host": "a", "plan": PLAN}, "as planned"),
        ({"host": "a", "plan": PLAN, "drift": DRIFTED}, "drifted"),
        ({"host": "a", "plan": PLAN, "drift": DRIFTED, "converged": ["tensorflow"]}, "converged"),
        ({"host": "a", "plan": PLAN, "drift": DRIFTED, "proof": {"passed": True}}, "drifted"),
        ({"host": "a", "plan": PLAN, "proof": {"passed": False}}, "failed"),
        (
            {"host": "a", "plan": {"refusal": {"message": "m"}}, "failed": {"task": "t", "message": "m"}},
            "refused",
        ),
        ({"host": "a", "unreachable": True, "failed": {"task": "t", "message": "m"}}, "unreachable"),
    ],
)
def test_a_record_comes_down_to_one_status(record: dict[str, Any], expected: str) -> None:
    assert status(record) == expected


def test_an_old_proof_does_not_make_a_machine_proved_by_this_run() -> None:
    assert status({**sample("gpu"), "proved_now": False, "converged": []}) == "drifted"


def test_a_failed_check_is_told_instead_of_the_task_that_it_failed() -> None:
    wanted = actions(sample("failed_proof"))
    assert [item["level"] for item in wanted] == ["act", "act", "act", "look"]
    assert wanted[0]["where"] == "check devices"
    assert not any("The proof did not pass" in item["what"] for item in wanted)


def test_a_refusal_comes_with_what_would_work() -> None:
    (wanted,) = actions(sample("refused"))
    assert wanted["what"].startswith("cuDNN 9.28 is pinned")
    assert wanted["remedy"] == "What would work: keep TensorFlow 2.20: drop the pin on cuDNN."


def test_a_refusal_is_told_once() -> None:
    record = sample("refused")
    record["failed"] = {"task": "Assert that something fits", "message": f"{record['host']}: cuDNN 9.28 is pinned."}
    assert actions(record) == actions(sample("refused"))


def test_what_failed_now_leads_and_an_earlier_proof_that_failed_follows() -> None:
    record = {**sample("failed_proof"), "proved_now": False}
    wanted = actions(record)
    assert wanted[0]["what"] == "The proof did not pass: devices, throughput."
    assert wanted[0]["level"] == "act"
    assert [item["level"] for item in wanted[1:3]] == ["look", "look"]
    assert wanted[1]["where"] == "check devices of the proof of 2026-11-20"


def test_a_proof_that_waits_for_a_restart_is_not_checked_and_says_why() -> None:
    record = {**sample("gpu"), "waits": ["The libraries are of another version."], "proof": None, "proved_now": False}
    record["gpu"] = {**record["gpu"], "reboot_pending": True, "findings": []}
    assert status(record) == "converged"
    assert not_checked(record) == [{"name": "proof", "why": "Restart pending. The libraries are of another version."}]
    (wanted,) = actions(record)
    assert wanted["level"] == "look"
    assert wanted["remedy"].endswith("Then run again to prove it.")


def test_a_machine_that_did_not_answer_is_told_what_to_do() -> None:
    (wanted,) = actions(sample("unreachable"))
    assert wanted["what"] == "Failed to connect to the host via ssh: Connection timed out."
    assert "run again" in wanted["remedy"]


def test_a_finding_of_a_machine_that_works_is_only_worth_a_look() -> None:
    record = sample("gpu")
    record["gpu"]["findings"] = [{"severity": "error", "message": "Odd", "remedy": "Look"}]
    assert [item["level"] for item in actions(record)] == ["look"]


def test_what_was_not_checked_is_never_left_out() -> None:
    assert [item["name"] for item in not_checked(sample("cpu"))] == [
        "gpu_training",
        "gpu_utilization",
        "expected_throughput",
    ]
    assert not_checked(sample("failed_task")) == [{"name": "proof", "why": "The run ended before the proof."}]
    assert not_checked(sample("unreachable")) == [{"name": "proof", "why": "The machine did not answer."}]


@pytest.mark.parametrize(
    ("names", "level", "text"),
    [
        (["cpu"], "fine", "desk-01 is proved."),
        (["planned"], "fine", "lab-ada-04 is as planned; nothing had to change."),
        (["refused"], "act", "lab-volta-01: no stack fits what was asked for."),
        (["cpu", "planned"], "fine", "2 machines, none needs a person; 1 proved by this run."),
        (["cpu", "unreachable"], "act", "1 of 2 machines needs a person."),
        ([], "look", "No machine took part in this run."),
    ],
)
def test_the_verdict_is_one_sentence(names: list[str], level: str, text: str) -> None:
    assert report_data([sample(name) for name in names])["verdict"] == {"level": level, "text": text}


def test_machines_come_worst_first_and_numbered_names_in_their_order() -> None:
    machines = report_data(fleet(40))["machines"]
    assert [machine["status"] for machine in machines[:5]] == ["failed"] * 3 + ["unreachable", "refused"]
    planned = [machine["host"] for machine in machines if machine["status"] == "as planned"]
    assert planned[:3] == ["ada-2", "ada-3", "ada-5"]


def test_the_same_trouble_is_told_once_with_its_machines() -> None:
    records = [{**sample("unreachable"), "host": f"pc-{number}"} for number in range(30)]
    (group,) = report_data(records)["actions"]
    assert len(group["hosts"]) == 30


def test_equal_plans_are_one_and_every_machine_knows_its_own() -> None:
    page = report_data(fleet(400))
    assert len(page["plans"]) < 15
    for machine in page["machines"]:
        if "plan" in machine:
            assert page["plans"][machine["plan"]]["line"] == machine["stack"]


def test_a_machine_slower_than_its_siblings_stands_out() -> None:
    page = report_data(fleet(40))
    shares = {machine["host"]: (machine["siblings"] or {}).get("share", 1) for machine in page["machines"]}
    assert [host for host, share in shares.items() if share < 0.85] == ["hopper-2"]
    assert [group["hosts"] for group in page["actions"] if "median" in group["items"][0]["what"]] == [["hopper-2"]]


def test_charts_keep_the_mean_and_few_samples() -> None:
    assert thinned([0, 10, 20, 30, 40, 50], 3) == [5, 25, 45]
    assert thinned([1, None, float("nan"), None], 2) == [1, None]
    assert thinned([], 10) == []
    page = json.dumps(report_data(fleet(400)), allow_nan=False)
    assert len(page) < 3_000_000


@pytest.mark.parametrize("record", [{}, {"host": None, "gpu": {}, "proof": {}}, {"gpu": {"gpus": [{}]}}])
def test_a_record_with_nothing_in_it_is_shown_all_the_same(record: dict[str, Any]) -> None:
    assert report_data([record])["machines"][0]["host"] == "a machine without a name"
    assert "was not checked" in report_table([record])


def test_a_machine_of_which_nothing_is_known_is_its_name() -> None:
    assert report_table([{"host": "desk-01"}]).splitlines()[0] == "machine       desk-01"


def test_one_machine_is_told_in_a_small_table() -> None:
    assert report_table([sample("cpu")]).splitlines() == [
        "machine       desk-01: Debian GNU/Linux 12 (bookworm), x86_64, 2 cores, 24 GiB, no NVIDIA GPU",
        "result        desk-01 is proved.",
        "stack         TensorFlow 2.21.0 CPU · Python 3.11",
        "changed       os_prep, tensorflow, cifar10",
        "accuracy      0.9130 after 10 epochs on generated (guide recipe)",
        "throughput    1,873 images/s",
        "checks        4 passed, 0 failed, 3 not checked",
        "not checked   gpu_training, gpu_utilization: There is no NVIDIA GPU in this machine.",
        "              expected_throughput: No accepted proof of this processor is in the inventory yet.",
    ]


@pytest.mark.parametrize("size", [6, 40, 400])
def test_a_fleet_is_told_in_rows_that_fit(size: int) -> None:
    lines = report_table(fleet(size)).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert len(lines) < 120
    assert any(line.startswith("result        5 of") for line in lines)


def test_a_table_holds_nothing_that_a_terminal_obeys() -> None:
    table = report_table([sample("hostile")]) + report_table(fleet(6))
    assert not any(character in table for character in "\x1b\x07\r\u202e")


def test_what_differs_is_told_once_with_its_machines_and_as_many_as_there_are() -> None:
    drifted = {**sample("planned"), "drift": DRIFTED, "converged": []}
    page = report_data([{**drifted, "host": "a"}, {**drifted, "host": "b"}, sample("cpu")])
    assert page["differs"] == [{"name": "tensorflow", "why": "not installed", "hosts": ["a", "b"]}]
    assert page["verdict"]["text"] == "2 of 3 machines are not as planned; nothing was changed there."
    assert "differs       [a, b] tensorflow: not installed" in report_table(
        [{**drifted, "host": name} for name in "ab"]
    )
    assert report_data([sample("gpu")])["differs"] == [], "what was converged does not differ any more"
