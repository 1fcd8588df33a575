/// @file dense_gradients_test.cpp
/// Finite differences of products, sparse products, gathers and elementwise operators.

#include "tests/support/gradient_check.hpp"

namespace autodiff_dense_gradients_test {

using namespace rearm;
using namespace rearm::test;

using Vars = std::vector<DoubleVar>;

TEST_CASE("gradients of gemm in every orientation") {
  for (const Op op_a : {Op::none, Op::transpose})
    for (const Op op_b : {Op::none, Op::transpose}) {
      const bool plain_a = op_a == Op::none;
      const bool plain_b = op_b == Op::none;
      auto a = random_parameter(plain_a ? 3 : 7, plain_a ? 7 : 3, 1);
      auto b = random_parameter(plain_b ? 7 : 5, plain_b ? 5 : 7, 2);
      check_gradients({&a, &b}, [&](DoubleTape&, const Vars& v) { return gemm(op_a, op_b, 0.7, v[0], v[1]); });
      // The same variable twice.
      auto c = random_parameter(4, 4, 3);
      check_gradients({&c}, [&](DoubleTape&, const Vars& v) { return gemm(op_a, op_b, 0.7, v[0], v[0]); });
    }
}

TEST_CASE("gradients of linear, with and without bias") {
  for (const Index width : {1, 7, 65}) {
    auto x = random_parameter(5, width, 1);
    auto w = random_parameter(3, width, 2);
    auto b = random_parameter(1, 3, 3);
    check_gradients({&x, &w}, [](DoubleTape&, const Vars& v) { return linear(v[0], v[1]); });
    check_gradients({&x, &w, &b}, [](DoubleTape&, const Vars& v) { return linear(v[0], v[1], v[2]); });
  }
}

TEST_CASE("gradients of project, of the table and of its weights") {
  for (const Index width : {1, 7, 65}) {
    DoubleTable table("table", 5, width);
    set(table, random_matrix<double>(5, width, 1));
    auto w = random_parameter(3, width, 2);
    auto b = random_parameter(1, 3, 3);
    check_gradients({&w}, [&](DoubleTape& tape, const Vars&) {
      table.clear_gradient();
      return project(tape, table, w);
    });
    check_gradients({&w, &b}, [&](DoubleTape& tape, const Vars&) {
      table.clear_gradient();
      return project(tape, table, w, &b);
    });
    check_table_gradient(table, [&](DoubleTape& tape) { return project(tape, table, w, &b); });
    const auto some = [&](DoubleTape& tape) {
      const std::vector<Id> host = {4, 1, 4};
      const Buffer<Id, TestMemory> ids(host);
      const IndexList rows = make_distinct_list(tape.context(), ids.span(), {}, 5);
      const auto y = project(tape, table, w, &b, &rows);
      return gather(y, make_index_list(tape.context(), ids.span(), 5));
    };
    check_gradients({&w, &b}, [&](DoubleTape& tape, const Vars&) {
      table.clear_gradient();
      return some(tape);
    });
    check_table_gradient(table, some);
  }
}

TEST_CASE("a table's gradient has one taker, a frozen table none") {
  Sandbox<double> s;
  DoubleTable table("features", 5, 4);
  auto w = random_parameter(3, 4, 2);
  const auto twice = [&] { return sum_of_squares(add(project(s.tape, table, w), project(s.tape, table, w))); };
  CHECK_THROWS_WITH_AS(s.tape.backward(twice()), "project: the gradient of 'features' is already taken by another use",
                       ShapeError);
  table.clear_gradient();
  table.trainable = false;
  s.tape.reset();
  s.tape.backward(twice());
  CHECK_FALSE(table.has_grad());
  CHECK(w.has_grad);
}

TEST_CASE("gradients of spmm, general and symmetric, of unit rows, and of propagate_mean") {
  const auto wide = general(random_csr<double>(11, 6, 0.4, 1));
  const auto square = general(random_csr<double>(6, 6, 0.4, 2));
  const Matrix<double> half = dense(random_csr<double>(6, 6, 0.4, 2));
  const auto symmetric = upload(SparseOperator<double>::symmetric(
      sparse<double>(tabulate(6, 6, [&](Index i, Index j) { return half(i, j) + half(j, i); }))));
  for (const Index width : {1, 3, 65}) {
    auto x = random_parameter(6, width, 3);
    check_gradients({&x}, [&](DoubleTape&, const Vars& v) { return spmm(wide, v[0]); });
    check_gradients({&x}, [&](DoubleTape&, const Vars& v) { return spmm(symmetric, v[0]); });
    for (const double eps : {1e-12, 1.0})  // the second above the length of some rows
      check_gradients({&x}, [&](DoubleTape&, const Vars& v) { return spmm_row_normalize(wide, v[0], eps); });
    check_gradients({&x}, [&](DoubleTape&, const Vars& v) {  // added to a gradient that is there already
      return add(spmm_row_normalize(symmetric, v[0], 1e-12), v[0]);
    });
  }
  auto x = random_parameter(6, 3, 3);
  for (const int n_layers : {0, 1, 2, 3, 4})
    for (const auto* a : {&square, &symmetric})
      check_gradients({&x}, [&](DoubleTape&, const Vars& v) { return add(propagate_mean(*a, v[0], n_layers), v[0]); });
}

TEST_CASE("gradients of rows of a sparse product and of layers' mean, alone and beside others") {
  const auto wide = general(random_csr<double>(7, 5, 0.5, 1));
  const auto square = general(random_csr<double>(5, 5, 0.5, 2));
  const auto ids = upload(std::vector<Id>{4, 0, 4, 2});
  for (const Index width : {1, 3, 17}) {
    auto x = random_parameter(5, width, 1);
    check_gradients({&x}, [&](DoubleTape& tape, const Vars& v) {
      return gather_spmm(wide, v[0], make_index_list(tape.context(), ids.span(), 7));
    });
    for (const int n_layers : {0, 1, 2, 3}) {
      check_gradients({&x}, [&](DoubleTape& tape, const Vars& v) {
        return gather_propagate_mean(square, v[0], n_layers, make_index_list(tape.context(), ids.span(), 5));
      });
      check_gradients({&x}, [&](DoubleTape& tape, const Vars& v) {
        const IndexList rows = make_index_list(tape.context(), ids.span(), 5);
        return add(gather_propagate_mean(square, v[0], n_layers, rows), gather_spmm(square, v[0], rows));
      });
    }
  }
}

TEST_CASE("gradients of gather with repeated ids and of concat") {
  const auto ids = upload(std::vector<Id>{3, 0, 3, 5, 3, 0});
  auto x = random_parameter(7, 3, 1);
  check_gradients({&x}, [&](DoubleTape&, const Vars& v) { return gather(v[0], ids.span()); });
  check_gradients({&x}, [&](DoubleTape&, const Vars& v) {  // gathered into a gradient that is there already
    return add(gather(v[0], ids.span()), v[0].rows(1, 6), 2.0);
  });
  auto a = random_parameter(4, 1, 2);
  auto b = random_parameter(4, 7, 3);
  check_gradients({&a, &b}, [](DoubleTape&, const Vars& v) {
    return concat_columns({v[0], v[1], v[0].cols(0, 1), v[1]});
  });
  auto c = random_parameter(2, 7, 4);
  check_gradients({&b, &c}, [](DoubleTape&, const Vars& v) { return concat_rows({v[0], v[1], v[0]}); });
  check_gradients({&b, &c}, [](DoubleTape&, const Vars& v) {
    const DoubleVar grid[] = {v[0], v[0].cols(0, 1), v[1], v[1].cols(2, 1)};
    return concat<Double>(grid, 2);
  });
  check_gradients({&b}, [](DoubleTape&, const Vars& v) {  // parts whose gradients share rows
    return concat_columns({v[0].rows(0, 3), v[0].rows(1, 3), v[0].cols(0, 2).rows(1, 3)});
  });
  check_gradients({&a}, [](DoubleTape&, const Vars& v) {  // more parts than are copied at once
    return concat_columns({v[0], v[0], v[0], v[0], v[0], v[0], v[0], v[0], v[0], v[0]});
  });
}

TEST_CASE("gradients of add, scale, column_mean, sum_of_squares, row_dot") {
  for (const Index width : {1, 3, 65}) {
    auto a = random_parameter(5, width, 1);
    auto b = random_parameter(5, width, 2);
    auto row = random_parameter(1, width, 3);
    check_gradients({&a, &b}, [](DoubleTape&, const Vars& v) { return add(v[0], v[1], -2.0); });
    check_gradients({&a, &row}, [](DoubleTape&, const Vars& v) { return add(v[0], v[1], 3.0); });
    check_gradients({&a}, [](DoubleTape&, const Vars& v) { return add(v[0], v[0], 0.5); });
    check_gradients({&a}, [](DoubleTape&, const Vars& v) { return add(v[0].rows(0, 4), v[0].rows(1, 4), 0.5); });
    check_gradients({&a}, [](DoubleTape&, const Vars& v) { return scale(v[0], 0.3); });
    check_gradients({&a}, [](DoubleTape&, const Vars& v) { return column_mean(v[0]); });
    check_gradients({&a}, [](DoubleTape&, const Vars& v) { return sum_of_squares(v[0], 0.2); });
    check_gradients({&a, &b}, [](DoubleTape&, const Vars& v) { return row_dot(v[0], v[1]); });
    check_gradients({&a}, [](DoubleTape&, const Vars& v) { return row_dot(v[0], v[0]); });
  }
  auto tall = random_parameter(300, 2, 4);  // several chunks of rows
  check_gradients({&tall}, [](DoubleTape&, const Vars& v) {
    return add(column_mean(v[0]), gemm(Op::transpose, Op::none, 1.0, v[0], v[0]).rows(0, 1));
  });
}

TEST_CASE("gradients of prelu, scalar_affine, dropout and add_gumbel") {
  const RandomKey key{3, 1, 4};
  for (const Index width : {1, 3, 65}) {
    auto x = random_parameter(5, width, 1);
    auto w = random_parameter(1, 1, 2);
    auto b = random_parameter(1, 1, 3);
    check_gradients({&x, &w}, [](DoubleTape&, const Vars& v) { return prelu(v[0], v[1]); });
    auto y = random_parameter(5, width, 4);
    check_gradients({&x, &w, &y}, [](DoubleTape&, const Vars& v) { return prelu_add(v[0], v[1], v[2]); });
    check_gradients({&x, &w}, [](DoubleTape&, const Vars& v) { return prelu_add(v[0], v[1], v[0]); });
    check_gradients({&x, &w, &b}, [](DoubleTape&, const Vars& v) { return scalar_affine(v[0], v[1], v[2]); });
    check_gradients({&x, &w, &b, &y}, [](DoubleTape&, const Vars& v) { return scalar_affine(v[0], v[1], v[2], v[3]); });
    check_gradients({&x, &w, &b}, [](DoubleTape&, const Vars& v) { return scalar_affine(v[0], v[1], v[2], v[0]); });
    // A row of one operand's gradient is another row of the other's.
    check_gradients({&x, &w},
                    [](DoubleTape&, const Vars& v) { return prelu_add(v[0].rows(0, 4), v[1], v[0].rows(1, 4)); });
    check_gradients({&x, &w, &b}, [](DoubleTape&, const Vars& v) {
      return scalar_affine(v[0].rows(1, 4), v[1], v[2], v[0].rows(0, 4));
    });
    check_gradients({&y}, [&](DoubleTape& tape, const Vars& v) {  // the addend alone
      const auto constant = tape.constant(x.value());
      return add(prelu_add(constant, tape.constant(w.value()), v[0]),
                 scalar_affine(constant, tape.constant(w.value()), tape.constant(b.value()), v[0]));
    });
    for (const double p : {0.0, 0.3, 1.0})
      check_gradients({&x}, [&](DoubleTape& tape, const Vars& v) {
        const std::vector<Id> ids = {static_cast<Id>(v[0].rows() - 1), 0, 0};
        const Buffer<Id, TestMemory> there(ids);
        const IndexList rows = make_index_list(tape.context(), there.span(), v[0].rows());
        return concat_rows({scale(dropout(v[0], p, key), 2.0), square(gather_dropout(v[0], rows, p, key))});
      });
    check_gradients({&x}, [&](DoubleTape&, const Vars& v) { return square(add_gumbel(v[0], key)); });
  }
}

TEST_CASE("gradients of operators whose operands are one variable") {
  auto x = random_parameter(1, 1, 1);
  check_gradients({&x}, [](DoubleTape&, const Vars& v) { return prelu(v[0], v[0]); });
  check_gradients({&x}, [](DoubleTape&, const Vars& v) { return scalar_affine(v[0], v[0], v[0]); });
  auto row = random_parameter(1, 7, 2);
  check_gradients({&row}, [](DoubleTape&, const Vars& v) { return layer_norm(v[0], v[0], v[0], 1e-5); });
  auto square = random_parameter(3, 3, 3);
  check_gradients({&square}, [](DoubleTape&, const Vars& v) { return linear(v[0], v[0], v[0].rows(1, 1)); });
  auto ids = random_parameter(4, 5, 4);
  auto factor = random_parameter(4, 10, 5);
  for (const auto order : {LowRankOrder::left_to_right, LowRankOrder::right_to_left}) {
    check_gradients({&ids, &factor},
                    [&](DoubleTape&, const Vars& v) { return low_rank_product(v[0], v[1], v[1], order); });
    check_gradients({&ids}, [&](DoubleTape&, const Vars& v) { return low_rank_product(v[0], v[0], v[0], order); });
  }
  check_gradients({&ids}, [](DoubleTape&, const Vars& v) { return bpr(v[0], v[0], v[0].cols(0, 5), 0.5); });
  // Slices that overlap, each element another lane's in either.
  check_gradients({&ids, &x}, [](DoubleTape&, const Vars& v) {
    return add(prelu_add(v[0].cols(0, 3), v[1], v[0].cols(2, 3)),
               scalar_affine(v[0].cols(1, 3), v[1], v[1], v[0].cols(0, 3)));
  });
}

}  // namespace autodiff_dense_gradients_test
