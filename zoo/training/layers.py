"""Layers of `nn.Sequential` run for a whole stack by one batched kernel each, where `vmap` takes several.

Between layers activations stand in one of two forms: apart, `(models, batch, channels, ...)`, as products of
matrices take them; or merged, `(batch, models * channels, ...)`, as grouped convolutions, pools and
normalisations do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from zoo.training.dropout import SeededDropout
from zoo.training.tangents import TanhTangent


class Activation(NamedTuple):
    """What flows between two layers.

    Attributes:
        value: Merged or apart.
        models: Number of networks.
        merged: Which of both.
        spare: Whether the next layer may overwrite it: nobody needs it for the backward pass.
    """

    value: Tensor
    models: int
    merged: bool
    spare: bool = False

    def apart(self) -> Tensor:
        """Give it as `(models, batch, channels, ...)`."""
        if not self.merged:
            return self.value
        apart = self.value.view(len(self.value), self.models, -1, *self.value.shape[2:])
        return apart.transpose(0, 1)

    def together(self) -> Tensor:
        """Give it as `(batch, models * channels, ...)`, images with the channels innermost in memory."""
        if self.merged:
            return self.value
        merged = self.value.transpose(0, 1).flatten(1, 2)
        return _channels_last(merged, self.models)

    def with_value(self, value: Tensor, *, merged: bool, spare: bool = False) -> Activation:
        """Give what follows it.

        Args:
            value: The new value.
            merged: Its form.
            spare: Whether it may be overwritten.

        Returns:
            The next activation of the same networks.
        """
        return Activation(value, self.models, merged, spare)


def _channels_last(tensor: Tensor, models: int) -> Tensor:
    # Otherwise the library of convolutions reorders every image at each call; one network gains nothing.
    if models == 1 or tensor.ndim != 4:
        return tensor
    return tensor.contiguous(memory_format=torch.channels_last)


Tensors = Mapping[str, Tensor]
Run = Callable[[nn.Module, Tensors, Activation], Activation]
"""From a layer, its tensors `(models, ...)` by their last name, and its input to its output."""


def _linear(_layer: nn.Module, tensors: Tensors, x: Activation) -> Activation:
    inputs = x.apart()
    flat = inputs.flatten(1, -2)  # items of sequences are items
    weight = tensors["weight"].mT
    bias = tensors.get("bias")
    output = torch.bmm(flat, weight) if bias is None else torch.baddbmm(bias.unsqueeze(1), flat, weight)
    output = output.view(*inputs.shape[:-1], -1) if inputs.ndim > 3 else output
    return x.with_value(output, merged=False)


def _conv2d(layer: nn.Module, tensors: Tensors, x: Activation) -> Activation:
    assert isinstance(layer, nn.Conv2d)
    kernel = _channels_last(tensors["weight"].flatten(0, 1), x.models)
    bias = tensors["bias"].flatten() if "bias" in tensors else None
    output = functional.conv2d(
        x.together(), kernel, bias, layer.stride, layer.padding, layer.dilation, groups=x.models
    )
    return x.with_value(output, merged=True, spare=True)


def _relu(_layer: nn.Module, _tensors: Tensors, x: Activation) -> Activation:
    output = torch.relu_(x.value) if x.spare else torch.relu(x.value)
    return x.with_value(output, merged=x.merged)


def _elementwise(layer: nn.Module, _tensors: Tensors, x: Activation) -> Activation:
    return x.with_value(layer(x.value), merged=x.merged)  # treats every number alike, in either form


def _pool(layer: nn.Module, _tensors: Tensors, x: Activation) -> Activation:
    inputs = x.apart()
    if inputs.ndim != 5:  # images without channels, which the pools take too
        return x.with_value(layer(inputs.flatten(0, 1)).unflatten(0, (x.models, -1)), merged=False)
    return x.with_value(layer(x.together()), merged=True)


def _flatten(_layer: nn.Module, _tensors: Tensors, x: Activation) -> Activation:
    return x.with_value(x.apart().flatten(2), merged=False)


def _dropout(layer: nn.Module, tensors: Tensors, x: Activation) -> Activation:
    assert isinstance(layer, SeededDropout)
    return x.with_value(layer.stacked(x.apart(), tensors["key"]), merged=False)


def _batch_norm(layer: nn.Module, tensors: Tensors, x: Activation) -> Activation:
    assert isinstance(layer, nn.modules.batchnorm._BatchNorm)
    flat = {name: tensor.flatten() for name, tensor in tensors.items()}
    if layer.training and "num_batches_tracked" in tensors:
        tensors["num_batches_tracked"].add_(1)
    output = functional.batch_norm(
        x.together(),
        flat.get("running_mean"),
        flat.get("running_var"),
        flat.get("weight"),
        flat.get("bias"),
        layer.training or "running_mean" not in flat,
        layer.momentum or 0.0,
        layer.eps,
    )
    return x.with_value(output, merged=True)


def _group_norm(layer: nn.Module, tensors: Tensors, x: Activation) -> Activation:
    assert isinstance(layer, nn.GroupNorm)
    flat = {name: tensor.flatten() for name, tensor in tensors.items()}
    groups = layer.num_groups * x.models
    output = functional.group_norm(x.together(), groups, flat.get("weight"), flat.get("bias"), layer.eps)
    return x.with_value(output, merged=True)


def _layer_norm(layer: nn.Module, tensors: Tensors, x: Activation) -> Activation:
    assert isinstance(layer, nn.LayerNorm)
    output = functional.layer_norm(x.apart(), layer.normalized_shape, eps=layer.eps)
    wide = (x.models, *[1] * (output.ndim - 1 - len(layer.normalized_shape)), *layer.normalized_shape)
    if "weight" in tensors:
        output = output * tensors["weight"].view(wide)
    if "bias" in tensors:
        output = output + tensors["bias"].view(wide)
    return x.with_value(output, merged=False)


_STACKED: dict[type[nn.Module], Run] = {
    nn.Linear: _linear,
    nn.Conv2d: _conv2d,
    nn.ReLU: _relu,
    nn.Tanh: _elementwise,
    nn.Sigmoid: _elementwise,
    nn.GELU: _elementwise,
    nn.MaxPool2d: _pool,
    nn.AvgPool2d: _pool,
    nn.AdaptiveAvgPool2d: _pool,
    nn.Flatten: _flatten,
    nn.BatchNorm1d: _batch_norm,
    nn.BatchNorm2d: _batch_norm,
    nn.GroupNorm: _group_norm,
    nn.LayerNorm: _layer_norm,
    nn.Dropout: _elementwise,
    SeededDropout: _dropout,
}


def _is_known(layer: nn.Module) -> bool:
    """Say whether a layer has a batched kernel here, with the options that it has."""
    if isinstance(layer, nn.Conv2d):
        return layer.groups == 1 and layer.padding_mode == "zeros"
    if isinstance(layer, nn.modules.batchnorm._BatchNorm) and layer.momentum is None:
        return False
    if isinstance(layer, nn.Flatten) and (layer.start_dim, layer.end_dim) != (1, -1):
        return False
    if isinstance(layer, nn.Dropout) and layer.training:
        return False  # it would draw from the global generator; in eval mode it does nothing
    if isinstance(layer, nn.MaxPool2d) and layer.return_indices:
        return False
    return type(layer) in _STACKED


class Layer(NamedTuple):
    """One layer of a network.

    Attributes:
        name: Its name in the `nn.Sequential`.
        module: The layer.
        tensors: Last names of the tensors that it uses.
    """

    name: str
    module: nn.Module
    tensors: tuple[str, ...]

    def own(self, tensors: Tensors) -> Tensors:
        """Pick the layer's tensors.

        Args:
            tensors: By full name.

        Returns:
            By last name.
        """
        return {name: tensors[f"{self.name}.{name}"] for name in self.tensors}


def stackable(module: nn.Module) -> list[Layer]:
    """List the layers of a network, if each of them has a batched kernel here.

    Args:
        module: The network.

    Returns:
        Its layers; none where it is no plain `nn.Sequential` of known layers.
    """
    if type(module) is not nn.Sequential or not all(map(_is_known, module)):
        return []
    # not named_children, which leaves out a layer that stands there again
    return [
        Layer(name, layer, _tensor_names(layer))
        for name, layer in module._modules.items()
        if layer is not None
    ]


def _tensor_names(layer: nn.Module) -> tuple[str, ...]:
    named = (*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False))
    return tuple(name for name, _ in named)


def run_layers(layers: Sequence[Layer], tensors: Tensors, inputs: Tensor) -> Tensor:
    """Run a stack of networks layer by layer.

    Args:
        layers: What `stackable` found.
        tensors: `(n_models, ...)` by full name.
        inputs: `(n_models, batch, ...)`.

    Returns:
        `(n_models, batch, ...)`.
    """
    flow = Activation(inputs, len(inputs), merged=False)
    for layer in layers:
        flow = _STACKED[type(layer.module)](layer.module, layer.own(tensors), flow)
    return flow.apart()


def has_tangents(layers: Sequence[Layer]) -> bool:
    """Say whether `run_tangents` knows every layer: a perceptron with tanh.

    Args:
        layers: What `stackable` found.

    Returns:
        Whether it does.
    """
    return bool(layers) and all(type(layer.module) in {nn.Linear, nn.Tanh} for layer in layers)


def run_tangents(
    layers: Sequence[Layer], tensors: Tensors, inputs: Tensor, directions: Tensor
) -> tuple[Tensor, Tensor]:
    """Run a stack of tanh perceptrons together with a derivative along a direction of the inputs.

    The tangent goes forward with the values (Griewank and Walther 2008, section 3.1), so that a loss that
    holds it needs one backward pass, not a backward pass of a backward pass.

    Args:
        layers: Linear and tanh layers.
        tensors: `(n_models, ...)` by full name.
        inputs: `(n_models, items, features)`.
        directions: `(n_models, n, features)` for the first n items, which alone need it.

    Returns:
        Outputs `(n_models, items, outputs)` and their derivatives `(n_models, n, outputs)`.
    """
    value, tangent = inputs, directions
    for layer in layers:
        if isinstance(layer.module, nn.Tanh):
            value, tangent = TanhTangent.apply(value, tangent)  # type: ignore[no-untyped-call]
            continue
        own = layer.own(tensors)
        value = _linear(layer.module, own, Activation(value, len(value), merged=False)).value
        tangent = torch.bmm(tangent, own["weight"].mT)
    return value, tangent
