import ast
import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

import reference
from reference import Case
from semireal.errors import UserError
from semireal.stylegan2 import (
    Config,
    Discriminator,
    Generator,
    load_discriminator,
    load_generator,
    loss,
    ops,
    save_networks,
)
from semireal.stylegan2.networks import build_discriminator, build_generator, set_precision

TINY = Config(img_resolution=16, z_dim=8, w_dim=8, mapping_layers=2, channel_base=64, channel_max=8)
# Some inputs of the single operations were stored rounded to float32 after the float64 outputs were made.
ROUNDED = 1e-6


# The full set has float64 too.
SETS = [("subset", "f32"), ("full", "f32"), ("full", "f64")]


@pytest.fixture(params=SETS, ids="-".join)
def operations(request: pytest.FixtureRequest) -> tuple[Case, str]:
    size, kind = request.param
    return reference.load(request.getfixturevalue(f"{size}_reference"), reference.OPS), kind


class Reference:
    """The public implementation's networks in one precision, with its inputs and outputs."""

    def __init__(self, case: Case, dtype: torch.dtype) -> None:
        self.case = case
        self.dtype = dtype
        self.kind = "f32" if dtype == torch.float32 else "f64"
        self.tolerance = 1e-4 if dtype == torch.float32 else 1e-8
        size = int(case["cfg/z_dim_w_dim"])
        names = ("img_resolution", "mapping_layers", "channel_base", "channel_max")
        config = Config(z_dim=size, w_dim=size, **{name: int(case[f"cfg/{name}"]) for name in names})
        self.G = Generator(config)
        self.D = Discriminator(config)
        for letter, network in (("G", self.G), ("D", self.D)):
            prefix = f"{letter}/"
            weights = {k.removeprefix(prefix): torch.from_numpy(v) for k, v in case.items() if k.startswith(prefix)}
            network.load_state_dict(weights, strict=True)
            network.to(dtype)

    def tensor(self, name: str) -> Tensor:
        return torch.from_numpy(self.case[f"in/{name}"]).to(self.dtype)

    def check(self, name: str, found: Tensor) -> None:
        """Compare with a stored output, relative to its largest value.

        Not all are stored in float64, and of images maybe the first alone.
        """
        if self.kind == "f64" and f"f64/{name}" not in self.case:
            return
        need = self.case[f"{self.kind}/{name}"]
        part = found[: len(need)] if need.ndim == 4 else found
        scale = float(np.abs(need).max())
        np.testing.assert_allclose(part.detach().numpy(), need, rtol=0, atol=self.tolerance * scale, err_msg=name)

    def check_gradients(self, name: str, value: Tensor, network: torch.nn.Module, names: str) -> None:
        parameters = dict(network.named_parameters())
        ordered = [parameters[key] for key in self.case[f"names/{names}"]]
        grads = torch.autograd.grad(value, ordered, allow_unused=True)
        norms = [0.0 if g is None else float(g.double().norm()) for g in grads]
        dots = [
            0.0 if g is None else float((g * p.detach()).double().sum()) for g, p in zip(grads, ordered, strict=True)
        ]
        single = self.dtype == torch.float32
        for kind, found in (("grad_l2", norms), ("grad_dot_param", dots)):
            need = self.case[f"{self.kind}/{name}_{kind}"]
            rtol, atol = (1e-3, 2e-5) if single else (1e-8, 1e-12)
            np.testing.assert_allclose(found, need, rtol=rtol, atol=atol, err_msg=f"{name} {kind}")
        # The public loop multiplies the regularised network's output by zero and adds it, so that a few
        # parameters have a gradient of zero where ours have none; the training loop fills those in.
        none = np.array([g is None for g in grads])
        stored = self.case[f"{self.kind}/{name}_grad_none"]
        assert (none | ~stored).all(), name
        assert not (none & ~stored & (self.case[f"{self.kind}/{name}_grad_l2"] != 0)).any(), name


