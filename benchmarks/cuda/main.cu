// main.cpp on a GPU.
#define REARM_BENCH_CUDA
#include "../main.cpp"
