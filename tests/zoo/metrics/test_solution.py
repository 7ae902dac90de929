import numpy as np
import torch
from torch.func import functional_call, grad, vmap

from zoo.metrics.solution import SOLUTION, relative_error
from zoo.weights import unflatten


def test_the_relative_error_agrees_with_numpy():
    draw = np.random.default_rng(0)
    found, exact = draw.normal(size=(3, 50)), draw.normal(size=50)
    ours = relative_error(torch.tensor(found), torch.tensor(exact))
    reference = [np.sqrt(((row - exact) ** 2).sum() / (exact**2).sum()) for row in found]
    np.testing.assert_allclose(ours, reference, rtol=1e-12)


def test_errors_and_losses_agree_with_networks_run_one_by_one(convection):
    frame = SOLUTION.compute(convection).frame
    module, data = convection.skeleton().double(), convection.dataset
    for row, weights in enumerate(convection.weights):
        tensors = unflatten(torch.tensor(weights).double(), convection.layout)

        def u(x, t, tensors=tensors):
            return functional_call(module, tensors, (torch.stack([x, t]),))[0]

        exact = data.test.y.double()
        found = vmap(u)(*data.test.x.double().T)
        assert np.isclose(frame["test_loss"][row], (found - exact).square().mean(), rtol=1e-5)
        assert np.isclose(frame["test_error"][row], (found - exact).norm() / exact.norm(), rtol=1e-5)
        x, t, start, edge = data.train.x.double().T
        residual = vmap(grad(u, argnums=1))(x, t) + 3 * vmap(grad(u))(x, t)
        start, edge = start[:8], edge[:8]  # a quarter of the points
        initial = vmap(u)(start, torch.zeros_like(start)) - start.sin()
        periodic = vmap(u)(torch.zeros_like(edge), edge) - vmap(u)(torch.full_like(edge, 2 * np.pi), edge)
        loss = sum(part.square().mean() for part in (residual, initial, periodic))
        assert np.isclose(frame["train_loss"][row], loss.detach(), rtol=1e-5)


def test_weights_that_give_no_numbers_give_a_reason(convection):
    convection.weights[1] = np.nan
    frame = SOLUTION.compute(convection).frame
    assert frame.loc[1, "solution_reason"] == "weights or outputs are not finite"
    assert frame.loc[1, [column.name for column in SOLUTION.columns]].isna().all()
    assert frame.drop(index=1).notna().drop(columns="solution_reason").all(axis=None)