@pytest.fixture(params=SETS, ids="-".join)
def public(request: pytest.FixtureRequest) -> Reference:
    size, kind = request.param
    case = reference.load(request.getfixturevalue(f"{size}_reference"), reference.NETWORKS)
    return Reference(case, torch.float32 if kind == "f32" else torch.float64)


def test_reference_mapping(public: Reference) -> None:
    z = public.tensor("z")
    mapping = public.G.mapping
    assert public.G.synthesis.num_ws == int(public.case["cfg/num_ws"])
    public.check("w", mapping(z)[:, 0])
    public.check("w_psi0.5", mapping(z, psi=0.5)[:, -1])
    public.check("w_psi0.7", mapping(z, psi=0.7)[:, 0])
    public.check("w_psi0.5_cutoff4", mapping(z, psi=0.5, cutoff=4))


def test_reference_images_and_logits(public: Reference) -> None:
    G, D, z = public.G, public.D, public.tensor("z")
    for psi in ("1", "0.7", "0.5"):
        img = G(z, psi=float(psi), noise="const")
        public.check(f"img_psi{psi}", img)
        public.check(f"logits_img_psi{psi}", D(img))
    public.check("img_nonoise_psi1", G(z, noise="none"))
    cutoff = int(public.case["in/mix_cutoff"])
    mixed = torch.cat([G.mapping(z)[:, :cutoff], G.mapping(public.tensor("z_mix"))[:, cutoff:]], dim=1)
    public.check("ws_mixed", mixed)
    public.check("img_mixed", G.synthesis(mixed))
    public.check("logits_real", D(public.tensor("x_real")))


def test_reference_adversarial_losses(public: Reference) -> None:
    G, D = public.G, public.D
    fake = G(public.tensor("z"))
    value = loss.g_main(D(fake))
    public.check("loss_Gmain", value)
    public.check_gradients("Gmain", value, G, "G_params")
    loss_fake, loss_real = loss.d_main(D(fake.detach()), D(public.tensor("x_real")))
    public.check("loss_Dgen", loss_fake)
    public.check("loss_Dreal", loss_real)
    public.check("loss_Dmain", loss_fake + loss_real)
    public.check_gradients("Dmain", loss_fake + loss_real, D, "D_params")


def test_reference_r1(public: Reference) -> None:
    real = public.tensor("x_real").requires_grad_(True)
    logits = public.D(real)
    (grads,) = torch.autograd.grad(logits.sum(), real, retain_graph=True)
    public.check("r1_grads_sample0", grads[0])
    penalty = loss.r1_penalty(logits, real)
    public.check("r1_penalty_per_sample", penalty)
    public.check("loss_Dr1_gamma1", penalty.mean() / 2)
    public.check_gradients("Dr1", penalty.mean() / 2, public.D, "D_params")


def test_reference_path_length(public: Reference) -> None:
    G, cutoff = public.G, int(public.case["in/mix_cutoff"])
    z, z_mix = public.tensor("z")[:4], public.tensor("z_mix")[:4]
    ws = torch.cat([G.mapping(z)[:, :cutoff], G.mapping(z_mix)[:, cutoff:]], dim=1)
    public.check("pl_ws", ws)
    start = torch.zeros([], dtype=public.dtype)
    lengths = loss.path_lengths(G.synthesis(ws), ws, public.tensor("pl_noise_raw"))
    public.check("pl_lengths", lengths)
    penalty, mean = loss.path_penalty(lengths, start)
    public.check("pl_penalty_per_sample", penalty)
    public.check("pl_mean_after_first_update", mean)
    public.check("loss_Gpl", penalty.mean() * 2)
    public.check_gradients("Gpl", penalty.mean() * 2, G, "G_params")


def pair(value: Any) -> list[int]:
    return value if isinstance(value, list) else [value, value]


