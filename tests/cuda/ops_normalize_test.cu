// The cases of normalize_test.cpp on a GPU.
#define REARM_TEST_CUDA
#include "../ops/normalize_test.cpp"
