#pragma once
/// @file init.hpp
/// The store that owns a model's parameters, and their initial values: pure functions of (seed, parameter name).

#include <rearm/core/context.hpp>
#include <rearm/core/parameter.hpp>

#include <cmath>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

namespace rearm {

/// Random stream of a parameter: FNV-1a of its name with the top bit set, apart from the streams of training.
constexpr std::uint32_t parameter_stream(std::string_view name) {
  std::uint32_t hash = 2166136261U;
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 16777619U;
  return hash | 0x80000000U;
}

/// Owns parameters at stable addresses, in the order they were added.
template <Backend B>
class ParameterStore {
 public:
  using T = Real<B>;

  /// Zero-initialized. Names must be unique (ConfigError).
  Parameter<B>& add(std::string name, Index rows, Index cols) { return add(Parameter<B>(std::move(name), rows, cols)); }
  Parameter<B>& add(Parameter<B> p) {
    if (find(p.name) != nullptr) throw ConfigError(detail::message("parameter '", p.name, "' exists already"));
    return items_.emplace_back(std::move(p));
  }
  Parameter<B>* find(std::string_view name) noexcept {
    for (Parameter<B>& p : items_)
      if (p.name == name) return &p;
    return nullptr;
  }
  auto begin() noexcept { return items_.begin(); }
  auto end() noexcept { return items_.end(); }
  auto begin() const noexcept { return items_.begin(); }
  auto end() const noexcept { return items_.end(); }
  /// Number of scalars in all parameters.
  Index n_scalars() const noexcept {
    Index n = 0;
    for (const Parameter<B>& p : items_) n += p.rows() * p.cols();
    return n;
  }

 private:
  std::deque<Parameter<B>> items_;
};

namespace detail {
/// Entry number i <- of(i).
template <Backend B, class F>
void init_entries(Parameter<B>& p, const F& of) {
  fill_on_host(p.value, [&](Index begin, Out<B> rows) {
    for (Index i = 0; i < rows.size(); ++i)
      rows.data[i] = static_cast<Real<B>>(of(static_cast<std::uint64_t>(begin * p.cols() + i)));
  });
}
}  // namespace detail

/// Every entry `value`.
template <Backend B>
void init_constant(Parameter<B>& p, double value) {
  detail::init_entries(p, [&](std::uint64_t) { return value; });
}
/// N(0, deviation^2)
template <Backend B>
void init_normal(Parameter<B>& p, double deviation, std::uint64_t seed) {
  const RandomKey key{seed, parameter_stream(p.name), 0};
  detail::init_entries(p, [&](std::uint64_t i) { return deviation * key.normal(i); });
}
/// U(-bound, bound)
template <Backend B>
void init_uniform(Parameter<B>& p, double bound, std::uint64_t seed) {
  const RandomKey key{seed, parameter_stream(p.name), 0};
  detail::init_entries(p, [&](std::uint64_t i) { return bound * (2.0 * key.uniform(i) - 1.0); });
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

}  // namespace rearm
