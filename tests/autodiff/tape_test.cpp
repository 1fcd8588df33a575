/// @file tape_test.cpp
/// The tape itself: accumulation, slices, constants, repeated backward passes, memory that is used again.

#include "tests/support/gradient_check.hpp"

namespace autodiff_tape_test {

using namespace rearm;
using namespace rearm::test;

using Vars = std::vector<DoubleVar>;

TEST_CASE("a variable used several times gathers its gradients") {
  auto x = random_parameter(4, 3, 1);
  check_gradients({&x}, [](DoubleTape&, const Vars& v) {
    const auto y = scale(v[0], 2.0);
    return add(add(y, row_normalize(y, 1e-12)), v[0], 3.0);
  });
  check_gradients({&x}, [&](DoubleTape& tape, const Vars& v) {  // two handles on one parameter
    return row_dot(v[0], scale(tape.parameter(x), 2.0));
  });
}

TEST_CASE("a stack of parameters of one store is not copied, and each has its part of the gradient") {
  using B = TestBackend<double>;
  for (const bool stack_is_used_last : {false, true}) {
    for (const bool frozen : {false, true}) {
      CAPTURE(stack_is_used_last);
      CAPTURE(frozen);
      Context<B> ctx(test_options(1));
      ParameterStore<B> store;
      Parameter<B>& a = store.add("a", 4, 8);
      Parameter<B>& b = store.add("b", 3, 8);
      set(a, random_matrix<double>(4, 8, 1));
      set(b, random_matrix<double>(3, 8, 2));
      a.trainable = !frozen;
      Tape<B> tape(ctx);
      // One of the two has a gradient of its own as well, which comes before the stack's or after it.
      const auto own = [&] { return sum_of_squares(tape.parameter(b), 3.0); };
      const auto early = stack_is_used_last ? own() : Var<B>();
      const auto whole = concat_rows<B>({tape.parameter(a), tape.parameter(b)});
      CHECK((whole.value().data == a.value().data) == !frozen);
      const auto of_whole = add(sum_of_squares(whole), sum_of_squares(whole.rows(2, 3)));
      tape.backward(add(of_whole, stack_is_used_last ? early : own()));
      const Matrix<double> x = to_host(a.value()), y = to_host(b.value());
      CHECK(a.has_grad == !frozen);
      if (!frozen)
        check_close(to_host(a.grad()).view(),
                    tabulate(4, 8, [&](Index i, Index j) { return (i < 2 ? 2 : 4) * x(i, j); }));
      check_close(to_host(b.grad()).view(),
                  tabulate(3, 8, [&](Index i, Index j) { return (i < 1 ? 4 : 2) * y(i, j) + 6 * y(i, j); }));
    }
  }
}

TEST_CASE("slices share the gradient of the whole") {
  auto x = random_parameter(6, 8, 1);
  const auto parts = [](DoubleVar whole) {
    const auto left = whole.cols(0, 3);
    const auto right = whole.cols(4, 3);
    return add(row_dot(left, right), row_dot(whole, whole), 0.5);
  };
  check_gradients({&x}, [&](DoubleTape&, const Vars& v) { return parts(v[0]); });
  check_gradients({&x}, [&](DoubleTape&, const Vars& v) { return parts(scale(v[0], 2.0)); });
  check_gradients({&x}, [](DoubleTape&, const Vars& v) {  // the whole is used last, so its gradient comes first
    const auto whole = scale(v[0], 2.0);
    const auto block = whole.rows(1, 4).cols(2, 3).rows(1, 2);
    return add(gemm(Op::transpose, Op::none, 1.0, block, block),
               gemm(Op::transpose, Op::none, 1.0, whole, whole).rows(5, 3).cols(0, 3));
  });
  check_gradients({&x}, [](DoubleTape&, const Vars& v) {  // one operator, the whole and a part of it
    const auto whole = scale(v[0], 2.0);
    return gemm(Op::none, Op::transpose, 1.0, whole, whole.rows(1, 2));
  });
  check_gradients({&x}, [](DoubleTape&, const Vars& v) { return scale(v[0], 2.0).rows(2, 1).cols(3, 1); });
}

TEST_CASE("grad() of a slice is the slice of the gradient") {
  Sandbox<double> s;
  auto x = random_parameter(4, 5, 1);
  const auto whole = scale(s.tape.parameter(x), 1.0);
  const auto part = whole.rows(1, 2).cols(2, 3);
  CHECK(part.grad().data == nullptr);
  s.tape.backward(sum_of_squares(part));
  const auto value = to_host(x.value());
  const auto of_part = to_host(part.grad());
  const auto of_whole = to_host(whole.grad());
  for (Index i = 0; i < 2; ++i)
    for (Index j = 0; j < 3; ++j) CHECK(of_part(i, j) == 2 * value(i + 1, j + 2));
  CHECK(of_whole(0, 0) == 0.0);
  CHECK(of_whole(1, 2) == of_part(0, 0));
}

TEST_CASE("detach, constants and frozen parameters stop gradients") {
  Sandbox<double> s;
  auto x = random_parameter(3, 3, 1);
  auto frozen = random_parameter(3, 3, 2);
  frozen.trainable = false;
  const auto v = s.tape.parameter(x);
  const auto held = scale(v, 2.0).detach();
  CHECK_FALSE(held.requires_grad());
  CHECK_FALSE(s.tape.parameter(frozen).requires_grad());
  s.tape.backward(sum_of_squares(add(row_normalize(held, 1e-12), s.tape.parameter(frozen))));
  CHECK_FALSE(x.has_grad);
  CHECK_FALSE(frozen.has_grad);
  // v * constant(v): half of the gradient of v * v.
  s.tape.backward(column_mean(row_dot(v, v.detach())));
  const auto value = to_host(x.value());
  check_close(to_host(x.grad()).view(), tabulate(3, 3, [&](Index i, Index j) { return value(i, j) / 3; }));
}

TEST_CASE("a tape that does not record computes values and no gradients") {
  Context<Double> ctx(test_options(1));
  DoubleTape tape(ctx, false);
  auto x = random_parameter(3, 3, 1);
  const auto y = sum_of_squares(tape.parameter(x));
  CHECK_FALSE(y.requires_grad());
  CHECK_NOTHROW(tape.backward(y));
  CHECK_FALSE(x.has_grad);
  CHECK(scalar(y) > 0);
}

TEST_CASE("parameter gradients add up over backward passes, on one tape and over resets") {
  Sandbox<double> s;
  auto x = random_parameter(3, 4, 1);
  const auto value = to_host(x.value());
  const Matrix<double> want = tabulate(3, 4, [&](Index i, Index j) { return 2 * value(i, j) + 18 * value(i, j); });
  const auto shared = scale(s.tape.parameter(x), 1.0);
  const auto first = sum_of_squares(shared);
  const auto second = sum_of_squares(shared, 9.0);
  s.tape.backward(first);
  s.tape.backward(second);
  check_close(to_host(x.grad()).view(), want);

  x.has_grad = false;
  for (const double factor : {1.0, 9.0}) {
    s.tape.reset();
    s.tape.backward(sum_of_squares(scale(s.tape.parameter(x), 1.0), factor));
  }
  check_close(to_host(x.grad()).view(), want);
  x.has_grad = false;  // what the optimizer does: the next pass starts from nothing
  s.tape.reset();
  s.tape.backward(sum_of_squares(s.tape.parameter(x), 0.5));
  check_close(to_host(x.grad()).view(), value);
}

TEST_CASE("a backward pass that releases leaves a concatenation's gradient to its parts") {
  auto a = random_parameter(600, 3, 1);  // of more than a page, or it would not be released
  auto b = random_parameter(600, 3, 2);
  const auto gradients = [&](AfterBackward after) {
    Sandbox<double> s;
    forget_gradient(a);
    forget_gradient(b);
    const auto x = scale(s.tape.parameter(a), 2.0);
    const auto y = scale(s.tape.parameter(b), 3.0);
    const auto early = scale(x.rows(100, 400).cols(1, 2), 0.5);  // slices of a part, reached after the concatenation
    const auto both = concat_columns({x, y, x, s.tape.parameter(b)});
    const auto late = scale(y, -1.0);  // reached before it
    const auto twice = concat_columns({both, scale(late, 5.0)});
    const DoubleVar sums[] = {sum_of_squares(twice), sum_of_squares(early), sum_of_squares(late),
                              sum_of_squares(concat_rows({early, early}))};
    s.tape.backward(add(add(sums[0], sums[1]), add(sums[2], sums[3])), after);
    return std::pair{gradient_of(a), gradient_of(b)};
  };
  const auto kept = gradients(AfterBackward::keep);
  const auto released = gradients(AfterBackward::release);
  check_close(released.first.view(), kept.first, 0.0);
  check_close(released.second.view(), kept.second, 0.0);

  const auto sliced = [&](AfterBackward after) {  // a slice of a part whose gradient has another stride than its value
    Sandbox<double> s;
    forget_gradient(a);
    forget_gradient(b);
    const auto x = row_normalize(scale(s.tape.parameter(a), 2.0), 1e-12);
    const auto y = row_normalize(scale(s.tape.parameter(b), 3.0), 1e-12);
    const auto early = scale(x.rows(100, 400).cols(1, 2), 0.5);
    const auto both = concat_columns({x, y});
    s.tape.backward(add(sum_of_squares(early), sum_of_squares(both)), after);
    CHECK((x.node().lender != nullptr) == (after == AfterBackward::release));
    CHECK((y.node().lender != nullptr) == (after == AfterBackward::release));
    return std::pair{gradient_of(a), gradient_of(b)};
  };
  const auto kept_too = sliced(AfterBackward::keep);
  const auto released_too = sliced(AfterBackward::release);
  check_close(released_too.first.view(), kept_too.first, 0.0);
  check_close(released_too.second.view(), kept_too.second, 0.0);
}

TEST_CASE("backward needs one number") {
  Sandbox<double> s;
  auto x = random_parameter(3, 4, 1);
  CHECK_THROWS_WITH_AS(s.tape.backward(s.tape.parameter(x)), "backward: loss is 3x4 but must be 1x1", ShapeError);
}

TEST_CASE("matrices without rows go through forward and backward") {
  Sandbox<double> s;
  auto none = random_parameter(0, 3, 1);
  auto w = random_parameter(2, 3, 2);
  auto gamma = random_parameter(1, 3, 3);
  const auto x = s.tape.parameter(none);
  const auto normal = row_normalize(layer_norm(x, s.tape.parameter(gamma), s.tape.parameter(gamma), 1e-5), 1e-12);
  const auto attended = rank_one_attention(normal, x, softmax(x, {3, 1}), 1.0, 0.3, RandomKey{});
  const auto loss = sum_of_squares(linear(attended, s.tape.parameter(w)));
  CHECK(scalar(loss) == 0.0);
  CHECK_NOTHROW(s.tape.backward(loss));
  for (Index j = 0; j < 3; ++j) {
    CHECK(to_host(w.grad())(0, j) == 0.0);
    CHECK(to_host(gamma.grad())(0, j) == 0.0);
  }
}

TEST_CASE("a steady-state step takes no new memory and repeats its addresses") {
  Sandbox<double> s;
  auto x = random_parameter(130, 16, 1);
  auto w = random_parameter(16, 16, 2);
  const auto a = upload(SparseOperator<double>::symmetric(sparse<double>(
      tabulate(130, 130, [](Index i, Index j) { return i == (j + 1) % 130 || j == (i + 1) % 130 ? 0.5 : 0.0; }))));
  const auto ids = upload(std::vector<Id>{1, 5, 5, 2});
  const auto step = [&] {
    s.tape.reset();
    const auto h = propagate_mean(a, linear(s.tape.parameter(x), s.tape.parameter(w)), 3);
    const auto unit =
        row_normalize(layer_norm(h, s.tape.parameter(w).rows(0, 1), s.tape.parameter(w).rows(1, 1), 1e-5), 1e-12);
    const auto picked = gather(rank_one_attention(unit, h, h, 0.1, 0.2, RandomKey{1, 2, 3}), ids.span());
    const auto loss = info_nce(unit, row_normalize(h, 1e-12), 0.2, 1.0);
    s.tape.backward(add(loss, sum_of_squares(picked)));
    x.has_grad = w.has_grad = false;
    return std::vector<const double*>{h.value().data, h.grad().data, picked.grad().data, loss.value().data};
  };
  step();
  step();
  const std::size_t capacity = s.ctx.arena().capacity();
  const auto addresses = step();
  for (int round = 0; round < 2; ++round) CHECK(step() == addresses);
  CHECK(s.ctx.arena().capacity() == capacity);
}

}  // namespace autodiff_tape_test
