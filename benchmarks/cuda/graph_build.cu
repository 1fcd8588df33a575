// graph_build.cpp on a GPU.
#define REARM_BENCH_CUDA
#include "../graph/graph_build.cpp"
