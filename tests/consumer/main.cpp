// What another project does first: check a configuration, multiply two matrices.
#include <rearm/backend/cpu/cpu_backend.hpp>
#include <rearm/models/rearm/config.hpp>
#include <rearm/version.hpp>

#include <cstdio>

int main() {
  using B = rearm::CpuBackend<float>;
  const rearm::RearmSettings settings = rearm::preset("baby");
  rearm::validate(settings.model, 2);

  rearm::Context<B> ctx({.threads = 1});
  rearm::Matrix<float> a(2, 3), b(3, 2), c(2, 2);
  for (rearm::Index i = 0; i < 6; ++i) a.data()[i] = b.data()[i] = static_cast<float>(i + 1);
  B::gemm(ctx, rearm::Op::none, rearm::Op::none, 1.0f, a.view(), b.view(), c.view(), rearm::Write::overwrite);

  const bool right = c(0, 0) == 22 && c(0, 1) == 28 && c(1, 0) == 49 && c(1, 1) == 64;
  std::printf("rearm %s: %s\n", REARM_VERSION_STRING, right ? "consumer works" : "wrong product");
  return right ? 0 : 1;
}