def test_reference_resampling(operations: tuple[Case, str]) -> None:
    case, kind = operations

    def given(name: str) -> Tensor:
        return torch.from_numpy(case[f"in/{name}"]).to(torch.float32 if kind == "f32" else torch.float64)

    def check(name: str, found: Tensor) -> None:
        atol = 1e-5 if kind == "f32" else ROUNDED
        np.testing.assert_allclose(found.numpy(), case[f"{kind}/{name}"], rtol=0, atol=atol, err_msg=name)

    for line in case["names/upfirdn2d_cases"]:
        name, text = str(line).split(": ")
        options = dict(part.split("=", 1) for part in text.replace(", ", ",").split())
        f = given(f"upfirdn2d/{options.pop('f')}")
        values = {key: ast.literal_eval(value) for key, value in options.items()}
        padding = values["padding"] if isinstance(values["padding"], list) else [values["padding"]] * 4
        found = ops.upfirdn2d(
            given("upfirdn2d/x"),
            f,
            pair(values["up"]),
            pair(values["down"]),
            padding,
            values["flip_filter"],
            values["gain"],
        )
        check(f"upfirdn2d/{name}", found)

    x, f = given("resample/x"), given("upfirdn2d/f1331")
    check("resample/upsample2d_f1331", ops.upsample2d(x, f))
    check("resample/downsample2d_f1331", ops.filter2d(x, f, padding=1, stride=2))

    x, w3, w1 = given("conv/x"), given("conv/w3"), given("conv/w1")
    check("conv/w3_up2_down1", ops.conv2d_up(x, w3, f))
    check("conv/w3_up2_flipTrue", ops.conv2d_up(x, w3.flip([2, 3]), f))
    check("conv/w3_up1_down2", ops.conv2d_down(x, w3, f))
    check("conv/w1_up1_down2", ops.conv2d_down(x, w1, f))


def test_reference_layers(operations: tuple[Case, str]) -> None:
    case, kind = operations

    def given(name: str) -> Tensor:
        return torch.from_numpy(case[f"in/{name}"]).to(torch.float32 if kind == "f32" else torch.float64)

    def check(name: str, found: Tensor) -> None:
        atol = 2e-5 if kind == "f32" else ROUNDED
        np.testing.assert_allclose(found.numpy(), case[f"{kind}/{name}"], rtol=0, atol=atol, err_msg=name)

    x, w3, w1, styles = (given(f"modconv/{name}") for name in ("x", "w3", "w1", "styles"))
    f, noise8, noise16 = given("upfirdn2d/f1331"), given("modconv/noise8"), given("modconv/noise16")
    for form in ("fused", "nonfused"):
        check(f"modconv/w3_demod_{form}", ops.modulated_conv2d(x, w3, styles))
        check(f"modconv/w3_demod_noise_{form}", ops.modulated_conv2d(x, w3, styles, noise=noise8))
        up = ops.modulated_conv2d(x, w3, styles, noise=noise16, up_filter=f)
        check(f"modconv/w3_up2_demod_noise_{form}", up)
        check(f"modconv/w1_nodemod_{form}", ops.modulated_conv2d(x, w1, styles, demodulate=False))

    x, b = given("bias_act/x"), given("bias_act/b")[:, None, None]
    check("bias_act/lrelu", ops.leaky_relu((x + b) * ops.SQRT2))
    check("bias_act/lrelu_gain0.5_clamp1", ops.leaky_relu((x + b) * 0.5, clamp=1))

    x = given("mbstd/x")
    for group in (2, 4, 8, None):
        for channels in (1, 2):
            check(f"mbstd/group{group}_chan{channels}", ops.minibatch_std(x, group, channels))
    check("mbstd/batch3_group4_chan1", ops.minibatch_std(x[:3], 4))
    check("norm/out", ops.normalize(given("norm/z")))


# What follows needs no reference.


def test_fast_resampling_equals_general_form() -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 8, 6, generator=rng, dtype=torch.float64)
    f = torch.randn(4, 4, generator=rng, dtype=torch.float64)  # not symmetric: the direction matters
    upsampled = ops.upfirdn2d(x, f, up=(2, 2), padding=(2, 1, 2, 1), gain=4)
    torch.testing.assert_close(ops.upsample2d(x, f), upsampled)
    torch.testing.assert_close(ops.filter2d(x, f, padding=2), ops.upfirdn2d(x, f, padding=(2, 2, 2, 2)))
    torch.testing.assert_close(
        ops.filter2d(x, f, padding=1, stride=2), ops.upfirdn2d(x, f, down=(2, 2), padding=(1, 1, 1, 1))
    )


