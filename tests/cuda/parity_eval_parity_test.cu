// The cases of eval_parity_test.cpp on a GPU.
#define REARM_TEST_CUDA
#include "../parity/eval_parity_test.cpp"
