"""The two-stage denoiser: network, recipes, equivariance, and its published freezing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import xarray as xr

from arpes_ml_plugins.denoising.recipes import FIXED_INPUT, PUBLISHED, ROBUST
from arpes_ml_plugins.denoising.streams import USES, stream
from arpes_ml_plugins.denoising.two_stage import _optimizers, bfloat16_is_fast, fit
from arpes_ml_plugins.denoising.unet import SpectrumUNet, pad_to_stride
from arpes_ml_plugins.errors import ConvergenceWarning
from arpes_ml_plugins.testing.samples import sample_cut


def images_of(n=1, size=(32, 48), seed=0):
    rng = np.random.default_rng(seed)
    rows, columns = np.meshgrid(
        np.linspace(-1, 1, size[0]), np.linspace(-1, 1, size[1]), indexing="ij"
    )
    rate = 3 + 40 * np.exp(-(((rows - 0.4 * columns**2) / 0.2) ** 2))
    return torch.from_numpy(rng.poisson(rate, (n, *size)).astype(float)), torch.from_numpy(rate)


def quick(recipe, images, *, seeds=(0,), iterations=10, prior=True, **options):
    valid = options.pop("valid", torch.ones_like(images, dtype=torch.bool))
    return fit(
        images,
        valid,
        images if prior else None,
        replace(recipe, iterations=iterations),
        seeds=list(seeds),
        **options,
    )


def test_torch_that_does_not_tell_what_the_processor_can(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert not bfloat16_is_fast("cpu")


class TestNetwork:
    def test_has_the_layers_of_table_1(self):
        network = SpectrumUNet(seeds=[0])
        convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
        assert [c.out_channels for c in convolutions] == [128] * 4 + [128, 128, 64, 32, 1]
        assert [c.stride[0] for c in convolutions] == [2] * 4 + [1] * 5
        assert [c.kernel_size[0] for c in convolutions] == [3] * 8 + [1]
        assert sum(isinstance(m, torch.nn.BatchNorm2d) for m in network.modules()) == 8

    def test_keeps_the_size_and_ends_in_a_sigmoid(self):
        out = SpectrumUNet(seeds=[0])(torch.randn(1, 1, 48, 80))
        assert out.shape == (1, 1, 48, 80)
        assert 0 < out.min() < out.max() < 1

    def test_grouped_networks_are_independent(self):
        images = torch.randn(1, 3, 32, 32)
        together = SpectrumUNet(3, seeds=[5, 6, 7])(images)
        for index, seed in enumerate((5, 6, 7)):
            alone = SpectrumUNet(1, seeds=[seed])(images[:, index : index + 1])
            torch.testing.assert_close(alone[:, 0], together[:, index], atol=1e-5, rtol=0)

    @pytest.mark.parametrize("size", [(16, 16), (17, 31), (240, 240), (16, 100), (33, 48)])
    def test_padding_mirrors_and_keeps_the_image(self, size):
        image = torch.randn(2, *size)
        padded = pad_to_stride(image)
        assert torch.equal(padded[..., : size[0], : size[1]], image)
        assert all(side % 16 == 0 and side >= 32 for side in padded.shape[-2:])
        if padded.shape[-2] > size[0]:
            assert torch.equal(padded[:, size[0]], padded[:, size[0] - 2])

    def test_default_dtype_of_the_user_is_respected(self):
        torch.set_default_dtype(torch.float64)
        try:
            result = sample_cut().S.denoise_pcp_unet(iterations=2, rng=0, device="cpu")
        finally:
            torch.set_default_dtype(torch.float32)
        assert result.dtype == np.float32
        xr.testing.assert_equal(
            result, sample_cut().S.denoise_pcp_unet(iterations=2, rng=0, device="cpu")
        )


class TestFit:
    @pytest.mark.parametrize(
        ("recipe", "rate"), [(ROBUST, 1e-4), (PUBLISHED, 1e-8), (FIXED_INPUT, 1e-8)]
    )
    def test_batch_equals_single(self, recipe, rate):
        """By gradient descent: AdamW's first steps have the same size for every gradient, so that
        it amplifies rounding in another order of summation.
        """
        images, _ = images_of(3)
        gentle = replace(recipe, optimizer="sgd", sparse_optimizer="sgd", learning_rate=rate)
        together = quick(gentle, images, seeds=(3, 4, 5), iterations=5)
        for index in range(3):
            one = slice(index, index + 1)
            alone = quick(gentle, images[one], seeds=(3 + index,), iterations=5)
            other = quick(gentle, images[one], seeds=(6 + index,), iterations=5)
            torch.testing.assert_close(alone.loss, together.loss[one], rtol=1e-4, atol=0)
            error, change = (
                float((result.clean - together.clean[one]).abs().max()) for result in (alone, other)
            )
            assert error < 1e-3 * change

    @pytest.mark.parametrize("recipe", [ROBUST, PUBLISHED])
    def test_first_step_of_adamw_in_a_batch(self, recipe):
        images, _ = images_of(3)
        together = quick(recipe, images, seeds=(3, 4, 5), iterations=1)
        for index in range(3):
            alone = quick(recipe, images[index : index + 1], seeds=(3 + index,), iterations=1)
            torch.testing.assert_close(alone.loss[0], together.loss[index], rtol=1e-4, atol=0)
            difference = (alone.clean[0] - together.clean[index]).abs().mean()
            assert difference < 0.05 * images[index].std()

    def test_count_scale_equivariance(self):
        """Doubling the exposure's unit doubles the result: powers of two lose no bit."""
        images, _ = images_of()
        one, many = quick(ROBUST, images), quick(ROBUST, images * 2.0**20)
        torch.testing.assert_close(one.clean * 2.0**20, many.clean, rtol=1e-4, atol=0)

    def test_offset_equivariance_of_published(self):
        images, _ = images_of()
        one, moved = quick(PUBLISHED, images), quick(PUBLISHED, images + 1024.0)
        torch.testing.assert_close(one.clean + 1024.0, moved.clean, rtol=1e-5, atol=0)

    def test_masked_pixels_do_not_matter(self):
        images, _ = images_of()
        valid = torch.ones_like(images, dtype=torch.bool)
        valid[0, 5:9, 7:12] = False
        other = images.clone()
        other[~valid] = 17.0
        prior = torch.zeros_like(images)
        results = [
            fit(i, valid, prior + images.mean(), replace(ROBUST, iterations=8), seeds=[0]).clean
            for i in (images, other)
        ]
        torch.testing.assert_close(results[0], results[1])

    def test_loss_ends_at_half_the_gain(self):
        """Half the reduced chi-square, in the unit of the data."""
        gain = 25.0
        images, _ = images_of(size=(64, 64))
        loss = quick(ROBUST, gain * images, iterations=150).loss[0]
        assert loss[-1] < 0.3 * loss[0]
        assert 0.35 * gain < loss[-1] < 0.6 * gain

    def test_denoises(self):
        images, rate = images_of(size=(64, 64))
        clean = quick(ROBUST, images, iterations=200).clean[0]
        assert ((clean - rate) ** 2).mean() < 0.15 * ((images[0] - rate) ** 2).mean()

    def test_a_sparse_term_that_starts_at_zero_stays_there(self):
        """The gradient of eq. 3 with respect to g is 4 r g, so that g and h need a start."""
        images, _ = images_of()
        still = quick(replace(PUBLISHED, sparse_start=0.0), images, iterations=5).sparse
        assert (still == 0).all()
        moved = quick(PUBLISHED, images, iterations=5).sparse
        assert (moved != 0).float().mean() > 0.9

    def test_published_steps_are_those_of_equation_s32(self):
        """First step: both running means are the gradient, so it moves by its sign, and decays."""
        network = SpectrumUNet(seeds=[0])
        factors = [torch.full((1, 4, 4), 0.5, requires_grad=True) for _ in range(2)]
        optimizers = _optimizers(network, factors, PUBLISHED, noise_ratio=0.5)
        for rate, parameters, optimizer in zip(
            (0.02, 0.02 / 0.5), (list(network.parameters()), factors), optimizers, strict=True
        ):
            before = [parameter.detach().clone() for parameter in parameters]
            for parameter in parameters:
                parameter.grad = torch.full_like(parameter, -3.0)
            optimizer.step()
            for parameter, start in zip(parameters, before, strict=True):
                expected = start - rate * (-1 + 0.02 * start)
                torch.testing.assert_close(parameter.detach(), expected)

    def test_members_and_terms_draw_different_numbers(self):
        """Even seeds must not give g of one member the numbers of h of another."""
        draws = {
            (seed, member, use): torch.randn(4, generator=stream(seed, member, use)).tolist()
            for seed in range(8)
            for member in range(3)
            for use in USES
        }
        assert len({tuple(numbers) for numbers in draws.values()}) == len(draws)

    def test_members_of_an_ensemble_start_from_different_terms(self):
        images, _ = images_of(size=(16, 16))
        parts = [
            quick(replace(PUBLISHED, learning_rate=1e-12), images, iterations=1, member=member)
            for member in (0, 1)
        ]
        first, second = (part.sparse.flatten() for part in parts)
        assert abs(float(torch.corrcoef(torch.stack([first, second]))[0, 1])) < 0.3


