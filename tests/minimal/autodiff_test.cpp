// The cases of tests/autodiff on a backend that has no more than it must.
#define REARM_TEST_MINIMAL
#include "../autodiff/dense_gradients_test.cpp"
#include "../autodiff/edge_attention_gradients_test.cpp"
#include "../autodiff/edge_values_gradients_test.cpp"
#include "../autodiff/elementwise_gradients_test.cpp"
#include "../autodiff/norm_gradients_test.cpp"
#include "../autodiff/row_gradients_test.cpp"
#include "../autodiff/sampled_gradients_test.cpp"
#include "../autodiff/tape_test.cpp"
