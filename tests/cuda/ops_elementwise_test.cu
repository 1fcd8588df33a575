// The cases of elementwise_test.cpp on a GPU.
#define REARM_TEST_CUDA
#include "../ops/elementwise_test.cpp"
