// A part of a program that run.cmake compiles twice, for any machine and for this one: REARM_PART names its function.
#include <rearm/backend/cpu/cpu_backend.hpp>
#include <rearm/data/interactions.hpp>
#include <rearm/ops/elementwise.hpp>
#include <rearm/ops/gemm.hpp>
#include <rearm/ops/map.hpp>

#include <cstdio>

// Plain types alone at the border: those of rearm are others in the other part.
extern "C" void REARM_PART(const char* name) {
  using B = rearm::CpuBackend<float>;
  constexpr rearm::Index n = 48;
  rearm::Context<B> ctx({.threads = 1});
  rearm::Matrix<float> x(n, n), y(n, n), sum(1, 1);
  for (rearm::Index i = 0; i < x.size(); ++i) x.data()[i] = static_cast<float>(i % 97) / 97 - 0.5F;
  rearm::gemm(ctx, rearm::Op::none, rearm::Op::transpose, 0.1F, x.view(), x.view(), y.view());
  rearm::map<rearm::functors::Exp>(ctx, y.view(), y.view());
  rearm::dot_sum(ctx, 1.0F, x.view(), y.view(), sum.view());
  std::printf("%s %a %a\n", name, static_cast<double>(sum(0, 0)), static_cast<double>(y(1, 2)));
}
