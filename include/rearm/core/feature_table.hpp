#pragma once
/// @file feature_table.hpp
/// A large trainable table, such as raw features of items, whose gradient is never stored.

#include <rearm/core/bfloat16.hpp>
#include <rearm/core/error.hpp>
#include <rearm/core/parameter.hpp>

#include <string>
#include <utility>
#include <variant>

namespace rearm::REARM_ABI {

/// n x width, read by one linear map, `project` (autodiff/project.hpp), and nothing else. Its gradient is then the
/// product d_output (n x d) times weight (d x width): the backward pass leaves the two factors here, and the optimizer
/// forms the product block by block while it updates the table, so that no array of the table's size exists except
/// the table and its moments. The rows may be stored in bfloat16.
template <Backend B>
class FeatureTable {
 public:
  using T = Real<B>;
  using Memory = typename B::Memory;

  /// The table's gradient is d_output times weight; both are valid until the arena is reset.
  struct Gradient {
    In<B> d_output;
    In<B> weight;
    /// The weight whose gradient d_output^T table the optimizer adds in the same pass over the table; null if that is
    /// already done.
    Parameter<B>* fused_weight = nullptr;
    int branch = -1;  ///< in which d_output was made (Context::in_branch)
  };

  std::string name;
  bool trainable = true;   ///< a frozen table has no gradient
  bool persistent = true;  ///< part of a saved model; false for a copy of the data
  /// Leaves the gradient of the map's weight to the optimizer, which saves a pass over the table; the weight then has
  /// no gradient to read until the optimizer's step. Set by a trainer.
  bool fuses_weight_gradient = false;
  double learning_rate_scale = 1.0;  ///< factor on the scheduled learning rate

  /// Zero; stored in bfloat16 if `rounded`. With `blocks` each rank holds its own rows, of values and moments.
  FeatureTable(std::string name_, Index rows, Index cols, bool rounded = false,
               std::shared_ptr<const RowBlocks> blocks = nullptr)
      : name(std::move(name_)), rows_(rows), shared_(std::move(blocks), rows) {
    if (rounded)
      values_ = Matrix<BFloat16, Memory>(own_rows(), cols);
    else
      values_ = Matrix<T, Memory>(own_rows(), cols);
  }

  /// Of all ranks.
  Index rows() const noexcept { return rows_; }
  /// Those that are here: all, unless ranks share them.
  Index own_rows() const { return shared_.own_rows(rows_); }
  const std::shared_ptr<const RowBlocks>& blocks() const noexcept { return shared_.blocks; }
  RowLayout layout() const noexcept { return shared_.layout(); }
  Index cols() const {
    return with_values([](const auto& values) { return values.cols; });
  }
  bool rounded() const noexcept { return values_.index() == 1; }
  /// f(a view of the elements, of T or of BFloat16).
  template <class F>
  decltype(auto) with_values(const F& f) {
    if (auto* exact = std::get_if<0>(&values_)) return f(exact->view());
    return f(std::get_if<1>(&values_)->view());
  }
  template <class F>
  decltype(auto) with_values(const F& f) const {
    if (const auto* exact = std::get_if<0>(&values_)) return f(exact->view());
    return f(std::get_if<1>(&values_)->view());
  }

  bool has_grad() const noexcept { return gradient_.d_output.data != nullptr; }
  const Gradient& gradient() const noexcept { return gradient_; }
  /// Called by a backward pass. Throws ShapeError for a second map in one step: a product has one pair of factors.
  void set_gradient(const Gradient& gradient) {
    if (has_grad())
      throw ShapeError(detail::message("project: the gradient of '", name, "' is already taken by another use"));
    gradient_ = gradient;
  }
  void clear_gradient() noexcept { gradient_ = {}; }

 private:
  Index rows_;
  detail::SharedRows shared_;
  std::variant<Matrix<T, Memory>, Matrix<BFloat16, Memory>> values_;
  Gradient gradient_;
};

}  // namespace rearm::REARM_ABI
