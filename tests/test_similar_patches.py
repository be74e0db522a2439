"""The filter of similar patches, and how its image is mixed with that of the network."""

import numpy as np
import pytest
import torch
import xarray as xr

from arpes_ml_plugins.denoising.mixture import best_shares
from arpes_ml_plugins.denoising.noise_model import NoiseModel
from arpes_ml_plugins.denoising.similar_patches import filter_similar

WHITE = NoiseModel(1.0)
SIZE = 72


def sharp_line(counts):
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    line = torch.exp(-(((columns - 20 - 0.35 * rows) / 0.9) ** 2) / 2) + 0.02
    return (counts * line / line.mean())[None]


def blurred(images, width=5):
    return torch.nn.functional.avg_pool2d(images, width, 1, width // 2, count_include_pad=False)


def error(image, truth):
    return float((image - truth).square().mean())


def generator():
    return torch.Generator().manual_seed(3)


def everywhere(images):
    return torch.ones_like(images, dtype=torch.bool)


class TestFilter:
    @pytest.mark.parametrize("counts", [3, 100])
    def test_a_line_of_one_pixel_is_sharper_than_in_the_guide(self, counts):
        truth = sharp_line(counts)
        data, guide = torch.poisson(truth, generator=generator()), blurred(truth, 3)
        sharp = filter_similar(data, guide, everywhere(data), WHITE)
        assert error(sharp, truth) < min(error(guide, truth), error(data, truth)) / 2

    def test_what_the_guide_holds_exactly_is_kept(self):
        truth = sharp_line(50.0)
        kept = filter_similar(truth, truth, everywhere(truth), WHITE)
        assert torch.allclose(kept, truth, rtol=0.05, atol=1.0)

    def test_a_flat_image_stays_flat(self):
        flat = torch.full((1, SIZE, SIZE), 20.0)
        data = torch.poisson(flat, generator=generator())
        clean = filter_similar(data, blurred(data, 9), everywhere(data), WHITE)
        assert clean.std() < 20**0.5 / 8
        assert abs(float(clean.mean()) - 20) < 0.2

    def test_pixels_that_are_not_valid_take_no_part(self):
        truth = sharp_line(10.0)
        data = torch.poisson(truth, generator=generator())
        valid = everywhere(data)
        valid[0, 30:34, 30:34] = False
        spoilt = torch.where(valid, data, torch.tensor(1e6))
        results = [filter_similar(x, blurred(truth, 3), valid, WHITE) for x in (data, spoilt)]
        assert torch.equal(*results)

    @pytest.mark.parametrize("shape", [(16, 16), (17, 90), (61, 19)])
    def test_any_shape_from_16_pixels_on(self, shape):
        truth = torch.full((2, *shape), 5.0)
        data = torch.poisson(truth, generator=generator())
        clean = filter_similar(data, truth, everywhere(data), WHITE)
        assert clean.shape == data.shape
        assert torch.isfinite(clean).all()

    def test_the_spectrum_of_correlated_noise_is_used(self):
        noise = NoiseModel(1.0, row_correlation=0.5, column_correlation=0.5)
        truth = blurred(sharp_line(100.0), 3)
        data, guide = noise.measured(truth, generator()), blurred(truth, 3)
        right, white = (
            error(filter_similar(data, guide, everywhere(data), model), truth)
            for model in (noise, WHITE)
        )
        assert right < 0.9 * white


class TestShares:
    def measured_shares(self, truth, first, second, valid=None):
        random = generator()
        data = torch.poisson(truth, generator=random)
        valid = everywhere(data) if valid is None else valid
        return best_shares(
            first, second, data, first(data), valid, lambda x: torch.poisson(x, generator=random)
        )

    def test_a_worse_denoiser_gets_nothing(self):
        flat = torch.full((1, SIZE, SIZE), 20.0)
        assert self.measured_shares(flat, lambda x: blurred(x, 15), lambda x, _: x) is None

    def test_the_better_denoiser_gets_its_region(self):
        truth = sharp_line(50.0).tile(1, 1, 2)
        truth[:, :, SIZE:] = truth.amin()  # flat, where the blur is better
        shares = self.measured_shares(truth, lambda x: blurred(x, 7), lambda x, _: blurred(x, 1))
        line = truth > truth.mean()
        assert shares[line].mean() > 0.6
        assert shares[0, :, -SIZE // 2 :].mean() < 0.1

    def test_pixels_without_values_do_not_count(self):
        truth = sharp_line(50.0).tile(1, 1, 2)
        truth[:, :, SIZE:] = truth.amin()
        denoisers = (lambda x: blurred(x, 7)), (lambda x, _: blurred(x, 1))
        valid = everywhere(truth)
        assert self.measured_shares(truth, *denoisers, valid) is not None
        valid[:, :, : SIZE + 5] = False  # the flat half alone
        assert self.measured_shares(truth, *denoisers, valid) is None

    def test_darkness_has_no_better_denoiser(self):
        assert self.measured_shares(torch.zeros(1, 32, 32), blurred, lambda x, _: x) is None


@pytest.mark.slow
def test_sharp_lines_are_denoised_better_with_training():
    truth = sharp_line(20.0)[0].numpy().astype(float)
    counts = np.random.default_rng(0).poisson(truth)
    cut = xr.DataArray(counts, dims=("phi", "eV"))
    fast, whole = (
        cut.S.denoise_pretrained(adapt=adapt, gain=1, rng=0).values for adapt in (False, True)
    )
    assert ((whole - truth) ** 2).mean() < 0.7 * ((fast - truth) ** 2).mean()
