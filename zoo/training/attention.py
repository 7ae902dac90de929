"""Attention in a form that `vmap` has rules for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def batched_attention() -> Iterator[None]:
    """Run attention as plain matrix products: torch's fused kernels run network by network under `vmap`.

    On CUDA some of them are not reproducible besides.

    Yields:
        Nothing.
    """
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