@pytest.mark.slow
def test_the_published_setting_freezes(example_cut):
    """AdamW moves every g, h by about eta_s a step, so S takes the whole residual and all stops.

    On record as measured: after 150 iterations the loss has all but vanished, the sparse term
    holds the noise that the network should have rejected, and the image has barely improved.
    """
    from arpes_ml_plugins.scoring import psnr, thin_counts

    counts = example_cut["spectrum"].isel(phi=slice(72, 168), eV=slice(72, 168))
    thinned, rest = thin_counts(counts.values, 0.02, rng=0)
    noisy = counts.copy(data=thinned)
    parts = noisy.S.decompose_pcp_unet(recipe="published", iterations=150, rng=0)
    loss = parts.loss.values
    assert loss[-1] < 1e-3 * loss[0]
    scale = 0.02 / 0.98
    reference, variance = rest * scale, rest * scale**2
    robust = noisy.S.denoise_pcp_unet(iterations=200, networks=1, rng=0)
    best = psnr(robust, reference, variance)
    assert best > psnr(thinned, reference, variance) + 9
    # Where exactly it freezes depends on the last bits; that it stays far behind does not.
    assert psnr(parts.clean, reference, variance) < best - 2


class TestMethod:
    @pytest.mark.parametrize("shape", [(16, 16), (17, 40), (53, 16)])
    def test_any_size_from_16(self, shape, rng):
        data = xr.DataArray(rng.poisson(5.0, shape), dims=("phi", "eV"))
        clean = data.S.denoise_pcp_unet(iterations=2, rng=0)
        assert clean.shape == shape
        assert np.isfinite(clean).all()

    def test_too_small(self, rng):
        data = xr.DataArray(rng.poisson(5.0, (15, 40)), dims=("phi", "eV"))
        with pytest.raises(ValueError, match=r"at least 16 x 16.*phi: 15"):
            data.S.denoise_pcp_unet()

    @pytest.mark.parametrize(
        ("parameters", "words"),
        [
            ({"recipe": "magic"}, "'robust', 'published'"),
            ({"recipe": None}, "unknown recipe"),
            ({"iterations": 0}, "iterations"),
            ({"networks": 0}, "networks"),
            ({"noise_ratio": -0.5}, "noise_ratio"),
            ({"sparsity": "a"}, "sparsity"),
            ({"precision": "float16"}, "'auto', 'float32', 'bfloat16'"),
            ({"batch_size": 0}, "batch_size"),
        ],
    )
    def test_bad_parameters(self, cut, parameters, words):
        with pytest.raises(ValueError, match=words):
            cut.S.denoise_pcp_unet(**parameters)

    def test_parts_add_up(self, cut):
        for recipe in ("robust", "published"):
            parts = cut.S.decompose_pcp_unet(recipe=recipe, iterations=5, rng=0)
            total = parts.clean + parts.sparse + parts.residual
            xr.testing.assert_allclose(total, cut.astype("float32"), atol=1e-3)

    def test_decompose_and_denoise_agree(self, cut):
        clean = cut.S.denoise_pcp_unet(iterations=5, rng=0)
        parts = cut.S.decompose_pcp_unet(iterations=5, rng=0)
        assert (clean.values == parts.clean.values).all()
        assert parts.loss.sizes == {"iteration": 5}
        assert parts.iteration.values.tolist() == [1, 2, 3, 4, 5]

    @pytest.mark.slow
    def test_bfloat16_is_close(self):
        images, _ = images_of()
        data = xr.DataArray(images[0].numpy(), dims=("eV", "phi"))
        full, half = (
            data.S.denoise_pcp_unet(iterations=100, networks=1, rng=0, precision=precision)
            for precision in ("float32", "bfloat16")
        )
        assert float(abs(full - half).mean()) < 0.1 * float(data.std())

    def test_inside_no_grad_and_inference_mode(self, cut):
        expected = cut.S.denoise_pcp_unet(iterations=2, rng=0)
        with torch.inference_mode():
            inside = cut.S.denoise_pcp_unet(iterations=2, rng=0)
        with torch.no_grad():
            without = cut.S.denoise_pcp_unet(iterations=2, rng=0)
        assert (inside.values == expected.values).all()
        assert (without.values == expected.values).all()

    def test_interrupting_leaves_no_mess(self, cut):
        before = cut.copy(deep=True)

        def interrupt(progress):
            if progress.done > 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            cut.S.denoise_pcp_unet(iterations=50, progress=interrupt)
        assert cut.identical(before)

    @pytest.mark.parametrize("spoil", ["sentinel", "hot pixels", "pedestal", "negative pedestal"])
    def test_outliers_and_pedestals(self, spoil):
        images, rate = images_of(size=(48, 64))
        noisy, rate = images[0].numpy(), rate.numpy()
        values, offset = noisy.copy(), 0.0
        wild = np.zeros(noisy.shape, dtype=bool)
        if spoil == "sentinel":
            wild[5, 5] = True
            values[wild] = -9999
        elif spoil == "hot pixels":
            wild[::16, ::16] = True
            values[wild] = 1e7
        else:
            offset = {"pedestal": 1e4, "negative pedestal": -1e3}[spoil]
            values += offset
        data = xr.DataArray(values, dims=("eV", "phi"))
        clean = data.S.denoise_pcp_unet(iterations=120, networks=1, rng=0).values - offset
        error = ((clean - rate) ** 2)[~wild].mean()
        assert error < 0.2 * ((noisy - rate) ** 2)[~wild].mean()

    def test_a_fit_that_goes_astray_warns(self):
        from arpes_ml_plugins.denoising.two_stage import _warn_unsettled

        good = torch.linspace(3, 1, 200).expand(2, 1, 200).clone()
        _warn_unsettled(good)
        good[0, 0, -20:] = 2.0
        with pytest.warns(ConvergenceWarning, match="1 of 1 images"):
            _warn_unsettled(good)

    def test_negative_intensities_survive(self, cut):
        """After a background was subtracted: no clipping, no shift."""
        lowered = cut.astype(float) - 12.0
        clean = lowered.S.denoise_pcp_unet(iterations=150, networks=1, rng=0)
        assert float(clean.min()) < -5
        assert float((clean - lowered).mean()) == pytest.approx(0, abs=1.0)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
class TestCuda:
    def test_agrees_with_the_cpu(self, cut):
        results = [
            cut.S.denoise_pcp_unet(iterations=20, rng=0, precision="float32", device=device)
            for device in ("cpu", "cuda")
        ]
        xr.testing.assert_allclose(*results, atol=0.05 * float(cut.max()))

    def test_batches(self):
        data = sample_cut(batch=5)
        whole = data.S.denoise_pcp_unet(iterations=5, rng=0, device="cuda", precision="float32")
        parts = data.S.denoise_pcp_unet(
            iterations=5, rng=0, device="cuda", precision="float32", batch_size=2
        )
        xr.testing.assert_allclose(whole, parts, atol=0.02 * float(data.max()))
