/// @file table_update_test.cu
/// A table's update on tensor cores against the plain kernel and against double precision; products in 3xTF32.
#define REARM_TEST_CUDA
#include "tests/support/matrices.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace cuda_table_update_test {

namespace {

using namespace rearm;
using namespace rearm::test;
using B = CudaBackend<float>;

/// C += A B, 16 x 8 by 8 x 8, by one warp: in 3xTF32, or with the leading TF32 numbers alone.
REARM_KERNEL void product_kernel(const float* a, const float* b, float* c, bool split) {
  const int g = static_cast<int>(threadIdx.x) / 4, t = static_cast<int>(threadIdx.x) % 4;
  const gpu::SplitFragment<4> a_own({a[g * 8 + t], a[(g + 8) * 8 + t], a[g * 8 + t + 4], a[(g + 8) * 8 + t + 4]});
  const gpu::SplitFragment<2> b_own({b[t * 8 + g], b[(t + 4) * 8 + g]});
  float own[4] = {};
  if (split)
    gpu::add_product(own, a_own, b_own);
  else
    gpu::add_tf32_product(own, a_own.big, b_own.big);
  for (int i = 0; i < 4; ++i) c[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = own[i];
}

/// The largest |C - A B| / (|A| |B|).
double product_error(Context<B>& ctx, bool split) {
  double worst = 0;
  for (std::uint32_t stream = 0; stream < 4; ++stream) {
    auto a = random_matrix<float>(16, 8, 2 * stream), b = random_matrix<float>(8, 8, 2 * stream + 1);
    if (stream > 1)  // sizes from 1e-6 to 1e6
      for (Index i = 0; i < 64; ++i) a.data()[i] *= std::pow(10.0F, static_cast<float>(i % 13 - 6));
    const auto a_there = upload(a), b_there = upload(b);
    TestMatrix<float> c(16, 8);
    gpu::launch(ctx.resources(), 1, 32, product_kernel, a_there.data(), b_there.data(), c.data(), split);
    const auto got = to_host(c);
    for (Index i = 0; i < 16; ++i)
      for (Index j = 0; j < 8; ++j) {
        double sum = 0, size = 0;
        for (Index k = 0; k < 8; ++k) {
          sum += double{a(i, k)} * b(k, j);
          size += std::abs(double{a(i, k)} * b(k, j));
        }
        worst = std::max(worst, std::abs(got(i, j) - sum) / size);
      }
  }
  return worst;
}

template <class E>
Matrix<E> as(const Matrix<float>& x) {
  Matrix<E> out(x.rows(), x.cols());
  std::transform(x.data(), x.data() + x.size(), out.data(), [](float value) {
    if constexpr (std::is_same_v<E, float>)
      return value;
    else
      return round_to_nearest(value);
  });
  return out;
}
double number(float x) { return x; }
double number(BFloat16 x) { return to_float(x); }

/// A table, both moments and factors, of which `extra` columns lie behind each row.
template <class P, class M>
struct Table {
  Index rows, cols, depth, extra;
  TestMatrix<P> value = upload(as<P>(random_matrix<float>(rows, cols + extra, 1)));
  TestMatrix<M> moment1 = upload(as<M>(random_matrix<float>(rows, cols + extra, 2)));
  TestMatrix<M> moment2 = upload(as<M>(squares(random_matrix<float>(rows, cols + extra, 3))));
  Matrix<float> d_output = random_matrix<float>(rows, depth + extra, 4);
  Matrix<float> weight = random_matrix<float>(depth, cols + extra, 5);
  functors::AdamUpdate<float> update{0.9F, 0.99F, 1e-8F, 0.999F, 0.01F, 1.5F};

  static Matrix<float> squares(Matrix<float> x) {
    for (Index i = 0; i < x.size(); ++i) x.data()[i] *= x.data()[i];
    return x;
  }
  void run(Context<B>& ctx) {
    functors::AdamTarget<float> target{update, {}, {}, {}};
    target.set_value(value.view().col_block(0, cols));
    target.set_moments(moment1.view().col_block(0, cols), moment2.view().col_block(0, cols));
    target.key = {1, 2, 3};
    target.all_cols = cols;
    const auto left = upload(d_output), right = upload(weight);
    B::factored_adam(ctx, target, left.view().col_block(0, depth), right.view().col_block(0, cols));
  }
};

/// The largest difference of two tables after an update, in units of `size`; the columns behind them are as they were.
template <class P, class M>
double difference(const Table<P, M>& a, const Table<P, M>& b) {
  double worst = 0;
  const auto look = [&](const auto& x, const auto& y) {
    const auto one = to_host(x), other = to_host(y);
    for (Index i = 0; i < one.size(); ++i) {
      const double p = number(one.data()[i]), q = number(other.data()[i]);
      worst = std::max(worst, std::abs(p - q) / (1 + std::abs(q)));
    }
  };
  look(a.value, b.value);
  look(a.moment1, b.moment1);
  look(a.moment2, b.moment2);
  return worst;
}

template <class P, class M>
void check_kind(double tolerance) {
  Context<B> quick, exact(CudaOptions{.exact_updates = true});
  struct Shape {
    Index rows, cols, depth, extra;
  };
  // Whole tiles; edges on both sides, and factors that end within 64; rows that cannot be loaded together.
  for (const Shape s : {Shape{64, 128, 64, 0}, {70, 196, 68, 4}, {66, 65, 9, 1}}) {
    CAPTURE(s.rows);
    Table<P, M> one{s.rows, s.cols, s.depth, s.extra}, other{s.rows, s.cols, s.depth, s.extra};
    one.run(quick);
    other.run(exact);
    CHECK(difference(one, other) <= tolerance);
  }
}

}  // namespace

TEST_CASE("products in 3xTF32 are nearly as good as in FP32, and in TF32 they are not") {
  Context<B> ctx;
  const double error = product_error(ctx, true);
  MESSAGE("largest error: ", error, " of the sum of sizes");
  CHECK(error < 4.8e-7 + 8 * 6e-8);
  CHECK(product_error(ctx, false) > 1e-4);
}

TEST_CASE("a table's update on tensor cores is the plain one up to rounding, whatever its type") {
  check_kind<float, float>(1e-5);
  // A value that is rounded at random may go to the next number.
  check_kind<float, BFloat16>(1.0 / 128);
  check_kind<BFloat16, float>(1.0 / 128);
  check_kind<BFloat16, BFloat16>(1.0 / 128);
}

TEST_CASE("few numbers stored in bfloat16 go another way: the draws are those of the plain update") {
  Context<B> quick, exact(CudaOptions{.exact_updates = true});
  Table<BFloat16, BFloat16> one{64, 64, 64, 0}, other{64, 64, 64, 0};
  one.run(quick);
  other.run(exact);
  Index differ = 0;
  const auto count = [&](const auto& x, const auto& y) {
    const auto a = to_host(x), b = to_host(y);
    for (Index i = 0; i < a.size(); ++i) differ += a.data()[i].bits != b.data()[i].bits ? 1 : 0;
  };
  count(one.value, other.value);
  count(one.moment1, other.moment1);
  count(one.moment2, other.moment2);
  CHECK(differ < 3 * 64 * 64 / 200);
}

TEST_CASE("what is not finite stays so on tensor cores") {
  Context<B> ctx;
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    Table<float, float> table{64, 64, 64, 0};
    table.d_output(5, 7) = bad;
    table.run(ctx);
    const auto m = to_host(table.moment1);
    for (Index i = 0; i < 64; ++i)
      for (Index j = 0; j < 64; ++j) CHECK(std::isfinite(m(i, j)) == (i != 5));
  }
}

}  // namespace cuda_table_update_test
