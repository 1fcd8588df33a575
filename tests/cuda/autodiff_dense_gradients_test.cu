// The cases of dense_gradients_test.cpp on a GPU.
#define REARM_TEST_CUDA
#include "../autodiff/dense_gradients_test.cpp"
