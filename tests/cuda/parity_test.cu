// The cases of tests/parity on a GPU: in one file, since most of the time goes into the headers.
#define REARM_TEST_CUDA
#include "../parity/eval_parity_test.cpp"
#include "../parity/paper_model_test.cpp"
#include "../parity/reference_model_test.cpp"
