#pragma once
/// @file parameter.hpp
/// A trainable array, and the two arrays that hold all parameters of a model.

#include <rearm/core/backend.hpp>
#include <rearm/core/communicator.hpp>
#include <rearm/core/matrix.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

/// The values of a model's parameters one after the other in one array, and their gradients in another, so that an
/// optimizer works on all of them at once. Each array is allocated when it is first needed: by then the model has
/// added its parameters, and a model that is only evaluated never allocates gradients.
template <Backend B>
class ParameterArrays {
 public:
  using T = Real<B>;
  using Memory = typename B::Memory;

  /// Makes room for `size` scalars and returns where; every parameter begins on a cache line. Arrays that exist already
  /// are copied to longer ones at their next use, and views into them are no longer valid.
  Index add(Index size) {
    constexpr Index granule = static_cast<Index>(alignment / sizeof(T));
    return std::exchange(size_, size_ + (size + granule - 1) / granule * granule);
  }
  /// Entry number i of `size` at `offset` <- entry(i), in the order of these calls.
  void initialize(Index offset, Index size, std::function<double(std::uint64_t)> entry) {
    initial_.push_back({offset, size, std::move(entry)});
  }
  /// Scalars of all parameters, with the gaps between them.
  Index size() const noexcept { return size_; }
  /// Scalars of the two arrays that are not there yet.
  Index missing() const noexcept { return 2 * size_ - values_.size() - gradients_.size(); }
  T* values() {
    grow(values_);
    for (const Initial& i : initial_)
      fill_on_host<Memory>(MatrixView<T>(values_.data() + i.offset, i.size, 1), [&](Index begin, MatrixView<T> part) {
        for (Index j = 0; j < part.size(); ++j)
          part.data[j] = static_cast<T>(i.entry(static_cast<std::uint64_t>(begin + j)));
      });
    initial_.clear();
    return values_.data();
  }
  T* gradients() {
    grow(gradients_);
    return gradients_.data();
  }

 private:
  struct Initial {
    Index offset, size;
    std::function<double(std::uint64_t)> entry;
  };
  void grow(Buffer<T, Memory>& array) const {
    if (array.size() == size_) return;
    Buffer<T, Memory> longer(size_);
    if (!array.empty()) Memory::copy(longer.data(), array.data(), array.bytes());
    array = std::move(longer);
  }

  Index size_ = 0;
  Buffer<T, Memory> values_;
  Buffer<T, Memory> gradients_;
  std::vector<Initial> initial_;
};

namespace detail {
/// The blocks of one matrix; none if every rank has it as a whole.
struct SharedRows {
  std::shared_ptr<const RowBlocks> blocks;
  const RowBlocks* part;
  explicit SharedRows(std::shared_ptr<const RowBlocks> blocks_, Index rows)
      : blocks(std::move(blocks_)), part(blocks.get()) {
    if (part != nullptr && part->rows() != rows)
      throw ShapeError(message("blocks of ", part->rows(), " rows do not make a matrix of ", rows));
  }
  Index own_rows(Index all) const { return part != nullptr ? part->size() : all; }
  RowLayout layout() const noexcept { return part != nullptr ? RowLayout(&part, 1) : RowLayout(); }
};
}  // namespace detail

/// One named trainable matrix. Its elements lie in the arrays of the store it belongs to, or in its own if it belongs
/// to none. Of a matrix whose rows several ranks share, each holds the values, the gradient and the moments of its own
/// block alone.
template <Backend B>
class Parameter {
 public:
  using T = Real<B>;

  std::string name;
  bool trainable = true;   ///< false: no gradient; the optimizer leaves it as it is
  bool persistent = true;  ///< part of a saved model; false for an array that is a copy of the data
  bool has_grad = false;   ///< set by a backward pass, cleared by the optimizer
  /// Factor on the scheduled learning rate; must not change during a run, since a recorded step keeps it.
  double learning_rate_scale = 1.0;

  /// Zero until it is initialized. Throws ShapeError for blocks of another number of rows.
  Parameter(std::string name_, Index rows, Index cols,
            std::shared_ptr<ParameterArrays<B>> arrays = std::make_shared<ParameterArrays<B>>(),
            std::shared_ptr<const RowBlocks> blocks = nullptr)
      : name(std::move(name_)),
        rows_(rows),
        cols_(cols),
        shared_(std::move(blocks), rows),
        arrays_(std::move(arrays)),
        offset_(arrays_->add(own_rows() * cols)) {}
  Parameter(Parameter&&) noexcept = default;
  Parameter& operator=(Parameter&&) noexcept = default;

  /// Of all ranks.
  Index rows() const noexcept { return rows_; }
  Index cols() const noexcept { return cols_; }
  /// Those that are here: all, unless ranks share them.
  Index own_rows() const { return shared_.own_rows(rows_); }
  const std::shared_ptr<const RowBlocks>& blocks() const noexcept { return shared_.blocks; }
  RowLayout layout() const noexcept { return shared_.layout(); }
  /// Where its elements begin in the arrays of its store.
  Index offset() const noexcept { return offset_; }
  MatrixView<T> value() { return {arrays_->values() + offset_, own_rows(), cols_}; }
  ConstView<T> value() const { return {arrays_->values() + offset_, own_rows(), cols_}; }
  MatrixView<T> grad() { return {arrays_->gradients() + offset_, own_rows(), cols_}; }
  ConstView<T> grad() const { return {arrays_->gradients() + offset_, own_rows(), cols_}; }
  /// Element number i of all ranks', row by row, <- entry(i), at first use: what `entry` reads must be its own.
  void initialize(std::function<double(std::uint64_t)> entry) {
    if (blocks() != nullptr)
      entry = [first = static_cast<std::uint64_t>(blocks()->begin() * cols_),
               whole = std::move(entry)](std::uint64_t i) { return whole(first + i); };
    arrays_->initialize(offset_, own_rows() * cols_, std::move(entry));
  }
  static constexpr bool rounded() noexcept { return false; }
  /// f(the values), as FeatureTable has it.
  template <class F>
  decltype(auto) with_values(const F& f) {
    return f(value());
  }
  template <class F>
  decltype(auto) with_values(const F& f) const {
    return f(value());
  }

 private:
  Index rows_;
  Index cols_;
  detail::SharedRows shared_;
  std::shared_ptr<ParameterArrays<B>> arrays_;
  Index offset_;
};

}  // namespace rearm::REARM_ABI
