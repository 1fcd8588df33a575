// The cases of gemm_test.cpp on a GPU.
#define REARM_TEST_CUDA
#include "../ops/gemm_test.cpp"
