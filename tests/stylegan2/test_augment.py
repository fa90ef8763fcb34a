import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import reference
from reference import Case
from semireal.stylegan2 import Config, augment, loss
from semireal.stylegan2.augment import Ada, Transform
from semireal.stylegan2.networks import build_discriminator

ALL = augment.names("bgc", rotate90=True)
GEOMETRY = ("xflip", "turns", "xint", "scale", "angle", "aniso", "xfrac")
COLOUR = augment.GROUPS["c"]
# How the reference file names the transforms; it has no rotation after the anisotropic scaling.
STORED = {"rotate90": ("turns",), "rotate": ("angle",), "bg": GEOMETRY, "color": COLOUR, "bgc": GEOMETRY + COLOUR}
STORED["gray_bgc"] = (*GEOMETRY, "brightness", "contrast", "lumaflip")


@pytest.fixture(params=["subset", "full"])
def stored(request: pytest.FixtureRequest) -> Case:
    case = reference.load(request.getfixturevalue(f"{request.param}_reference"), reference.OPS)
    return {name: value for name, value in case.items() if "/ada/" in name}


def strengths(q: float, count: int) -> dict[str, Tensor]:
    """Strengths at the quantile q that the reference was made with, for count images in float64."""
    u = 2 * q - 1
    e = float(torch.erfinv(torch.tensor(u, dtype=torch.float64)))
    one = {
        "xflip": math.floor(2 * q),
        "turns": math.floor(4 * q),
        "scale": 2 ** (0.2 * e),
        "angle": math.pi * u,
        "aniso": 2 ** (0.2 * e),
        "brightness": 0.2 * e,
        "contrast": 2 ** (0.5 * e),
        "lumaflip": math.floor(2 * q),
        "hue": math.pi * u,
        "saturation": 2**e,
    }
    values = {name: torch.full([count], float(value), dtype=torch.float64) for name, value in one.items()}
    for name, value in (("xint", 0.125 * u), ("xfrac", 0.125 * e)):
        values[name] = torch.full([count, 2], value, dtype=torch.float64)
    return values


def test_reference_transforms(stored: Case) -> None:
    cases = [key for key in stored if key.startswith(("f32/", "f64/"))]
    assert len(cases) in (len(reference.ADA), 47)
    for case in cases:
        kind, _, title = case.split("/")
        name, q = title.rsplit("_p", 1)
        values = strengths(float(q), len(stored["in/ada/images"]))
        values = {key: value for key, value in values.items() if key in STORED.get(name, (name,))}
        geometry = {key: value for key, value in values.items() if key in GEOMETRY}
        colour = {key: value for key, value in values.items() if key in COLOUR}
        transform = Transform(
            augment.inverse_of(geometry, (64, 64)) if geometry else None,
            augment.colour_of(colour) if colour else None,
        )
        images = torch.from_numpy(stored["in/ada/images"]).to(torch.float64 if kind == "f64" else torch.float32)
        found = transform(images[:, :1] if name == "gray_bgc" else images)
        tolerance = (1e-8 if kind == "f64" else 1e-4) * float(np.abs(stored[case]).max())
        np.testing.assert_allclose(found.numpy(), stored[case], rtol=0, atol=tolerance, err_msg=case)


def test_filter_is_the_wavelet(stored: Case) -> None:
    taps = augment._sym6(torch.float32, torch.device("cpu"))
    np.testing.assert_allclose(taps, stored["in/ada/Hz_geom"], rtol=0, atol=1e-7)


