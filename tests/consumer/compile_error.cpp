// REARM_CASE 0 compiles; the others must not. 3 is compiled with -ffast-math.
#include <rearm/backend/cpu/cpu_backend.hpp>

void use() {
#if REARM_CASE == 0 || REARM_CASE == 3
  rearm::Context<rearm::CpuBackend<float>> ctx;
#elif REARM_CASE == 1
  rearm::Context<rearm::CpuBackend<int>> ctx;
#else
  rearm::Context<int> ctx;
#endif
}
