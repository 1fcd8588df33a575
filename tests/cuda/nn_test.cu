// The cases of tests/nn, the small folders and the blocks of models on a GPU: in one file, since most of the time goes
// into the headers.
#define REARM_TEST_CUDA
#include "../core/parameters_test.cpp"
#include "../eval/evaluator_test.cpp"
#include "../loss/contrast_test.cpp"
#include "../loss/loss_test.cpp"
#include "../models/rearm/blocks_test.cpp"
#include "../models/rearm/objective_test.cpp"
#include "../nn/blocks_test.cpp"
#include "../nn/projection_test.cpp"
#include "../optim/adamw_test.cpp"
