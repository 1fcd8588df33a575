// The cases of tests/autodiff on a GPU: in one file, since most of the time goes into the headers.
#define REARM_TEST_CUDA
#include "../autodiff/dense_gradients_test.cpp"
#include "../autodiff/edge_attention_gradients_test.cpp"
#include "../autodiff/edge_values_gradients_test.cpp"
#include "../autodiff/elementwise_gradients_test.cpp"
#include "../autodiff/norm_gradients_test.cpp"
#include "../autodiff/row_gradients_test.cpp"
#include "../autodiff/sampled_gradients_test.cpp"
#include "../autodiff/tape_test.cpp"
