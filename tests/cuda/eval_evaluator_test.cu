// The cases of evaluator_test.cpp on a GPU.
#define REARM_TEST_CUDA
#include "../eval/evaluator_test.cpp"
