// The cases of tests/model on a GPU.
#define REARM_TEST_CUDA
#include "../model/model_gradient_test.cpp"
