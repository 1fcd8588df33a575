// The cases of paper_model_test.cpp on a GPU.
#define REARM_TEST_CUDA
#include "../parity/paper_model_test.cpp"
