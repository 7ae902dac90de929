import inspect
import json
import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from zoo.errors import SpecificationError, UndefinedMetricError
from zoo.metrics import farms, spectrum
from zoo.metrics.farms.weights import weights_of
from zoo.spectra import Windows
from zoo.spectra.fits import FITS
from zoo.spectra.null import NULL_MEASURES, null


def normal(*shape, seed=0, dtype=torch.float32):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def only(weight, **options):
    """The one row of a model of one tensor."""
    frame = farms.report({"w": weight}, **options)
    assert len(frame) == 1
    return frame.iloc[0]


def squares(matrices):
    """Squared singular values of matrices `(n, rows, columns)` together, ascending, by numpy's dense SVD."""
    values = np.linalg.svd(np.asarray(matrices, dtype=np.float64), compute_uv=False)
    return np.sort(np.square(values).ravel())


def hill(values):
    """Exponent from the median on, as Clauset et al. 2009 have it."""
    tail = values[len(values) // 2 :]
    return 1 + len(tail) / np.log(tail / tail[0]).sum()


def test_a_matrix_has_the_numbers_of_a_dense_svd():
    weight = normal(60, 40)
    row, values = only(weight), squares(weight[None])
    singular = np.sqrt(values)
    shares = singular / singular.sum()
    assert (row["layer"], row["shape"], row["eigenvalues"]) == ("w", "60x40", 40)
    assert row["spectral_norm"] == pytest.approx(singular[-1], rel=1e-12)
    assert row["frobenius_norm"] == pytest.approx(np.linalg.norm(weight.double().numpy()), rel=1e-12)
    assert row["stable_rank"] == pytest.approx(values.sum() / values[-1], rel=1e-12)
    assert row["effective_rank"] == pytest.approx(math.exp(-(shares * np.log(shares)).sum()), rel=1e-9)
    assert row["alpha"] == pytest.approx(hill(values), rel=1e-9)
    assert row["alpha_sem"] == pytest.approx((hill(values) - 1) / math.sqrt(20), rel=1e-9)
    exponent = row["alpha_goodness_of_fit"]
    assert row["alpha_hat"] == pytest.approx(exponent * math.log10(values[-1]), rel=1e-9)
    assert row["log_alpha_norm"] == pytest.approx(math.log10((values**exponent).sum()), rel=1e-9)
    assert row["farms_eigenvalues"] == 9 * 40
    cut = squares(np.stack([weight[2 * i : 2 * i + 40] for i in range(9)]))
    assert row["farms_alpha"] == pytest.approx(hill(cut), rel=1e-9)
    assert not isinstance(row["reason"], str)


@pytest.mark.parametrize("shape", [(60, 40), (24, 50, 3, 3)])
@pytest.mark.parametrize("fit", FITS)
def test_every_exponent_is_that_of_the_functions(shape, fit):
    weight, end = normal(*shape), "" if fit == "median" else f"_{fit}"
    row = only(weight, window=8, aspect_ratio=2.0, windows_per_dim=3)
    law = farms.power_law(weight, fit=fit, window=8, aspect_ratio=2.0, windows_per_dim=3)
    whole = spectrum.power_law(weight, fit=fit)
    for name, expected in (("farms_alpha", law), ("alpha", whole)):
        assert row[f"{name}{end}"] == expected.alpha.item()
        assert row[f"{name}{end}_sem"] == expected.standard_error.item()
        assert row[f"{name}{end}_distance"] == expected.distance.item()


def test_the_other_columns_are_those_of_the_functions():
    weight = normal(24, 50, 3, 3)
    row, bulk = only(weight), spectrum.bulk(weight)
    assert (row["bulk_edge"], row["spikes"]) == (bulk.edge.item(), bulk.spikes.item())
    for name in ("spectral_norm", "frobenius_norm", "stable_rank"):
        assert row[name] == pytest.approx(getattr(spectrum, name)(weight).item(), rel=1e-12), name


def test_the_null_is_cut_by_the_same_windows():
    weight = 0.3 * normal(60, 40)
    row = only(weight, window=8, windows_per_dim=2)
    found = null((60, 40), weight.double().square().mean()[None], Windows(8, 1.0, 2))
    for name in NULL_MEASURES:
        mean, deviation = (part.item() for part in found[name])
        assert row[f"{name}_null"] == pytest.approx(mean, rel=1e-9), name
        assert row[f"{name}_null_sd"] == pytest.approx(deviation, rel=1e-6), name
    other = only(weight)
    assert row["farms_alpha_null"] != other["farms_alpha_null"]
    assert row["alpha_null"] == other["alpha_null"]


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(40, 24)
        self.norm = nn.LayerNorm(24)
        self.head = nn.Linear(24, 40)
        self.head.weight = self.embedding.weight
        self.register_buffer("mask", torch.ones(24, 24))


def test_a_module_has_its_parameters_and_tied_ones_once():
    model = Tied()
    assert farms.report(model)["layer"].tolist() == ["embedding.weight"]


def test_a_state_dict_has_its_tensors_and_tied_ones_once():
    frame = farms.report(Tied().state_dict())
    assert frame["layer"].tolist() == ["mask", "embedding.weight"]
    assert frame["shape"].tolist() == ["24x24", "40x24"]


def test_equal_tensors_that_are_not_shared_come_twice():
    weight = normal(24, 24)
    assert farms.report({"a": weight, "b": weight.clone(), "c": weight})["layer"].tolist() == ["a", "b"]


def test_a_module_and_its_state_dict_give_the_same_table():
    model = nn.Sequential(nn.Conv2d(3, 24, 3), nn.Conv1d(24, 30, 3), nn.Linear(30, 40))
    with torch.no_grad():
        for place, part in enumerate(model.parameters()):
            part.copy_(normal(*part.shape, seed=place))
    one, other = farms.report(model), farms.report(model.state_dict())
    assert one.equals(other)
    assert one["layer"].tolist() == ["0.weight", "1.weight", "2.weight"]
    assert one["shape"].tolist() == ["24x3x3x3", "30x24x3", "40x30"]


KERNELS = [(16, 24, 5), (16, 24, 2, 3, 4), (16, 24, 2, 2, 2, 2), (16, 24, 1)]


@pytest.mark.parametrize("shape", KERNELS)
def test_a_kernel_of_any_dimensions_is_the_matrices_of_its_places(shape):
    weight = normal(*shape)
    row = only(weight)
    places = weight.flatten(2).movedim(-1, 0)
    assert row["shape"] == "x".join(map(str, shape))
    assert row["eigenvalues"] == len(places) * 16
    if row["eigenvalues"] >= 20:
        assert row["alpha"] == pytest.approx(hill(squares(places)), rel=1e-9)
        assert row["farms_alpha"] == pytest.approx(hill(squares(places[:, :, :16])), rel=1e-9)
    assert row["spectral_norm"] ** 2 == pytest.approx(squares(weight.flatten(1)[None])[-1], rel=1e-12)


def test_a_stack_of_matrices_is_their_spectra_together():
    experts = normal(4, 16, 24)
    row = only(experts)
    assert row["eigenvalues"] == 4 * 16
    assert row["alpha"] == pytest.approx(hill(squares(experts)), rel=1e-9)


def test_a_long_convolution_is_told_from_a_stack_by_its_module():
    layer = nn.Conv1d(16, 8, 25, bias=False)
    with torch.no_grad():
        layer.weight.copy_(normal(8, 16, 25))
    for model, name in ((layer, "weight"), (nn.Sequential(layer), "0.weight")):
        row = farms.report(model).iloc[0]
        assert row["layer"] == name
        assert row["alpha"] == pytest.approx(hill(squares(layer.weight.detach().movedim(-1, 0))), rel=1e-9)
    assert only(layer.weight)["eigenvalues"] == 8 * 16  # by its shape alone, 8 matrices of 16 x 25


@pytest.mark.parametrize("shape", [(1, 40, 24), (1, 1, 40, 24), (1, 1, 1, 40, 24)])
def test_leading_ones_are_no_kernel(shape):
    weight = normal(*shape)
    row = only(weight)
    assert row["eigenvalues"] == 24
    assert row["alpha"] == spectrum.alpha(weight.reshape(40, 24)).item()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_weights_of_any_floating_type_work(dtype):
    weight = normal(60, 40, dtype=dtype)
    row, exact = only(weight), only(weight.double())
    for name in ("farms_alpha", "alpha", "spectral_norm", "frobenius_norm", "stable_rank", "spikes"):
        assert row[name] == pytest.approx(exact[name], rel=1e-9), name


def test_index_tables_masks_and_vectors_are_left_out():
    frame = farms.report(
        {
            "positions": torch.zeros(1, 30, dtype=torch.int64),
            "mask": torch.ones(30, 30, dtype=torch.bool),
            "scale": torch.ones(()),
            "bias": torch.ones(30),
            "nothing": torch.ones(0, 30),
            "weight": normal(30, 30),
        }
    )
    assert frame["layer"].tolist() == ["weight"]


FEW = "farms_alpha: 9 eigenvalues, a fit takes 20; alpha: 1 eigenvalue, a fit takes 20"
UNDEFINED = {
    "zero": (torch.zeros(30, 40), "the matrix is zero", {"spectral_norm": 0, "frobenius_norm": 0}),
    "rank one": (
        torch.ones(30, 40),
        "more than half of the eigenvalues are zero",
        {"spectral_norm": math.sqrt(1200), "stable_rank": 1, "effective_rank": 1, "spikes": 1},
    ),
    "equal": (2 * torch.eye(30), "all eigenvalues of the tail are equal", {"stable_rank": 30, "spikes": 0}),
    "one row": (torch.ones(1, 50), FEW, {"spectral_norm": math.sqrt(50), "stable_rank": 1}),
    "one column": (torch.ones(50, 1), FEW, {"spectral_norm": math.sqrt(50), "stable_rank": 1}),
    "one number": (torch.full((1, 1), -2.0), "1 eigenvalue, a fit takes 20", {"spectral_norm": 2}),
    "NaN": (normal(30, 30).fill_diagonal_(torch.nan), "weights are not finite", {}),
    "infinite": (normal(30, 30).fill_diagonal_(torch.inf), "weights are not finite", {}),
}
NORMS = ("spectral_norm", "frobenius_norm", "stable_rank", "effective_rank", "bulk_edge", "spikes")


@pytest.mark.parametrize("name", UNDEFINED)
def test_what_has_no_exponent_says_why(name):
    weight, reason, known = UNDEFINED[name]
    row = only(weight)
    assert row["reason"] == reason
    assert row[["farms_alpha", "alpha", "alpha_hat", "log_alpha_norm"]].isna().all()
    for column, value in known.items():
        assert row[column] == pytest.approx(value, abs=1e-9), column
    if reason == "weights are not finite":
        assert row[list(NORMS)].isna().all()
        assert row[[f"{measure}_null" for measure in NULL_MEASURES]].isna().all()


def test_a_reason_names_the_exponents_that_are_missing():
    columns = torch.linalg.qr(normal(60, 30, dtype=torch.float64)).Q
    row = only(columns)
    assert row["reason"] == "alpha: all eigenvalues of the tail are equal"
    assert math.isfinite(row["farms_alpha"])
    assert row["stable_rank"] == pytest.approx(30, rel=1e-9)


def test_a_single_fit_without_a_tail_is_named():
    """The peak of the histogram is the largest value, many times: no tail begins there."""
    values = torch.cat([torch.linspace(1, 3, 16), torch.full((14,), 4.0)])
    row = only(torch.diag(values))
    assert row["reason"] == (
        "farms_alpha_xmin_peak: no tail where this fit looks for one; "
        "alpha_xmin_peak: no tail where this fit looks for one"
    )
    assert math.isfinite(row["alpha"])


def test_one_bad_layer_spoils_only_itself():
    good = normal(30, 30)
    alone = farms.report({"good": good})
    frame = farms.report({"bad": torch.full((30, 30), torch.nan), "good": good})
    assert frame.drop(columns="reason").iloc[1].equals(alone.drop(columns="reason").iloc[0].rename(1))
    assert frame["reason"].notna().tolist() == [True, False]


def test_parameters_are_neither_changed_nor_tracked():
    layer = nn.Linear(30, 30)
    before = layer.weight.detach().clone()
    farms.report(layer)
    assert torch.equal(layer.weight, before)
    assert layer.weight.requires_grad
    assert layer.weight.grad is None


REFUSED = {
    "int8": (torch.zeros(3, 3, dtype=torch.int8), r"'w': expected weights of float16.*got int8;.*floats"),
    "uint8": (torch.zeros(3, 3, dtype=torch.uint8), r"'w': expected weights .*got uint8;"),
    "int32": (torch.zeros(3, 3, dtype=torch.int32), r"'w': expected weights .*got int32;"),
    "float8": (torch.zeros(3, 3).to(torch.float8_e4m3fn), r"'w': expected weights .*got float8_e4m3fn;"),
    "complex": (torch.zeros(3, 3, dtype=torch.complex64), r"'w': expected weights .*got complex64;"),
    "meta": (torch.zeros(3, 3, device="meta"), r"'w': expected weights, got a tensor without values"),
    "sparse": (torch.eye(3).to_sparse(), r"'w': expected a dense tensor, got torch.sparse_coo; .*to_dense"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_tensor_whose_numbers_are_not_the_weights_is_refused_by_name(kind):
    tensor, message = REFUSED[kind]
    with pytest.raises(UndefinedMetricError, match=message):
        farms.report({"fine": torch.eye(30), "w": tensor})


def test_a_layer_that_has_seen_no_input_is_refused():
    with pytest.raises(
        UndefinedMetricError, match=r"'0.weight': expected weights, got a tensor without values"
    ):
        farms.report(nn.Sequential(nn.LazyLinear(3)))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            {"bias": torch.ones(3)},
            r"at least one weight matrix, got 1 tensors: 'bias' float32 \(3,\); vectors",
        ),
        ({"w": torch.ones(3, 3, dtype=torch.int64)}, r"got 1 tensors: 'w' int64 \(3, 3\);.*index tables"),
        ({f"b{i}": torch.ones(2) for i in range(9)}, r"got 9 tensors: 'b0'.*'b2' float32 \(2,\), \.\.\.;"),
        ({}, "at least one weight matrix, got 0 tensors; vectors"),
        (nn.ReLU(), "at least one weight matrix, got 0 tensors; vectors"),
    ],
)
def test_a_model_without_a_matrix_is_refused(model, message):
    with pytest.raises(UndefinedMetricError, match=message):
        farms.report(model)


