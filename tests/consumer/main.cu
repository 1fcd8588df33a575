// What another project does first on a GPU: a context, a product. Without a device it says so.
#include <rearm/backend/cuda/cuda_backend.cuh>
#include <rearm/ops/gemm.hpp>
#include <rearm/version.hpp>

#include <cstdio>
#include <vector>

int main() {
  using B = rearm::CudaBackend<float>;
  using rearm::Index;
  if (rearm::gpu::device_count() == 0) {
    std::printf("REARM-SKIPPED: a product on a device: the consumer links, but there is no CUDA device\n");
    return 0;
  }
  rearm::Context<B> ctx;
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  const rearm::Buffer<float, B::Memory> x(values);
  rearm::Matrix<float, B::Memory> c(2, 2);
  const rearm::ConstView<float> a(x.data(), 2, 3), b(x.data(), 3, 2);
  rearm::gemm(ctx, rearm::Op::none, rearm::Op::none, 1.0f, a, b, c.view());
  const rearm::OnHost<float, B::Memory> got(c.view());
  const bool right =
      got.view()(0, 0) == 22 && got.view()(0, 1) == 28 && got.view()(1, 0) == 49 && got.view()(1, 1) == 64;
  std::printf("rearm %s: %s\n", REARM_VERSION_STRING, right ? "consumer works" : "wrong product");
  return right ? 0 : 1;
}