@pytest.mark.parametrize(("size", "padding", "stride"), [(6, 2, 1), (6, 1, 2), (7, 1, 2), (7, 2, 3)])
def test_filter_gradients(size: int, padding: int, stride: int) -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(2, 2, size, size + 1, generator=rng, dtype=torch.float64, requires_grad=True)
    f = torch.randn(4, 4, generator=rng, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: ops.filter2d(x, f, padding, stride), x)
    assert torch.autograd.gradgradcheck(lambda x: ops.filter2d(x, f, padding, stride).square(), x)


def test_demodulation_gives_unit_variance() -> None:
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(2, 64, 32, 32, generator=rng)
    weight, styles = torch.randn(16, 64, 3, 3, generator=rng), torch.rand(2, 64, generator=rng) * 10
    inner = ops.modulated_conv2d(x, weight, styles)[:, :, 1:-1, 1:-1]  # the border sees zeros
    assert inner.std().item() == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("clamp", [None, 256.0])
def test_other_configuration_runs(clamp: float | None) -> None:
    config = Config(128, z_dim=16, w_dim=24, mapping_layers=8, channel_base=512, channel_max=16, conv_clamp=clamp)
    G, D = build_generator(config, 0), build_discriminator(config, 0)
    rng = torch.Generator().manual_seed(0)
    img = G(torch.randn(2, 16, generator=rng), noise="random", generator=rng)
    assert img.shape == (2, 3, 128, 128)
    assert D(img).shape == (2, 1)
    torch.autograd.backward(loss.g_main(D(img)))
    assert all(p.grad is not None and p.grad.isfinite().all() for p in [*G.parameters(), *D.parameters()])


def test_clamp_limits_activations() -> None:
    config = Config(16, z_dim=8, w_dim=8, mapping_layers=1, channel_base=64, channel_max=8, conv_clamp=0.01)
    img = build_generator(config, 0)(torch.ones(1, 8))
    assert img.abs().max() <= 0.01 * 4  # 4x4, 8x8 and 16x16, and the filter overshoots nowhere


def test_noise() -> None:
    G = build_generator(TINY, 0)
    for name, parameter in G.named_parameters():
        if name.endswith("noise_strength"):
            parameter.data.fill_(0.5)
    z = torch.ones(2, 8)

    def draw(seed: int) -> Tensor:
        img: Tensor = G(z, noise="random", generator=torch.Generator().manual_seed(seed))
        return img

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    assert not torch.equal(draw(1)[0], draw(1)[1])  # each image its own
    constant = G(z, noise="const")
    torch.testing.assert_close(constant[0], constant[1])
    assert not torch.equal(constant, G(z, noise="none"))
    torch.manual_seed(3)  # without a generator: PyTorch's own
    assert not torch.equal(G(z, noise="random"), G(z, noise="random"))
    maps = G.synthesis.draw_noise(2, torch.Generator().manual_seed(1))
    assert [list(one.shape) for one in maps] == [[2, 1, side, side] for side in (4, 8, 8, 16, 16)]
    assert torch.equal(G(z, noise=maps), draw(1))


