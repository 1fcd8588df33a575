#pragma once
/// @file gradient_check.hpp
/// The tape's gradients against central differences, in double.

#include "tests/support/matrices.hpp"

#include <rearm/core/parameters.hpp>

#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace rearm::test {

using Double = TestBackend<double>;
using DoubleVar = Var<Double>;
using DoubleTape = Tape<Double>;
using DoubleParameter = Parameter<Double>;

inline DoubleParameter random_parameter(Index rows, Index cols, std::uint32_t stream, double deviation = 1.0,
                                        bool factored = false) {
  const std::string name = "p" + std::to_string(stream);
  DoubleParameter p = factored ? DoubleParameter::table(name, rows, cols) : DoubleParameter(name, rows, cols);
  p.value = upload(random_matrix<double>(rows, cols, stream, deviation));
  return p;
}

/// Every parameter of the store, and `more`.
inline std::vector<DoubleParameter*> all_of(ParameterStore<Double>& store, std::vector<DoubleParameter*> more) {
  for (DoubleParameter& p : store) more.push_back(&p);
  return more;
}

/// Gives every parameter of the store random values, so that none sits at a symmetric start.
inline void randomize(ParameterStore<Double>& store) {
  std::uint32_t stream = 50;
  for (DoubleParameter& p : store) p.value = upload(random_matrix<double>(p.rows(), p.cols(), stream++, 0.7));
}

/// The gradient that a backward pass left in `p`, factors multiplied out; zero when none reached it.
inline Matrix<double> gradient_of(const DoubleParameter& p) {
  if (!p.has_grad) return Matrix<double>(p.rows(), p.cols());
  if (!p.factored) return to_host(p.grad);
  const auto output = to_host(p.factor_output);
  const auto weight = to_host(p.factor_weight);
  return tabulate(p.rows(), p.cols(), [&](Index i, Index j) {
    return sum_of(weight.rows(), [&](Index a) { return output(i, a) * weight(a, j); });
  });
}

/// Clears has_grad and poisons the gradient: a backward pass that adds to it shows.
inline void forget_gradient(DoubleParameter& p) {
  p.has_grad = false;
  p.grad = upload(
      tabulate(p.grad.rows(), p.grad.cols(), [](Index, Index) { return std::numeric_limits<double>::quiet_NaN(); }));
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

/// (f(x + h) - f(x - h)) / 2h for every entry of `x`, which f reads. With `instead` for every `every`-th entry only,
/// and its entries for the others.
template <class F>
Matrix<double> central_differences(TestMatrix<double>& x, const F& f, double h = 1e-5, Index every = 1,
                                   const Matrix<double>* instead = nullptr) {
  const Matrix<double> values = to_host(x);
  Matrix<double> out = instead != nullptr ? instead->clone() : Matrix<double>(x.rows(), x.cols());
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
  for (DoubleParameter* p : inputs)
    check_gradient(p->name, gradient_of(*p),
                   central_differences(p->value,
                                       [&] {
                                         forward.reset();
                                         return scalar(loss(forward));
                                       }),
                   tolerance);
}

}  // namespace rearm::test
