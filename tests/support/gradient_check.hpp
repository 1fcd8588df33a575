#pragma once
/// @file gradient_check.hpp
/// The tape's gradients against central differences, in double.

#include "tests/support/matrices.hpp"

#include <rearm/core/parameters.hpp>

#include <algorithm>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace rearm::test {

using Double = TestBackend<double>;
using DoubleVar = Var<Double>;
using DoubleTape = Tape<Double>;
using DoubleParameter = Parameter<Double>;
using DoubleTable = FeatureTable<Double>;

inline DoubleParameter random_parameter(Index rows, Index cols, std::uint32_t stream, double deviation = 1.0) {
  DoubleParameter p("p" + std::to_string(stream), rows, cols);
  set(p, random_matrix<double>(rows, cols, stream, deviation));
  return p;
}

/// The values, which a table in a test of double has as such.
inline MatrixView<double> doubles_of(DoubleParameter& p) { return p.value(); }
inline MatrixView<double> doubles_of(DoubleTable& table) {
  return table.with_values([](auto values) {
    if constexpr (std::is_same_v<decltype(values), MatrixView<double>>) return values;
    throw ShapeError("doubles_of: stored in bfloat16");
    return MatrixView<double>();
  });
}

/// Every parameter of the store, and `more`.
inline std::vector<DoubleParameter*> all_of(ParameterStore<Double>& store, std::vector<DoubleParameter*> more) {
  for (DoubleParameter& p : store) more.push_back(&p);
  return more;
}

/// Gives every parameter of the store random values, so that none sits at a symmetric start.
inline void randomize(ParameterStore<Double>& store) {
  std::uint32_t stream = 50;
  store.for_each([&](auto& x) { set(x, random_matrix<double>(x.rows(), x.cols(), stream++, 0.7)); });
}

/// Whether a backward pass has left a gradient in x.
template <Backend B>
bool has_gradient(const Parameter<B>& x) {
  return x.has_grad;
}
template <Backend B>
bool has_gradient(const FeatureTable<B>& x) {
  return x.has_grad();
}

/// The gradient that a backward pass left, a table's factors multiplied out; zero when none reached it.
template <Backend B>
Matrix<Real<B>> gradient_of(const Parameter<B>& p) {
  return p.has_grad ? to_host(p.grad()) : Matrix<Real<B>>(p.rows(), p.cols());
}
template <Backend B>
Matrix<Real<B>> gradient_of(const FeatureTable<B>& table) {
  Matrix<Real<B>> out(table.rows(), table.cols());
  if (!table.has_grad()) return out;
  const auto output = to_host(table.gradient().d_output);
  const auto weight = to_host(table.gradient().weight);
  for (Index i = 0; i < out.rows(); ++i)
    for (Index a = 0; a < weight.rows(); ++a)
      for (Index j = 0; j < out.cols(); ++j) out(i, j) += output(i, a) * weight(a, j);
  return out;
}

/// Clears the gradient, and poisons it where it is stored: a backward pass that adds to it shows.
inline void forget_gradient(DoubleParameter& p) {
  p.has_grad = false;
  const auto poison =
      upload(tabulate(p.rows(), p.cols(), [](Index, Index) { return std::numeric_limits<double>::quiet_NaN(); }));
  TestMemory::copy(p.grad().data, poison.data(), sizeof(double) * std::size_t(poison.size()));
}

/// sum_ij w_ij y_ij with fixed random w, so that every entry of a gradient matters; 1 x 1 is left as it is. `weights`
/// belongs to the caller and must outlive the step.
inline DoubleVar weighted_sum(DoubleVar y, TestMatrix<double>& weights) {
  if (y.rows() == 1 && y.cols() == 1) return y;
  if (weights.empty()) weights = upload(random_matrix<double>(y.rows(), y.cols(), 999));
  return scale(column_mean(row_dot(y, y.tape().constant(std::as_const(weights).view()))),
               static_cast<double>(y.rows()));
}

/// |g - fd| <= tolerance max(|fd|, 1e-3), norms over all entries; prints which input is wrong.
inline void check_gradient(const std::string& name, const Matrix<double>& gradient, const Matrix<double>& differences,
                           double tolerance = 1e-6) {
  double error = 0;
  double norm = 0;
  for (Index i = 0; i < gradient.size(); ++i) {
    error += std::pow(gradient.data()[i] - differences.data()[i], 2);
    norm += std::pow(differences.data()[i], 2);
  }
  INFO(name, ": |fd| = ", std::sqrt(norm));
  CHECK(std::sqrt(error) / std::max(std::sqrt(norm), 1e-3) <= tolerance);
}

/// (f(x + h) - f(x - h)) / 2h for every `sample`-th entry of `x`, which f reads, and the entries of `gradient` for the
/// others. A device runs the CPU's formulas, whose values the operators' tests compare: a few entries show that it runs
/// them right.
template <class F>
Matrix<double> central_differences(const MatrixView<double>& x, const F& f, const Matrix<double>& gradient,
                                   Index sample = 1) {
  constexpr double h = 1e-5;
  const Index every = Double::Memory::host_accessible ? sample : std::max(sample, x.size() / 4 | 1);
  const Matrix<double> values = to_host(x);
  Matrix<double> out = gradient.clone();
  for (Index i = 0; i < x.size(); i += every) {
    const double value = values.data()[i];
    put(x, i, value + h);
    const double above = f();
    put(x, i, value - h);
    const double below = f();
    put(x, i, value);
    out.data()[i] = (above - below) / (2 * h);
  }
  return out;
}

/// Checks d f / d input for every input; f(tape, vars of the inputs) -> Var of any shape, the same value every call.
/// On the CPU the tape's pass runs with two threads, the differences with one.
template <class F>
void check_gradients(const std::vector<DoubleParameter*>& inputs, const F& f, double tolerance = 1e-6) {
  TestMatrix<double> weights;
  const auto loss = [&](DoubleTape& tape) {
    std::vector<DoubleVar> vars;
    for (DoubleParameter* p : inputs) vars.push_back(tape.parameter(*p));
    return weighted_sum(f(tape, vars), weights);
  };
  for (DoubleParameter* p : inputs) forget_gradient(*p);
  Context<Double> ctx(test_options(2));
  DoubleTape tape(ctx);
  tape.backward(loss(tape));
  Context<Double> serial(test_options(1));
  DoubleTape forward(serial, false);
  for (DoubleParameter* p : inputs) {
    const Matrix<double> gradient = gradient_of(*p);
    const auto value = [&] {
      forward.reset();
      return scalar(loss(forward));
    };
    check_gradient(p->name, gradient, central_differences(p->value(), value, gradient), tolerance);
  }
}

/// Checks d f / d table, multiplied out; f(tape) -> Var of any shape.
template <class F>
void check_table_gradient(DoubleTable& table, const F& f, double tolerance = 1e-6) {
  TestMatrix<double> weights;
  Context<Double> ctx(test_options(2));
  DoubleTape tape(ctx);
  table.clear_gradient();
  tape.backward(weighted_sum(f(tape), weights));
  REQUIRE(table.has_grad());
  const Matrix<double> gradient = gradient_of(table);
  table.clear_gradient();
  DoubleTape forward(ctx, false);
  const auto value = [&] {
    forward.reset();
    return scalar(weighted_sum(f(forward), weights));
  };
  check_gradient(table.name, gradient, central_differences(doubles_of(table), value, gradient), tolerance);
}

}  // namespace rearm::test