def test_images_do_not_depend_on_the_batch() -> None:
    G = build_generator(TINY, 0).double()
    z = torch.randn(5, 8, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(G(z), torch.cat([G(one) for one in torch.split(z, 1)]))


def test_minibatch_std_is_zero_for_equal_samples() -> None:
    x = torch.randn(1, 4, 4, 4, generator=torch.Generator().manual_seed(0)).repeat(4, 1, 1, 1)
    appended = ops.minibatch_std(x, 4)[:, 4]
    torch.testing.assert_close(appended, torch.full_like(appended, 1e-4))  # sqrt of the epsilon


def test_initialisation_depends_on_the_seed_only() -> None:
    first, second, other = (build_generator(TINY, seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["mapping.fc0.weight"], other["mapping.fc0.weight"])
    before = torch.get_rng_state()
    build_discriminator(TINY, 0)
    assert torch.equal(before, torch.get_rng_state())


def test_regularisers_have_correct_second_derivatives() -> None:
    config = Config(8, z_dim=4, w_dim=4, mapping_layers=1, channel_base=16, channel_max=3)
    G, D = build_generator(config, 0).double(), build_discriminator(config, 1).double()
    rng = torch.Generator().manual_seed(0)
    real = torch.randn(2, 3, 8, 8, generator=rng, dtype=torch.float64, requires_grad=True)
    ws = torch.randn(2, G.synthesis.num_ws, 4, generator=rng, dtype=torch.float64, requires_grad=True)
    noise = torch.randn(2, 3, 8, 8, generator=rng, dtype=torch.float64)

    def r1() -> Tensor:
        return loss.r1_penalty(D(real), real).mean()

    def pl() -> Tensor:
        lengths = loss.path_lengths(G.synthesis(ws), ws, noise)
        return loss.path_penalty(lengths, torch.zeros([], dtype=torch.float64))[0].mean()

    for penalty, network in ((r1, D), (pl, G.synthesis)):
        parameters = [p for name, p in network.named_parameters() if name.endswith("conv1.weight")]
        grads = torch.autograd.grad(penalty(), parameters)
        for p, grad in zip(parameters, grads, strict=True):
            direction = torch.randn(p.shape, generator=rng, dtype=torch.float64)
            step = 1e-5 * direction
            p.data += step
            above = penalty().item()
            p.data -= 2 * step
            slope = (above - penalty().item()) / 2e-5
            p.data += step
            assert slope == pytest.approx((grad * direction).sum().item(), rel=1e-4, abs=1e-8)


def test_mixing_cutoff() -> None:
    rng = torch.Generator().manual_seed(0)
    cutoffs = [loss.mixing_cutoff(6, 0.9, rng) for _ in range(500)]
    assert set(cutoffs) == {1, 2, 3, 4, 5, 6}  # 6: not mixed
    assert cutoffs.count(6) / 500 == pytest.approx(0.1, abs=0.04)
    assert loss.mixing_cutoff(6, 0, rng) == 6


def test_w_avg() -> None:
    mapping = build_generator(TINY, 0).mapping
    mapping.update_w_avg(torch.full([4, 8], 2.0))
    torch.testing.assert_close(mapping.w_avg, torch.full([8], 0.01))
    z = torch.ones(1, 8)
    torch.testing.assert_close(mapping(z, psi=0)[0, 0], mapping.w_avg)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"img_resolution": 48}, "img_resolution"),
        ({"img_resolution": 4}, "img_resolution"),
        ({"z_dim": 0}, "z_dim"),
        ({"channel_base": 8}, "channel_base"),
        ({"conv_clamp": 0.0}, "conv_clamp"),
    ],
)
def test_config_refuses_nonsense(changes: dict[str, Any], key: str) -> None:
    with pytest.raises(UserError, match=key):
        Config(**({"img_resolution": 16} | changes))


def test_generator_file(tmp_path: Path) -> None:
    G = build_generator(TINY, 0)
    G.mapping.update_w_avg(torch.ones(4, 8))
    for name in ("a", "b"):
        save_networks(tmp_path / name, TINY, G.state_dict(), None, {"kimg": 1.5, "source": "x"})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a", "b"]
    loaded = load_generator(tmp_path / "a")
    z = torch.ones(2, 8)
    assert torch.equal(loaded(z, psi=0.5), G(z, psi=0.5))
    assert loaded.config == TINY
    assert not any(p.requires_grad for p in loaded.parameters())
    assert torch.equal(load_generator(str(tmp_path / "a"))(z), loaded(z))
    with pytest.raises(UserError, match="no discriminator"):
        load_discriminator(tmp_path / "a")


