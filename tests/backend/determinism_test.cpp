/// @file determinism_test.cpp
/// One thread and two give the same bits.

#include "tests/support/matrices.hpp"
#include "tests/support/scalars.hpp"

#include <rearm/functors/adam.hpp>

#include <cstdlib>
#include <cstring>
#include <string>

namespace backend_determinism_test {

using namespace rearm;
using namespace rearm::test;

namespace {

/// f(context, out) fills `out`; with one thread, with two, and with two again the bytes are equal.
template <class T, class F>
void same_bits(Index rows, Index cols, const F& f) {
  Matrix<T> results[3];
  const int threads[3] = {1, 2, 2};
  for (int run = 0; run < 3; ++run) {
    Context<CpuBackend<T>> ctx(CpuOptions{threads[run]});
    results[run] = random_matrix<T>(rows, cols, 77);
    f(ctx, results[run].view());
  }
  const auto bytes = static_cast<std::size_t>(rows * cols) * sizeof(T);
  CHECK(std::memcmp(results[0].data(), results[1].data(), bytes) == 0);
  CHECK(std::memcmp(results[0].data(), results[2].data(), bytes) == 0);
}

template <class T>
using Ctx = Context<CpuBackend<T>>;

}  // namespace

TEST_CASE_TEMPLATE("gemm split by rows, by columns and inside", T, REARM_TEST_SCALARS) {
  struct Size {
    Index m, k, n;
  };
  for (const Size size : {Size{300, 40, 30}, Size{4200, 3, 2}, Size{30, 40, 300}, Size{3, 4200, 2}})
    for (const Op op_a : {Op::none, Op::transpose})
      for (const Op op_b : {Op::none, Op::transpose}) {
        CAPTURE(size.m);
        CAPTURE(size.n);
        const auto a = op_a == Op::none ? random_matrix<T>(size.m, size.k, 1) : random_matrix<T>(size.k, size.m, 1);
        const auto b = op_b == Op::none ? random_matrix<T>(size.k, size.n, 2) : random_matrix<T>(size.n, size.k, 2);
        for (const Write write : {Write::overwrite, Write::accumulate})
          same_bits<T>(size.m, size.n, [&](Ctx<T>& ctx, MatrixView<T> out) {
            gemm(ctx, op_a, op_b, T(0.3), a.view(), b.view(), {out, write});
          });
      }
}

TEST_CASE("OpenBLAS's kernels use the processor's vectors, whether it knows the processor or not") {
  const auto kernels = [](const char* loaded, bool avx2, bool avx512) {
    const char* const better = cpu::wider_openblas_kernels(loaded, avx2, avx512);
    return std::string(better == nullptr ? "" : better);
  };
  CHECK(kernels("Prescott", true, true) == "SkylakeX");
  CHECK(kernels("Zen", true, true) == "SkylakeX");
  CHECK(kernels("Prescott", true, false) == "Haswell");
  CHECK(kernels("Haswell", true, false).empty());
  CHECK(kernels("Nehalem", false, false).empty());
  CHECK(kernels("SapphireRapids", true, true).empty());
  CHECK(kernels("of tomorrow", true, true).empty());
  // This program has started itself again, if it had to.
  CHECK((cpu::better_openblas_kernels() == nullptr || std::getenv("OPENBLAS_CORETYPE") != nullptr));
}

TEST_CASE("products on two threads at once do not disturb each other, again and again") {
  // A BLAS built without threads may hand one packing buffer to two callers: rare a call, so many calls, and operands
  // that differ from block to block, because equal ones would hide it.
  const auto a = random_matrix<double>(256, 64, 1);
  const auto b = random_matrix<double>(64, 64, 2);
  Context<CpuBackend<double>> serial(CpuOptions{1});
  Context<CpuBackend<double>> parallel(CpuOptions{2});
  Matrix<double> want(256, 64);
  gemm(serial, Op::none, Op::none, 1.0, a.view(), b.view(), want.view());
  Matrix<double> got(256, 64);
  int wrong = 0;
  for (int round = 0; round < 3000; ++round) {
    gemm(parallel, Op::none, Op::none, 1.0, a.view(), b.view(), got.view());
    wrong += std::memcmp(got.data(), want.data(), 256 * 64 * sizeof(double)) == 0 ? 0 : 1;
  }
  CHECK(wrong == 0);
}

TEST_CASE_TEMPLATE("sums over rows and sparse products", T, REARM_TEST_SCALARS) {
  const auto x = random_matrix<T>(3000, 7, 1);
  for (const Write write : {Write::overwrite, Write::accumulate})
    same_bits<T>(1, 7, [&](Ctx<T>& ctx, MatrixView<T> out) { column_sum(ctx, T(0.3), x.view(), {out, write}); });
  const auto d = random_matrix<T>(3000, 7, 4);
  same_bits<T>(1, 7, [&](Ctx<T>& ctx, MatrixView<T> out) {  // the gradient of a row that served all
    mul_backward(ctx, x.view(), x.view().row_block(0, 1), d.view(), {}, out);
  });
  const auto a = SparseOperator<T>::general(random_csr<T>(400, 300, 0.05, 2));
  const auto y = random_matrix<T>(300, 33, 3);
  same_bits<T>(400, 33, [&](Ctx<T>& ctx, MatrixView<T> out) { spmm(ctx, a.view(), y.view(), out); });
  std::vector<Id> ids;
  for (std::uint64_t i = 0; i < 500; ++i) ids.push_back(static_cast<Id>(RandomKey{1, 2, 3}.below(i, 300)));
  same_bits<T>(500, 33, [&](Ctx<T>& ctx, MatrixView<T> out) {
    gather_spmm(ctx, a.view(), y.view(), make_index_list(ctx, std::span<const Id>(ids), 400), out);
  });
  const auto square = SparseOperator<T>::general(random_csr<T>(300, 300, 0.05, 2));
  const auto d_y = random_matrix<T>(500, 33, 4);
  same_bits<T>(300, 33, [&](Ctx<T>& ctx, MatrixView<T> out) {
    const IndexList rows = make_index_list(ctx, std::span<const Id>(ids), 300);
    gather_propagate_mean_backward(ctx, square.transpose_view(), 2, rows, d_y.view(), out);
  });
}

TEST_CASE_TEMPLATE("gather's transpose with ids repeated across chunks", T, REARM_TEST_SCALARS) {
  const auto d_y = random_matrix<T>(2000, 5, 1);
  std::vector<Id> ids;
  for (std::uint64_t i = 0; i < 2000; ++i) ids.push_back(static_cast<Id>(RandomKey{1, 2, 3}.below(i, 150)));
  same_bits<T>(150, 5, [&](Ctx<T>& ctx, MatrixView<T> out) {
    scatter_add(ctx, make_index_list(ctx, std::span<const Id>(ids), 150), d_y.view(), out);
  });
}

TEST_CASE_TEMPLATE("info_nce and attention, forward and backward", T, REARM_TEST_SCALARS) {
  const Index n = 200;
  const Index d = 33;
  const auto a = random_matrix<T>(n, d, 1, 0.2);
  const auto b = random_matrix<T>(n, d, 2, 0.2);
  const auto v = random_matrix<T>(n, d, 3);
  // n rows a gradient, then the loss.
  same_bits<T>(2 * n + 2, d, [&](Ctx<T>& ctx, MatrixView<T> out) {
    info_nce(ctx, a.view(), b.view(), info_nce_scale(T(0.2), T(1)), out.row_block(2 * n, 1).col_block(0, 1),
             out.row_block(0, n), out.row_block(n, n));
  });
  same_bits<T>(4 * n, d, [&](Ctx<T>& ctx, MatrixView<T> out) {
    const auto part = [&](Index i) { return out.row_block(i * n, n); };
    const RandomKey key{1, 2, 3};
    rank_one_attention(ctx, a.view(), b.view(), v.view(), T(1), 0.3, key, part(0));
    rank_one_attention_backward(ctx, a.view(), b.view(), v.view(), T(1), 0.3, key, part(0), v.view(), part(1), part(2),
                                part(3));
  });
}

TEST_CASE_TEMPLATE("the fused update of a table, with its weight's gradient and without", T, REARM_TEST_SCALARS) {
  auto d_output = random_matrix<T>(2500, 12, 1);
  for (Index i = 1000; i < 2400; ++i)
    if (i % 3 != 0 || i < 1400) std::fill_n(d_output.view().row(i), 12, T{0});  // of no batch
  const auto weight = random_matrix<T>(12, 600, 2);
  const functors::AdamUpdate<T> update{T(0.9), T(0.999), T(1e-8), T(0.99), T(0.01), T(1.5)};
  same_bits<T>(2512, 600, [&](Ctx<T>& ctx, MatrixView<T> out) {
    Matrix<T> moment1(2500, 600);
    Matrix<T> moment2(2500, 600);
    const functors::AdamTarget<T> table{update, out.row_block(0, 2500), moment1.view(), moment2.view()};
    const MatrixView<T> d_weight = out.row_block(2500, 12);
    for (const Write write : {Write::overwrite, Write::accumulate})
      CpuBackend<T>::factored_adam(ctx, table, d_output.view(), weight.view(), {d_weight, write});
    CpuBackend<T>::factored_adam(ctx, table, d_output.view(), weight.view());
  });
}

}  // namespace backend_determinism_test
