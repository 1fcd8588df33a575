// The cases of blocks_test.cpp on a GPU.
#define REARM_TEST_CUDA
#include "../nn/blocks_test.cpp"