def test_what_is_no_model_is_refused():
    unchecked = inspect.unwrap(weights_of)  # without the checks of types that only the tests switch on
    with pytest.raises(
        SpecificationError, match=r"a torch.nn.Module or tensors by name, got str; load a file"
    ):
        unchecked("model.safetensors")
    with pytest.raises(SpecificationError, match=r"got int under 'epoch'; pass the state dict alone"):
        unchecked({"w": torch.eye(3), "epoch": 3})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0}, "a window has at least 1 row .*got 0 and 9"),
        ({"windows_per_dim": 0}, "got 100 and 0"),
        ({"aspect_ratio": -1.0}, "aspect_ratio: expected columns over rows, above 0, got -1.0"),
    ],
)
def test_windows_out_of_range_are_refused_before_the_model_is_read(options, message):
    with pytest.raises(SpecificationError, match=message):
        farms.report({}, **options)


STREAMED = """
import json, resource, torch
from zoo.metrics import farms
torch.set_num_threads(1)

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10

farms.report({"w": torch.randn(300, 256)})  # libraries and their buffers
found = []
for dtype in (torch.bfloat16, torch.float32):
    weight = torch.randn(50_000, 256, dtype=dtype)
    before = peak()
    row = farms.report({"embedding.weight": weight}).iloc[0]
    columns = ("alpha", "alpha_null", "farms_alpha", "farms_alpha_null", "stable_rank", "farms_eigenvalues")
    found.append({name: float(row[name]) for name in columns} | {"grown": peak() - before})
print(json.dumps(found))
"""


def test_a_large_embedding_is_streamed():
    """In a process of its own; its float64 copy, or that of one draw of its null, would take 102 MB."""
    command = [sys.executable, "-c", STREAMED]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert len(found) == 2
    for row in found:
        assert row["grown"] < 90 << 20
        assert row["farms_eigenvalues"] == 81 * 100
        assert row["alpha"] == pytest.approx(row["alpha_null"], rel=0.1)
        assert row["farms_alpha"] == pytest.approx(row["farms_alpha_null"], rel=0.05)
        # the largest eigenvalue of noise is (sqrt(m) + sqrt(n))^2
        assert row["stable_rank"] == pytest.approx(50_000 * 256 / (50_000**0.5 + 16) ** 2, rel=0.01)
