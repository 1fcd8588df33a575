#pragma once
/// @file modalities.hpp
/// Random rows of several modalities, and what is averaged over their pairs.

#include "tests/support/gradient_check.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace rearm::test {

inline std::vector<DoubleParameter> modalities(std::size_t count, Index n, Index d) {
  std::vector<DoubleParameter> out;
  for (std::size_t m = 0; m < count; ++m) out.push_back(random_parameter(n, d, static_cast<std::uint32_t>(m + 1)));
  return out;
}
inline std::vector<DoubleParameter*> pointers(std::vector<DoubleParameter>& in) {
  std::vector<DoubleParameter*> out;
  for (DoubleParameter& p : in) out.push_back(&p);
  return out;
}
inline std::vector<DoubleVar> vars_of(DoubleTape& tape, std::vector<DoubleParameter>& in) {
  std::vector<DoubleVar> out;
  for (DoubleParameter& p : in) out.push_back(tape.parameter(p));
  return out;
}
inline std::vector<Matrix<double>> values_of(const std::vector<DoubleParameter>& in) {
  std::vector<Matrix<double>> out;
  for (const DoubleParameter& p : in) out.push_back(to_host(p.value()));
  return out;
}

/// Sum of f(a, b) over pairs a < b, divided by their number.
template <class F>
double mean_over_pairs(const std::vector<Matrix<double>>& in, const F& f) {
  double sum = 0;
  for (std::size_t a = 0; a < in.size(); ++a)
    for (std::size_t b = a + 1; b < in.size(); ++b) sum += f(a, b);
  return sum / static_cast<double>(in.size() * (in.size() - 1) / 2);
}

}  // namespace rearm::test
