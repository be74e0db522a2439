"""How long a call takes is said, and progress moves."""

from __future__ import annotations

import io
import logging
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

import arpes_ml_plugins
from arpes_ml_plugins import simulate_scene
from arpes_ml_plugins.denoising.counts_denoiser import ADAPTED
from arpes_ml_plugins.errors import ParameterError
from arpes_ml_plugins.labelled import apply, progress
from arpes_ml_plugins.labelled.progress import Stage, reporter


class Clock:
    """Time that passes by as much as each step takes."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        monkeypatch.setattr(progress.time, "perf_counter", lambda: self.now)

    def work(self, report, steps, each):
        for _ in range(steps):
            self.now += each
            report(1, None)


@pytest.mark.parametrize(
    ("steps", "each", "words"),
    [(100, 0.5, "about 50 s (3 of 100"), (60, 4.0, "about 4 min"), (4000, 3.0, "about 3.3 h")],
)
@pytest.mark.parametrize("option", [False, lambda told: None])
def test_long_work_is_announced_once(steps, each, words, option, caplog, monkeypatch):
    clock = Clock(monkeypatch)
    with caplog.at_level(logging.INFO), reporter(option, "denoise", steps) as report:
        clock.work(report, 3, each)
        assert words in caplog.text
        clock.work(report, steps - 3, each)
    assert len(caplog.records) == 1


def test_a_slow_first_step_does_not_mislead(caplog, monkeypatch):
    """What is loaded by the first step is loaded once."""
    clock = Clock(monkeypatch)
    with caplog.at_level(logging.INFO), reporter(False, "denoise", 101) as report:
        clock.work(report, 1, 5.0)
        clock.work(report, 3, 0.5)
    assert "about 55 s (3 of 101" in caplog.text


def test_short_work_is_not(caplog, monkeypatch):
    clock = Clock(monkeypatch)
    with caplog.at_level(logging.INFO), reporter(False, "denoise", 10) as report:
        clock.work(report, 10, 0.3)
    assert not caplog.records


def test_a_bar_is_shown_where_somebody_looks(capsys, monkeypatch):
    clock = Clock(monkeypatch)
    monkeypatch.setattr(progress, "somebody_looks", lambda: True)
    with reporter("auto", "denoise", 10) as report:
        clock.work(report, 1, 0.2)
        assert not capsys.readouterr().err
        clock.work(report, 9, 1.5)
    assert "denoise: 100%" in capsys.readouterr().err


@pytest.mark.parametrize(("looks", "each"), [(False, 1.5), (True, 0.3)])
def test_no_bar_for_short_work_or_for_nobody(looks, each, capsys, monkeypatch):
    clock = Clock(monkeypatch)
    monkeypatch.setattr(progress, "somebody_looks", lambda: looks)
    with reporter("auto", "denoise", 10) as report:
        clock.work(report or (lambda steps, loss: None), 10, each)
    assert not capsys.readouterr().err


def test_who_looks(monkeypatch):
    terminal = io.StringIO()
    monkeypatch.setattr(progress.sys, "stderr", terminal)
    assert not progress.somebody_looks()
    terminal.isatty = lambda: True
    assert progress.somebody_looks()
    with ThreadPoolExecutor(1) as pool:
        assert not pool.submit(progress.somebody_looks).result()


@pytest.mark.parametrize("method", ["denoise", "remove_mesh", "estimate_noise"])
def test_no_stage_shows_a_bar_if_none_is_wanted(method, monkeypatch):
    seen = []

    def recorded(option, *rest):
        seen.append(option)
        return reporter(option, *rest)

    monkeypatch.setattr(apply, "reporter", recorded)
    series = simulate_scene((24, 24), slices=6, counts=20, rng=0).spectrum
    options = {"adapt": False} if method == "denoise" else {}
    getattr(arpes_ml_plugins, method)(series, rng=0, progress=False, **options)
    assert seen
    assert all(option in (False, Stage(None)) for option in seen)  # a stage reports to nobody


def test_other_words_are_refused():
    with pytest.raises(ParameterError, match="got 'no'"), reporter("no", "denoise", 10):
        pass


def test_nobody_listens(caplog):
    with caplog.at_level(logging.WARNING), reporter(False, "denoise", 10) as report:
        assert report is None


@pytest.mark.parametrize(("adapt", "slices"), [(False, 26), (True, 4)])
def test_a_series_moves_image_by_image(adapt, slices):
    series = simulate_scene((16, 16), slices=slices, counts=20, rng=0).spectrum
    told = []
    arpes_ml_plugins.denoise_pretrained(
        series, adapt=adapt, gain=1, mesh=None, rng=0, progress=told.append
    )
    done = [one.done for one in told]
    assert done[-1] == told[-1].total
    assert done == sorted(done)
    steps = [after - before for before, after in pairwise(done)]
    largest = ADAPTED.passes(slices, 16 * 16) if adapt else 1
    assert max(steps[:-1]) <= largest
    assert len(done) > 2 * slices  # two mirror images of each, and what chooses
