// The cases of tests/train on a GPU.
#define REARM_TEST_CUDA
#include "../train/training_test.cpp"
