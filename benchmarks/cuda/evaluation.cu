// evaluation.cpp on a GPU.
#define REARM_BENCH_CUDA
#include "../eval/evaluation.cpp"
