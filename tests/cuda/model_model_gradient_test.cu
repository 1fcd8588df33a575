// The cases of model_gradient_test.cpp on a GPU.
#define REARM_TEST_CUDA
#include "../model/model_gradient_test.cpp"
