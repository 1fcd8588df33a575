// The cases of training_test.cpp on a GPU.
#define REARM_TEST_CUDA
#include "../train/training_test.cpp"
