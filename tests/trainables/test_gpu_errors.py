"""Messages are torch's, from its sources and from the field; none was met here, as there is no GPU."""

import gc
import weakref

import pytest
import torch

from trainables.gpu_errors import empty_cache, let_go, out_of_memory, poisons

ADVICE = (
    "\nSearch for `cudaErrorAssert' in https://docs.nvidia.com/cuda/cuda-runtime-api/group__CUDART__TYPES.html for more"
    " information.\nCUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below"
    " might be incorrect.\nFor debugging consider passing CUDA_LAUNCH_BLOCKING=1\n"
)
OF_MEMORY = [
    torch.OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.11 GiB of which 1.12 GiB is "
        "free. Including non-PyTorch memory, this process has 77.9 GiB memory in use."
    ),
    torch.AcceleratorError("CUDA error: out of memory" + ADVICE),  # as a context is made, or memory pinned
    RuntimeError("CUDA error: out of memory" + ADVICE),
    RuntimeError("CUDA driver error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
    RuntimeError("cuDNN Frontend error: [cudnn_frontend] Error: cuModuleLoadData failed: CUDA_ERROR_OUT_OF_MEMORY"),
    RuntimeError("CUDA error: HIPBLAS_STATUS_ALLOC_FAILED when calling `hipblasCreate(handle)`"),
    RuntimeError("HIP error: out of memory"),
]
OF_THE_CONTEXT = [
    torch.AcceleratorError("CUDA error: device-side assert triggered" + ADVICE),
    torch.AcceleratorError("CUDA error: an illegal memory access was encountered" + ADVICE),
    torch.AcceleratorError("CUDA error: unspecified launch failure" + ADVICE),
    torch.AcceleratorError("CUDA error: operation failed due to a previous error during capture" + ADVICE),
    torch.AcceleratorError("in words to come"),
    RuntimeError("CUDA error: unspecified launch failure"),
    RuntimeError("CUDA error: uncorrectable ECC error encountered"),
    RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm( handle, opa, opb, m, n, k)`"),
    RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
    RuntimeError("CUDA driver error: unknown error"),
    RuntimeError("CUDA driver initialization failed, you might not have a CUDA gpu."),
    RuntimeError("CUDA unknown error - this may be due to an incorrectly set up environment"),
    RuntimeError("CUDA NVRTC error: NVRTC_ERROR_INTERNAL_ERROR"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED"),
    RuntimeError("cuDNN Frontend error: [cudnn_frontend] Error: No valid execution plans built."),
    RuntimeError("cuFFT error: CUFFT_INTERNAL_ERROR"),
    RuntimeError("CUBLAS error: not initialized (1) in gemm at Blas.cpp:12"),
    RuntimeError("cusolver error: CUSOLVER_STATUS_INTERNAL_ERROR, when calling `cusolverDnCreate(handle)`"),
    RuntimeError("HIP error: an illegal memory access was encountered"),
    RuntimeError("miopenStatusUnknownError"),
]
OF_THE_TRIAL_S_OWN = [
    RuntimeError("mat1 and mat2 shapes cannot be multiplied (64x784 and 800x10)"),
    RuntimeError("Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!"),
    RuntimeError("cuDNN cannot be used for large non-batch-splittable convolutions if the V8 API is not enabled"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:120] DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("No CUDA GPUs are available"),
    ValueError("CUDA error: of a text that somebody wrote"),
    MemoryError(),
    OSError("out of memory"),
]


@pytest.mark.parametrize("error", OF_MEMORY, ids=str)
def test_too_little_memory_leaves_the_process_whole(error):
    assert (out_of_memory(error), poisons(error)) == (True, False)


@pytest.mark.parametrize("error", OF_THE_CONTEXT, ids=str)
def test_any_other_error_of_the_gpu_may_have_poisoned_it(error):
    assert (out_of_memory(error), poisons(error)) == (False, True)


@pytest.mark.parametrize("error", OF_THE_TRIAL_S_OWN, ids=str)
def test_what_is_not_the_gpu_s_is_the_trial_s_own(error):
    assert (out_of_memory(error), poisons(error)) == (False, False)


def raised(first: Exception, then: Exception, *, told: bool) -> Exception:
    """Return `then` as it is after it was raised while `first` was handled, or because of it."""
    try:
        try:
            raise first
        except Exception as cause:
            if told:
                raise then from cause
            raise then  # noqa: B904 that is the other case
    except Exception as error:
        return error


@pytest.mark.parametrize("told", [False, True])
def test_what_is_raised_while_an_error_is_cleared_up_does_not_hide_it(told):
    poison, memory = RuntimeError("CUDA error: unspecified launch failure"), torch.OutOfMemoryError("no room")
    own = RuntimeError("the generator is not where it was")
    assert poisons(raised(poison, own, told=told))
    assert out_of_memory(raised(memory, own, told=told))
    both = raised(memory, poison, told=told)
    assert (out_of_memory(both), poisons(both)) == (False, True)


def test_an_error_that_is_its_own_cause_is_looked_at_once():
    error = RuntimeError("a circle")
    error.__cause__ = error
    assert (out_of_memory(error), poisons(error)) == (False, False)


def test_what_the_frames_of_an_error_held_is_free_at_once():
    held = []

    def fail(*, again: bool = False) -> None:
        batch = torch.zeros(4)
        held.append(weakref.ref(batch))
        try:
            if not again:
                fail(again=True)
            raise torch.OutOfMemoryError("no room")
        except torch.OutOfMemoryError as error:
            kept = error  # the cycle: the error knows the frame, and the frame the error
            raise kept from error.__context__

    gc.disable()
    try:
        try:
            fail()
        except torch.OutOfMemoryError as error:
            let_go(error)
        assert [each() for each in held] == [None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize("used", [False, True])
def test_the_cache_is_emptied_only_where_a_gpu_is_in_use(used, monkeypatch):
    done = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: used)
    monkeypatch.setattr(gc, "collect", lambda: done.append("garbage collected"))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: done.append("cache emptied"))
    empty_cache()
    assert done == ["garbage collected", "cache emptied"] * used
