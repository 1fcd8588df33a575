// The cases of tests/models, and of the baselines' parity, on a GPU.
#define REARM_TEST_CUDA
#include "../models/contract_test.cpp"
#include "../parity/baselines_test.cpp"
