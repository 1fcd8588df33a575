// The cases of tape_test.cpp on a GPU.
#define REARM_TEST_CUDA
#include "../autodiff/tape_test.cpp"
