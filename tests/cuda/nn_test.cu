// The cases of tests/nn and the small folders on a GPU: in one file, since most of the time goes into the headers.
#define REARM_TEST_CUDA
#include "../eval/evaluator_test.cpp"
#include "../loss/modality_losses_test.cpp"
#include "../nn/blocks_test.cpp"
#include "../nn/projection_test.cpp"
#include "../optim/adamw_test.cpp"
