#pragma once
/// @file loss.hpp
/// The named parts of a training loss, on the tape and as plain numbers.

#include <rearm/autodiff/ops.hpp>

#include <array>
#include <cstddef>
#include <initializer_list>
#include <span>
#include <string_view>

namespace rearm::REARM_ABI {

/// Maximum number of parts of a loss.
inline constexpr std::size_t max_loss_parts = 8;

/// {{"bpr", x}, {"l2", y}}: what a model minimizes is the sum of the parts, each 1 x 1 and weighted. Names must outlive
/// the object (literals do). Parts that are empty Vars are skipped.
template <Backend B>
class Loss {
 public:
  struct Part {
    std::string_view name;
    Var<B> value;
  };
  Loss() = default;
  Loss(std::initializer_list<Part> parts) {
    for (const Part& part : parts) add(part.name, part.value);
  }
  /// Throws ConfigError beyond max_loss_parts.
  void add(std::string_view name, Var<B> value) {
    if (value.empty()) return;
    if (size_ == max_loss_parts)
      throw ConfigError(detail::message("a loss has at most ", max_loss_parts, " parts; combine some of them"));
    parts_[size_++] = {name, value};
  }
  std::span<const Part> parts() const noexcept { return {parts_.data(), size_}; }
  /// The part of that name, or an empty Var.
  Var<B> part(std::string_view name) const {
    for (const Part& part : parts())
      if (part.name == name) return part.value;
    return {};
  }
  /// The sum of the parts, in their order. Records the additions: call it once. Throws ConfigError without parts.
  Var<B> total() const {
    if (size_ == 0) throw ConfigError("a loss needs at least one part");
    Var<B> sum = parts_[0].value;
    for (const Part& part : parts().subspan(1)) sum = add_parts(sum, part.value);
    return sum;
  }

 private:
  static Var<B> add_parts(Var<B> a, Var<B> b) { return rearm::add(a, b); }
  std::array<Part, max_loss_parts> parts_;
  std::size_t size_ = 0;
};

/// A loss as numbers, of one batch or averaged over several.
struct LossValues {
  struct Part {
    std::string_view name;
    double value = 0;
  };
  double total = 0;
  std::array<Part, max_loss_parts> part = {};
  std::size_t n_parts = 0;

  std::span<const Part> parts() const noexcept { return {part.data(), n_parts}; }
  /// 0 if there is no part of that name.
  double at(std::string_view name) const noexcept {
    for (const Part& p : parts())
      if (p.name == name) return p.value;
    return 0;
  }
  LossValues& operator+=(const LossValues& other) {
    total += other.total;
    n_parts = other.n_parts;
    for (std::size_t i = 0; i < n_parts; ++i) part[i] = {other.part[i].name, part[i].value + other.part[i].value};
    return *this;
  }
  LossValues& operator/=(double n) {
    total /= n;
    for (std::size_t i = 0; i < n_parts; ++i) part[i].value /= n;
    return *this;
  }
};

/// Reads a loss's values; waits for a device. `total` is loss.total().
template <Backend B>
LossValues loss_values(const Loss<B>& loss, Var<B> total) {
  LossValues out;
  out.total = scalar(total);
  for (const auto& part : loss.parts()) out.part[out.n_parts++] = {part.name, scalar(part.value)};
  return out;
}

}  // namespace rearm::REARM_ABI
