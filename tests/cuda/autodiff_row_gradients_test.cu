// The cases of row_gradients_test.cpp on a GPU.
#define REARM_TEST_CUDA
#include "../autodiff/row_gradients_test.cpp"
