// The cases of attention_test.cpp on a GPU.
#define REARM_TEST_CUDA
#include "../ops/attention_test.cpp"
