// The cases of tests/ops on a backend that has no more than it must.
#define REARM_TEST_MINIMAL
#include "../ops/attention_test.cpp"
#include "../ops/bpr_epsilon_test.cpp"
#include "../ops/broadcast_test.cpp"
#include "../ops/edge_attention_test.cpp"
#include "../ops/elementwise_test.cpp"
#include "../ops/frobenius_norm_test.cpp"
#include "../ops/gemm_test.cpp"
#include "../ops/layer_norm_prelu_test.cpp"
#include "../ops/losses_test.cpp"
#include "../ops/map_test.cpp"
#include "../ops/normalize_test.cpp"
#include "../ops/sparse_test.cpp"
