// The cases of sparse_test.cpp on a GPU.
#define REARM_TEST_CUDA
#include "../ops/sparse_test.cpp"
