#pragma once
/// @file parameter.hpp
/// A trainable array with its gradient and optimizer moments.

#include <rearm/core/bfloat16.hpp>
#include <rearm/core/matrix.hpp>

#include <string>
#include <utility>

namespace rearm {

/// One named trainable matrix. A large table may opt for a *factored* gradient: the backward pass then leaves
/// d_value = d_output * weight (n x d times d x width) as its two factors, and the optimizer forms it block by block,
/// so that no array of the table's size but the table and its moments ever exists.
template <class B>
struct Parameter {
  using Scalar = typename B::Scalar;
  using Memory = typename B::Memory;

  std::string name;
  Matrix<Scalar, Memory> value;
  Matrix<BFloat16, Memory> rounded_value;  ///< instead of it, where a table of raw features is kept in bfloat16
  Matrix<Scalar, Memory> grad;             ///< empty for a factored gradient and for a frozen array
  Matrix<Scalar, Memory> moment1;          ///< allocated by the optimizer at its first step
  Matrix<Scalar, Memory> moment2;
  Matrix<BFloat16, Memory> rounded_moment1;  ///< instead of these, where the optimizer keeps them in bfloat16
  Matrix<BFloat16, Memory> rounded_moment2;
  bool trainable = true;                   ///< frozen arrays are saved but never updated
  bool persistent = true;                  ///< part of a saved model; false for an array that is a copy of the data
  bool factored = false;                   ///< see above
  bool has_grad = false;                   ///< set by a backward pass, cleared by the optimizer
  double learning_rate_scale = 1.0;        ///< multiplies the schedule's learning rate
  MatrixView<const Scalar> factor_output;  ///< d_output of the factored gradient, valid until the arena is reset
  MatrixView<const Scalar> factor_weight;
  /// Of a factored table: the projection weight whose gradient the optimizer forms in the same pass over the table
  /// (Tape::set_fused_tables); null when the backward pass has formed it.
  Parameter* fused_weight = nullptr;

  Parameter() = default;
  Parameter(std::string name_, Index rows, Index cols) : name(std::move(name_)), value(rows, cols), grad(rows, cols) {}
  /// A table with a factored gradient, in bfloat16 if `rounded`.
  static Parameter table(const std::string& name, Index rows, Index cols, bool rounded = false) {
    Parameter p;
    p.name = name;
    p.factored = true;
    if (rounded)
      p.rounded_value = Matrix<BFloat16, Memory>(rows, cols);
    else
      p.value = Matrix<Scalar, Memory>(rows, cols);
    return p;
  }
  bool rounded() const noexcept { return !rounded_value.empty(); }
  Index rows() const noexcept { return rounded() ? rounded_value.rows() : value.rows(); }
  Index cols() const noexcept { return rounded() ? rounded_value.cols() : value.cols(); }
  /// f(the matrix that the values are in).
  template <class F>
  decltype(auto) with_values(const F& f) {
    return rounded() ? f(rounded_value) : f(value);
  }
  template <class F>
  decltype(auto) with_values(const F& f) const {
    return rounded() ? f(rounded_value) : f(value);
  }
};

}  // namespace rearm