def random(count: int = 4, size: int = 16, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn([count, 3, size, size], generator=torch.Generator().manual_seed(0), dtype=dtype)


def drawn(p: float, count: int = 4, size: int = 16, seed: int = 1, enabled: tuple[str, ...] = ALL) -> Transform:
    return augment.draw(count, (size, size), enabled, p, torch.Generator().manual_seed(seed))


def test_never_applied_is_the_identity() -> None:
    images = random()
    torch.testing.assert_close(drawn(0)(images), images, rtol=0, atol=1e-5)  # the filters are not quite perfect
    assert drawn(0, enabled=())(images) is images


@pytest.mark.parametrize("size", [8, 16])
def test_hard_cases_stay_finite(size: int) -> None:
    for seed in range(30):
        assert drawn(1, size=size, seed=seed)(random(size=size)).isfinite().all()


def test_whole_turns_and_flips_move_pixels() -> None:
    # smooth, since the asymmetric filter delays what is fine
    images = F.interpolate(random(size=4), size=16, mode="bicubic")
    ones = torch.ones(4, dtype=torch.float64)
    for values, expected in (
        ({"xflip": ones}, images.flip(3)),
        ({"turns": ones}, torch.rot90(images, 1, (2, 3))),
        ({"xint": torch.tensor([[0.125, 0.0]] * 4).double()}, images.roll(2, 3)),
    ):
        found = augment.warp(images, augment.inverse_of(values, (16, 16)))
        inner = (slice(None), slice(None), slice(3, -3), slice(3, -3))
        torch.testing.assert_close(found[inner], expected[inner], rtol=0, atol=0.25)


def test_sides_of_different_length() -> None:
    images = random()[:, :, :8]
    values = {"xflip": torch.ones(4, dtype=torch.float64), "xfrac": torch.full((4, 2), 0.01, dtype=torch.float64)}
    found = augment.warp(images, augment.inverse_of(values, (16, 8)))
    assert found.shape == images.shape


def test_each_transform_is_as_likely_as_wanted() -> None:
    count, p = 4000, 0.4
    eye3, eye4 = torch.eye(3), torch.eye(4)
    for name in ALL:
        transform = drawn(p, count, enabled=(name,))
        matrix, eye = (transform.inverse, eye3) if transform.colour is None else (transform.colour, eye4)
        assert matrix is not None
        changed = (matrix - eye).flatten(1).abs().amax(dim=1) > 1e-6
        # half of the flips and a quarter of the turns are by nothing; two rotations share the probability
        share = {"xflip": 0.5, "lumaflip": 0.5, "turns": 0.75}.get(name, 1)
        expected = 1 - math.sqrt(1 - p) if name.startswith("angle") else p * share
        assert changed.float().mean().item() == pytest.approx(expected, abs=0.03), name


def test_strengths_have_the_published_spread() -> None:
    count = 20000
    matrix = {name: drawn(1, count, size=1000, enabled=(name,)) for name in ALL}

    def inverse(name: str) -> Tensor:
        found = matrix[name].inverse
        assert found is not None
        return found

    assert inverse("scale")[:, 0, 0].log2().std().item() == pytest.approx(0.2, rel=0.03)
    assert (inverse("aniso")[:, 0, 0] * inverse("aniso")[:, 1, 1]).allclose(torch.ones(count))
    assert inverse("xfrac")[:, 0, 2].std().item() == pytest.approx(125, rel=0.03)
    assert inverse("xint")[:, 0, 2].abs().max().item() == pytest.approx(125, abs=1)
    brightness = matrix["brightness"].colour
    assert brightness is not None
    assert brightness[:, 0, 3].std().item() == pytest.approx(0.2, rel=0.03)


def test_part_of_a_batch_is_the_part() -> None:
    images, transform, index = random(), drawn(1), torch.tensor([2, 0])
    torch.testing.assert_close(transform[index](images[index]), transform(images)[index])


def test_second_derivatives() -> None:
    D = build_discriminator(Config(16, z_dim=8, w_dim=8, mapping_layers=2, channel_base=64, channel_max=8), 0).double()
    images, transform = random().requires_grad_(True), drawn(0.9)

    def r1() -> Tensor:
        return loss.r1_penalty(D(transform(images)), images).sum()

    weight = D.b16.conv0.weight  # type: ignore[union-attr]
    assert isinstance(weight, Tensor)
    (grad,) = torch.autograd.grad(r1(), weight)
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    weight.data += 1e-5 * direction
    above = r1().item()
    weight.data -= 2e-5 * direction
    assert (above - r1().item()) / 2e-5 == pytest.approx((grad * direction).sum().item(), rel=1e-5)


def test_sampling_is_differentiable_twice() -> None:
    grid = torch.rand(1, 5, 4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2.4 - 1.2
    x = random(1, 6).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda t: augment._Sample.apply(t, grid), x)
    assert torch.autograd.gradgradcheck(lambda t: augment._Sample.apply(t, grid), x)


def test_probability_follows_the_signs() -> None:
    ada = Ada(p=0.5, signs=64, count=64)
    ada.update(0.6, 0.64)
    assert ada == Ada(p=0.6)
    ada.signs, ada.count = 0.0, 64
    ada.update(0.6, 0.64)
    assert ada.p == pytest.approx(0.5)
    still = dataclasses.replace(ada)
    ada.update(0.6, 0.64)  # nothing seen
    assert ada == still
    for signs, limit in ((64, 1), (-64, 0)):
        for _ in range(20):
            ada.signs, ada.count = signs, 64
            ada.update(0.6, 0.64)
        assert ada.p == limit
