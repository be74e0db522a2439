"""Ctrl-C leaves no half of a file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

SLEEPER = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # jobs in the background ignore it
import arpes_ml_plugins
from arpes_ml_plugins.cli import main

def denoise_sleep(data, *, device="auto", rng=None, progress=False, dims=None):
    "Sleep."
    print("asleep", flush=True)
    time.sleep(60)

class Sleeper:
    @arpes_ml_plugins.hookimpl
    def register_methods(self, registry):
        registry.add(denoise_sleep, roles=("energy",))

arpes_ml_plugins.register(Sleeper())
sys.exit(main(["run", "denoise_sleep", "in.nc", "out.nc"]))
"""


@pytest.mark.skipif(os.name == "nt", reason="signals of Unix")
def test_interrupted(saved, environment):
    """Ctrl-C in the middle of the work: status 130, one line, and nothing in the folder."""
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEPER],
        cwd=saved.parent,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        assert process.stdout.readline() == b"asleep\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == b"arpes-ml: interrupted; no file was written\n"
    assert [path.name for path in saved.parent.iterdir()] == ["in.nc"]


def test_interrupted_between_files(run, files, register):
    calls = []

    def denoise_slow(data, *, device="auto", rng=None, progress=False, dims=None):
        """Take long."""
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return data.astype(float)

    register("slow", denoise_slow)
    status, _, err = run("run", "denoise_slow", "data", "--out", "clean")
    assert status == 130
    assert "1 of 4 files were written" in err


def test_interrupted_demo(run, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr("arpes_ml_plugins.demo.run_demo", interrupt)
    status, _, err = run("demo")
    assert status == 130
    assert "no file was written" in err
