// operators.cpp on a GPU.
#define REARM_BENCH_CUDA
#include "../ops/operators.cpp"
