"""CUDA graphs: the kernels of a training step recorded once and launched together ever after.

A step of small networks is many kernels of a few microseconds; launched one by one they wait for the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

_WARM_UP = 3


class GraphedStep:
    """A step with tensors of fixed shapes, recorded as a CUDA graph.

    Args:
        step: Takes tensors and returns one; changes `state` in place; never waits for the device.
        inputs: Tensors of the shapes that it will get.
        state: What it changes; left as it is by the recording.
    """

    def __init__(
        self, step: Callable[..., Tensor], inputs: Sequence[Tensor], state: Sequence[Tensor]
    ) -> None:
        self._inputs = [tensor.clone() for tensor in inputs]
        saved = [tensor.clone() for tensor in state]
        side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):  # libraries choose their kernels here, which no graph may record
            for _ in range(_WARM_UP):
                step(*self._inputs)
        torch.cuda.current_stream().wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._output = step(*self._inputs)
        for tensor, before in zip(state, saved, strict=True):
            tensor.copy_(before)

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Take the step.

        Args:
            inputs: As recorded.

        Returns:
            What the step returned; overwritten by the next call.
        """
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given)
        self._graph.replay()
        return self._output
