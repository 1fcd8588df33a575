// The cases of adamw_test.cpp on a GPU.
#define REARM_TEST_CUDA
#include "../optim/adamw_test.cpp"
