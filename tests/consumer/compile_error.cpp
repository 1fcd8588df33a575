// REARM_CASE 0 compiles; the others must not.
#include <rearm/backend/cpu/cpu_backend.hpp>

void use() {
#if REARM_CASE == 0
  rearm::Context<rearm::CpuBackend<float>> ctx;
#elif REARM_CASE == 1
  rearm::Context<rearm::CpuBackend<int>> ctx;
#else
  rearm::Context<int> ctx;
#endif
}
