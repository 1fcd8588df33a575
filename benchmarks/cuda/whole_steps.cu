// whole_steps.cpp on a GPU.
#define REARM_BENCH_CUDA
#include "../epoch/whole_steps.cpp"
