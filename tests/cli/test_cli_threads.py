"""The program leaves CPUs to others; a user's process is left alone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from arpes_ml_plugins import cli
from arpes_ml_plugins.cli import threads


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with CPUs, some of which this process may use, and running threads."""

    def make(cpus, allowed, running):
        file = tmp_path / "loadavg"
        file.write_text(f"3.50 2.00 1.00 {running}/512 12345\n")
        monkeypatch.setattr(threads, "LOAD", file)
        monkeypatch.setattr(os, "cpu_count", lambda: cpus)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(allowed)), raising=False)

    return make


@pytest.mark.parametrize(
    ("cpus", "allowed", "running", "free"),
    [
        (8, 8, 1, 8),  # this process alone
        (8, 8, 4, 5),
        (8, 8, 9, 1),
        (2, 2, 200, 1),
        (1, 1, 1, 1),
        (64, 4, 1, 4),
        (64, 4, 41, 4),  # the others have 60 CPUs of their own
        (64, 4, 63, 2),
        (64, 4, 400, 1),
    ],
)
def test_busy_cpus_are_left_to_others(machine, cpus, allowed, running, free):
    machine(cpus, allowed, running)
    assert threads.free_cpus() == free


@pytest.mark.parametrize("content", [None, "", "nothing of use", "0 0 0 x/y 1"])
def test_all_are_free_where_the_system_does_not_tell(machine, content):
    machine(6, 3, 1)
    if content is None:
        threads.LOAD.unlink()
    else:
        threads.LOAD.write_text(content)
    assert threads.free_cpus() == 3


def test_what_the_user_has_set_stays(machine):
    machine(8, 8, 3)
    environment = {"OMP_NUM_THREADS": "5", "OMP_WAIT_POLICY": "ACTIVE"}
    threads.share_the_machine(environment)
    assert environment == {"OMP_NUM_THREADS": "5", "OMP_WAIT_POLICY": "ACTIVE"}
    environment = {}
    threads.share_the_machine(environment)
    assert environment == {"OMP_NUM_THREADS": "6", "OMP_WAIT_POLICY": "PASSIVE"}


def test_a_process_that_calls_the_program_is_left_alone(monkeypatch, capsys):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = dict(os.environ)
    assert cli.main(["methods"]) == 0
    assert dict(os.environ) == before


def test_torch_of_the_program_heeds_it(tmp_path):
    """The variables are set before OpenMP is loaded, which reads them once."""
    script = (
        "import os, sys; from arpes_ml_plugins import cli;"
        "from arpes_ml_plugins.cli import threads; threads.free_cpus = lambda: 1;"
        "sys.argv[1:] = ['methods']; status = cli.main(); import torch;"
        "print(status, torch.get_num_threads(), os.environ['OMP_WAIT_POLICY'])"
    )
    clean = {k: v for k, v in os.environ.items() if not k.startswith("OMP_")}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=clean, check=True
    )
    assert done.stdout.splitlines()[-1] == "0 1 PASSIVE"
