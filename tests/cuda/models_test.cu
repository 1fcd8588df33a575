// The cases of tests/models, and of the baselines' parity, on a GPU.
#define REARM_TEST_CUDA
#if defined(__NVCC__)
#pragma nv_diag_suppress 445  // a lambda over models names its model itself, never by an argument
#endif
#include "../models/contract_test.cpp"
#include "../parity/baselines_test.cpp"
