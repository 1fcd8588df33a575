#pragma once
/// @file parameters.hpp
/// The store that owns a model's parameters, and their initial values: pure functions of (seed, parameter name).

#include <rearm/core/context.hpp>
#include <rearm/core/feature_table.hpp>
#include <rearm/core/parameter.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace rearm::REARM_ABI {

/// Random stream of a parameter: FNV-1a of its name with the top bit set, apart from the streams of training.
constexpr std::uint32_t parameter_stream(std::string_view name) {
  std::uint32_t hash = 2166136261U;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  return hash | 0x80000000U;
}

/// Owns a model's parameters and feature tables at stable addresses, in the order they were added.
template <Backend B>
class ParameterStore {
 public:
  using T = Real<B>;
  ParameterStore() = default;
  ParameterStore(const ParameterStore&) = delete;
  ParameterStore& operator=(const ParameterStore&) = delete;

  /// Zero until it is initialized. With `blocks` ranks share its rows; null: each has them all. Names must be unique
  /// (ConfigError). Invalidates views of values taken earlier.
  Parameter<B>& add(const std::string& name, Index rows, Index cols,
                    std::shared_ptr<const RowBlocks> blocks = nullptr) {
    require_new(name);
    return parameters_.emplace_back(name, rows, cols, arrays_, std::move(blocks));
  }
  /// A table whose gradient is not stored (core/feature_table.hpp), in bfloat16 if `rounded`.
  FeatureTable<B>& add_table(const std::string& name, Index rows, Index cols, bool rounded = false,
                             std::shared_ptr<const RowBlocks> blocks = nullptr) {
    require_new(name);
    return tables_.emplace_back(name, rows, cols, rounded, std::move(blocks));
  }
  /// The parameter of that name; null if there is none or it is a table.
  Parameter<B>* find(std::string_view name) noexcept { return find_in(parameters_, name); }
  FeatureTable<B>* find_table(std::string_view name) noexcept { return find_in(tables_, name); }
  /// The parameters, without the tables.
  auto begin() noexcept { return parameters_.begin(); }
  auto end() noexcept { return parameters_.end(); }
  auto begin() const noexcept { return parameters_.begin(); }
  auto end() const noexcept { return parameters_.end(); }
  std::deque<FeatureTable<B>>& tables() noexcept { return tables_; }
  const std::deque<FeatureTable<B>>& tables() const noexcept { return tables_; }
  /// f(x) for every parameter x and then for every table.
  template <class F>
  void for_each(const F& f) {
    for (Parameter<B>& p : parameters_) f(p);
    for (FeatureTable<B>& t : tables_) f(t);
  }
  template <class F>
  void for_each(const F& f) const {
    for (const Parameter<B>& p : parameters_) f(p);
    for (const FeatureTable<B>& t : tables_) f(t);
  }
  /// Whether ranks share the rows of any.
  bool shared() const {
    bool any = false;
    for_each([&](const auto& x) { any = any || x.blocks() != nullptr; });
    return any;
  }
  /// The arrays that hold all parameters.
  ParameterArrays<B>& arrays() const noexcept { return *arrays_; }
  /// Number of scalars in all parameters and tables, of all ranks.
  Index n_scalars() const {
    Index n = 0;
    for_each([&](const auto& x) { n += x.rows() * x.cols(); });
    return n;
  }
  /// Discards the gradients that a backward pass left.
  void clear_gradients() noexcept {
    for (Parameter<B>& p : parameters_) p.has_grad = false;
    for (FeatureTable<B>& t : tables_) t.clear_gradient();
  }

 private:
  template <class X>
  static X* find_in(std::deque<X>& items, std::string_view name) noexcept {
    const auto found = std::ranges::find(items, name, [](const X& x) -> std::string_view { return x.name; });
    return found == items.end() ? nullptr : &*found;
  }
  void require_new(const std::string& name) {
    if (find(name) != nullptr || find_table(name) != nullptr)
      throw ConfigError(detail::message("parameter '", name, "' exists already"));
  }
  std::shared_ptr<ParameterArrays<B>> arrays_ = std::make_shared<ParameterArrays<B>>();
  std::deque<Parameter<B>> parameters_;
  std::deque<FeatureTable<B>> tables_;
};

/// Sets every entry to `value`.
template <Backend B>
void init_constant(Parameter<B>& p, double value) {
  p.initialize([=](std::uint64_t) { return value; });
}
/// N(0, deviation^2)
template <Backend B>
void init_normal(Parameter<B>& p, double deviation, std::uint64_t seed) {
  const RandomKey key{seed, parameter_stream(p.name), 0};
  p.initialize([=](std::uint64_t i) { return deviation * key.normal(i); });
}
/// U(-bound, bound)
template <Backend B>
void init_uniform(Parameter<B>& p, double bound, std::uint64_t seed) {
  const RandomKey key{seed, parameter_stream(p.name), 0};
  p.initialize([=](std::uint64_t i) { return bound * (2.0 * key.uniform(i) - 1.0); });
}
/// N(0, 2 / (fan_in + fan_out)), weight out x in (Glorot & Bengio, AISTATS'10).
template <Backend B>
void init_xavier_normal(Parameter<B>& p, std::uint64_t seed) {
  init_normal(p, std::sqrt(2.0 / static_cast<double>(p.rows() + p.cols())), seed);
}
/// U(-a, a), a = sqrt(6 / (fan_in + fan_out)); the same variance.
template <Backend B>
void init_xavier_uniform(Parameter<B>& p, std::uint64_t seed) {
  init_uniform(p, std::sqrt(6.0 / static_cast<double>(p.rows() + p.cols())), seed);
}

}  // namespace rearm::REARM_ABI
