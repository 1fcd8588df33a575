/// @file gemm_test.cpp
/// Dense products and linear maps against the triple loop.

#include "tests/support/matrices.hpp"
#include "tests/support/scalars.hpp"

#include <rearm/ops/linear_rows.hpp>

#include <string>
#include <vector>

namespace ops_gemm_test {

using namespace rearm;
using namespace rearm::test;

namespace {

struct Size {
  Index m, k, n;
};

template <class T>
Matrix<double> naive_gemm(Op op_a, Op op_b, double alpha, ConstView<T> a, ConstView<T> b) {
  const Index m = op_a == Op::none ? a.rows : a.cols;
  const Index k = op_a == Op::none ? a.cols : a.rows;
  const Index n = op_b == Op::none ? b.cols : b.rows;
  return tabulate(m, n, [&](Index i, Index j) {
    return alpha * sum_of(k, [&](Index r) {
             return static_cast<double>(op_a == Op::none ? a(i, r) : a(r, i)) *
                    static_cast<double>(op_b == Op::none ? b(r, j) : b(j, r));
           });
  });
}

template <class F>
std::string shape_error(const F& f) {
  try {
    f();
  } catch (const ShapeError& e) {
    return e.what();
  }
  return "";
}

bool contains(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE_TEMPLATE("gemm equals the triple loop in every orientation", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  // Row blocks, column blocks and inner blocks are the last three; the others are odd, empty or a single block.
  for (const Size size : {Size{1, 1, 1}, Size{3, 7, 5}, Size{64, 65, 3}, Size{1, 64, 65}, Size{5, 0, 3}, Size{0, 4, 3},
                          Size{3, 4, 0}, Size{300, 7, 4}, Size{3, 9, 290}, Size{4, 5000, 3}})
    for (const Op op_a : {Op::none, Op::transpose})
      for (const Op op_b : {Op::none, Op::transpose}) {
        CAPTURE(size.m);
        CAPTURE(size.k);
        CAPTURE(size.n);
        const bool plain_a = op_a == Op::none;
        const bool plain_b = op_b == Op::none;
        Strided<T> a(plain_a ? size.m : size.k, plain_a ? size.k : size.m, 1);
        Strided<T> b(plain_b ? size.k : size.n, plain_b ? size.n : size.k, 2);
        const Matrix<double> want = naive_gemm<T>(op_a, op_b, 0.5, a.view(), b.view());
        check_close(gemm(op_a, op_b, T(0.5), s(a.view()), s(b.view())), want);

        // Adding into a strided output leaves what lies beside it alone.
        Strided<T> c(size.m, size.n, 3);
        const Matrix<T> before = c.storage.clone();
        TestMatrix<T> out = upload(c.storage);
        gemm(s.ctx, op_a, op_b, T(0.5), s.there(a.view()), s.there(b.view()), add_to(out.view().col_block(2, size.n)));
        check_close(out, tabulate(size.m, size.n + 5, [&](Index i, Index j) {
                      return static_cast<double>(before(i, j)) + (j >= 2 && j < 2 + size.n ? want(i, j - 2) : 0.0);
                    }));
        s.tape.reset();
      }
}

TEST_CASE_TEMPLATE("linear is x W^T + b", T, REARM_TEST_SCALARS) {
  Sandbox<T> s;
  for (const Index n : {0, 1, 70})
    for (const Index width : {1, 3, 65})
      for (const Index d : {1, 7, 64}) {
        Strided<T> x(n, width, 1);
        Strided<T> w(d, width, 2);
        Strided<T> b(1, d, 3);
        Matrix<double> want = naive_gemm<T>(Op::none, Op::transpose, 1.0, x.view(), w.view());
        check_close(linear(s(x.view()), s(w.view())), want);
        for (Index i = 0; i < n; ++i)
          for (Index j = 0; j < d; ++j) want(i, j) += static_cast<double>(b.view()(0, j));
        check_close(linear(s(x.view()), s(w.view()), s(b.view())), want);
      }
}

TEST_CASE("products of unfitting shapes name both shapes") {
  Sandbox<double> s;
  Matrix<double> a(3, 4);
  Matrix<double> b(5, 6);
  Matrix<double> c(2, 2);
  const auto inner = shape_error([&] { gemm(Op::none, Op::none, 1.0, s(a.view()), s(b.view())); });
  CHECK(contains(inner, "3x4"));
  CHECK(contains(inner, "5x6"));
  const auto flipped = shape_error([&] { gemm(Op::transpose, Op::transpose, 1.0, s(a.view()), s(b.view())); });
  CHECK(contains(flipped, "3x4 transposed"));
  CHECK(contains(flipped, "5x6 transposed"));
  const auto output = shape_error([&] { gemm(s.ctx, Op::transpose, Op::none, 1.0, a.view(), a.view(), c.view()); });
  CHECK(contains(output, "2x2"));
  CHECK(contains(output, "4x4"));
  Matrix<double> w(6, 4);
  const auto bias = shape_error([&] { linear(s(a.view()), s(w.view()), s(c.view())); });
  CHECK(contains(bias, "2x2"));
  CHECK(contains(bias, "1x6"));
}

TEST_CASE_TEMPLATE("linear of a table in bfloat16 is that of its numbers, several blocks of them", T,
                   REARM_TEST_SCALARS) {
  constexpr Index n = 1100, p = 530, d = 6;
  static_assert(!TestMemory::host_accessible || n * p * Index{sizeof(T)} > TestBackend<T>::cached_bytes);
  Sandbox<T> s;
  Matrix<BFloat16> rounded(n, p);
  const Matrix<float> values = random_matrix<float>(n, p, 1);
  for (Index i = 0; i < rounded.size(); ++i) rounded.data()[i] = round_to_nearest(values.data()[i]);
  const auto x = [&](Index i, Index j) { return static_cast<double>(to_float(rounded(i, j))); };
  const auto table = upload(rounded);
  Strided<T> w(d, p, 2), b(1, d, 3), d_y(n, d, 4);
  const auto at = [](Strided<T>& m, Index i, Index j) { return static_cast<double>(m.view()(i, j)); };
  TestMatrix<T> y(n, d);
  linear(s.ctx, ConstView<BFloat16>(table.view()), s.there(w.view()), s.there(b.view()), y.view());
  check_close(y, tabulate(n, d, [&](Index i, Index a) {
                return at(b, 0, a) + sum_of(p, [&](Index j) { return x(i, j) * at(w, a, j); });
              }));
  TestMatrix<T> d_w = upload(random_matrix<T>(d, p, 5)), d_b(1, d);
  const Matrix<T> before = to_host(d_w);
  linear_backward(s.ctx, ConstView<BFloat16>(table.view()), s.there(d_y.view()), add_to(d_w.view()), d_b.view());
  check_close(d_w, tabulate(d, p, [&](Index a, Index j) {
                return static_cast<double>(before(a, j)) + sum_of(n, [&](Index i) { return at(d_y, i, a) * x(i, j); });
              }));
  check_close(d_b, tabulate(1, d, [&](Index, Index a) { return sum_of(n, [&](Index i) { return at(d_y, i, a); }); }));
}

TEST_CASE_TEMPLATE("linear of some rows is that of all in these rows, and 0 in the others", T, REARM_TEST_SCALARS) {
  constexpr Index n = 1100, p = 530, d = 6;
  Sandbox<T> s;
  Matrix<BFloat16> rounded(n, p);
  Matrix<T> exact(n, p);  // the same numbers
  const Matrix<float> values = random_matrix<float>(n, p, 1);
  for (Index i = 0; i < rounded.size(); ++i) {
    rounded.data()[i] = round_to_nearest(values.data()[i]);
    exact.data()[i] = static_cast<T>(to_float(rounded.data()[i]));
  }
  const auto table = upload(rounded);
  const auto wide = upload(exact);
  Strided<T> w(d, p, 2), b(1, d, 3);
  // Several blocks of rows, each id many times.
  std::vector<Id> first, second;
  for (Id i = 0; i < 1000; ++i) first.push_back(i * 7 % 900);
  for (Id i = 0; i < 500; ++i) second.push_back(600 + i % 450);
  const Buffer<Id, TestMemory> a(first), c(second);
  const IndexList rows = make_distinct_list(s.ctx, a.span(), c.span(), n);
  TestMatrix<T> all(n, d), some(n, d);
  linear(s.ctx, ConstView<T>(wide.view()), s.there(w.view()), s.there(b.view()), all.view());
  const Matrix<T> want = to_host(all);
  std::vector<bool> wanted(n);
  for (const auto& ids : {first, second})
    for (const Id i : ids) wanted[static_cast<std::size_t>(i)] = true;
  const auto check = [&] {
    check_close(some, tabulate(n, d, [&](Index i, Index j) {
                  return wanted[static_cast<std::size_t>(i)] ? static_cast<double>(want(i, j)) : 0.0;
                }));
  };
  linear_rows(s.ctx, ConstView<T>(wide.view()), rows, s.there(w.view()), s.there(b.view()), some.view());
  check();
  fill(s.ctx, T(7), some.view());
  linear_rows(s.ctx, ConstView<BFloat16>(table.view()), rows, s.there(w.view()), s.there(b.view()), some.view());
  check();
  const Buffer<Id, TestMemory> none;
  linear_rows(s.ctx, ConstView<T>(wide.view()), make_distinct_list(s.ctx, none.span(), none.span(), n),
              s.there(w.view()), s.there(b.view()), some.view());
  check_close(some, tabulate(n, d, [](Index, Index) { return 0.0; }));
}

}  // namespace ops_gemm_test
