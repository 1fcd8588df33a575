// The cases of projection_test.cpp on a GPU.
#define REARM_TEST_CUDA
#include "../nn/projection_test.cpp"
