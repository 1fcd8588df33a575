// The cases of reference_model_test.cpp on a GPU.
#define REARM_TEST_CUDA
#include "../parity/reference_model_test.cpp"
