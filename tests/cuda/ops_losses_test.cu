// The cases of losses_test.cpp on a GPU.
#define REARM_TEST_CUDA
#include "../ops/losses_test.cpp"