def test_discriminator_file(tmp_path: Path) -> None:
    G, D = build_generator(TINY, 0), build_discriminator(TINY, 1)
    save_networks(tmp_path / "both", TINY, G.state_dict(), D.state_dict(), {})
    img = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    loaded = load_discriminator(tmp_path / "both")
    assert torch.equal(loaded(img), D(img))
    assert loaded(img).shape == (4, 1)
    assert torch.equal(load_generator(tmp_path / "both").mapping.w_avg, G.mapping.w_avg)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 0.05), (torch.float16, 0.01)])
def test_low_precision_is_close(dtype: torch.dtype, tolerance: float) -> None:
    config = dataclasses.replace(TINY, conv_clamp=256)
    rng = torch.Generator().manual_seed(0)
    z, real = torch.randn(4, 8, generator=rng), torch.randn(4, 3, 16, 16, generator=rng)
    for network, given in ((build_generator(config, 0), z), (build_discriminator(config, 0), real)):
        exact = network(given)
        set_precision(network, dtype, 2, channels_last=True)
        rough = network(given)
        assert rough.dtype == torch.float32
        assert not torch.equal(rough, exact)
        torch.testing.assert_close(rough, exact, rtol=0, atol=tolerance * exact.abs().max().item())
        rough.mean().backward()
        assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_float16_does_not_overflow() -> None:
    config = Config(16, z_dim=8, w_dim=8, mapping_layers=2, channel_base=8192, channel_max=512, conv_clamp=256)
    G = build_generator(config, 0)
    set_precision(G, torch.float16, 3, channels_last=True)
    for name, parameter in G.named_parameters():
        if name.endswith("affine.bias"):
            parameter.data.fill_(300)  # styles that are far above the largest float16 once summed over 512 channels
    img = G(torch.randn(2, 8, generator=torch.Generator().manual_seed(0)))
    assert img.isfinite().all()


@pytest.mark.parametrize("build", [build_generator, build_discriminator])
def test_memory_format_changes_only_rounding(build: Callable[[Config, int], Generator | Discriminator]) -> None:
    network = build(TINY, 0).double()
    rng = torch.Generator().manual_seed(0)
    given = torch.randn([4, 8] if isinstance(network, Generator) else [4, 3, 16, 16], generator=rng).double()
    first = network(given)
    set_precision(network, torch.float64, 0, channels_last=False)
    torch.testing.assert_close(network(given), first)


def test_a_network_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the power fails it is the old one or the new one."""
    path = tmp_path / "g"
    path.write_text("old")
    synced: list[tuple[int, str]] = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append((os.fstat(number).st_ino, path.read_text())))
    save_networks(path, TINY, build_generator(TINY, 0).state_dict(), None, {})
    assert synced == [(path.stat().st_ino, "old")]
    assert list(tmp_path.iterdir()) == [path]


def test_bad_generator_files(tmp_path: Path) -> None:
    path = tmp_path / "g"
    save_networks(path, TINY, build_generator(TINY, 0).state_dict(), None, {})
    data = path.read_bytes()
    weights = load_file(path)
    bad = tmp_path / "bad"
    for content in (b"", data[:50], data[:-10], b"x" * 100):
        bad.write_bytes(content)
        with pytest.raises(UserError, match="damaged"):
            load_generator(bad)
    with pytest.raises(UserError, match="missing"):
        load_generator(tmp_path / "absent")
    bad.write_bytes(data.replace(b'\\"version\\": 2', b'\\"version\\": 9'))
    with pytest.raises(UserError, match="version"):
        load_generator(bad)
    save_file(weights, bad)
    with pytest.raises(UserError, match="version"):
        load_generator(bad)

    G = build_generator(TINY, 0)
    wide = Config(16, z_dim=8, w_dim=8, mapping_layers=3, channel_base=64, channel_max=6)
    save_networks(bad, wide, G.state_dict(), None, {})
    with pytest.raises(UserError) as error:
        load_generator(bad)
    for part in ("mapping.fc2.weight is missing", "synthesis.b4.const is [8, 4, 4] and not [6, 4, 4]"):
        assert part in str(error.value)
    assert "\n" not in str(error.value)
