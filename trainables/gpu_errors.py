"""What an error from a GPU means for the process that met it: too little memory, or a context that is of no more use.

Known by torch's own types, and by how its messages begin: cuBLAS, cuDNN and the driver come as plain RuntimeErrors.
"""

from __future__ import annotations

import gc
import traceback
from collections.abc import Iterator

import torch

# What a failed allocation is called: by cudaGetErrorString, the driver, cuBLAS, cuDNN before 9 and from 9 on. That of
# memory of the host (CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED) is none of the GPU's.
NO_MEMORY = (
    "CUDA error: out of memory",
    "CUDA driver error: out of memory",
    "CUDA_ERROR_OUT_OF_MEMORY",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "HIP error: out of memory",
    "HIPBLAS_STATUS_ALLOC_FAILED",
)
# How messages begin after which nothing can be said of the context. Some of these errors leave it whole (an invalid
# argument); a process more is the smaller loss. "cuDNN cannot be used for …" is torch's own refusal and not among them.
OF_THE_CONTEXT = (
    "CUDA error",
    "CUDA driver error",
    "CUDA driver initialization failed",
    "CUDA unknown error",
    "CUDA NVRTC error",
    "CUBLAS error",
    "cuDNN error",
    "cuDNN Frontend error",
    "cuFFT error",
    "cusolver error",
    "HIP error",
    "miopen",
)


def out_of_memory(error: BaseException) -> bool:
    """Tell whether a GPU had too little memory. Its context is whole: with more room the same may succeed."""
    causes = list(_causes(error))
    return any(map(_is_of_memory, causes)) and not any(map(_is_of_the_context, causes))


def poisons(error: BaseException) -> bool:
    """Tell whether the process can compute on its GPU no more, so that whatever it does next would fail as well."""
    return any(map(_is_of_the_context, _causes(error)))


def let_go(error: BaseException) -> None:
    """Free what the frames of an error that was handled hold: batches, logits, a model.

    Their names and the error refer to each other, so that all of it would stay until the next collection of garbage.
    """
    for cause in _causes(error):
        traceback.clear_frames(cause.__traceback__)


def empty_cache() -> None:
    """Give the GPU's memory that torch keeps for later to the processes beside, where this one uses a GPU.

    Before that goes what only refers to itself, whoever made it so: a few tenths of a second at most, once a trial.
    """
    if torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Go through an error and those that led to it: what is raised while one is cleared up may hide it."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        yield error
        seen.append(error)
        error = error.__cause__ or error.__context__


def _is_of_memory(error: BaseException) -> bool:
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in NO_MEMORY)


def _is_of_the_context(error: BaseException) -> bool:
    if not isinstance(error, RuntimeError) or _is_of_memory(error):
        return False
    return isinstance(error, torch.AcceleratorError) or str(error).startswith(OF_THE_CONTEXT)
