// The cases of tests/models/rearm on a GPU.
#define REARM_TEST_CUDA
#include "../models/rearm/gradient_test.cpp"
