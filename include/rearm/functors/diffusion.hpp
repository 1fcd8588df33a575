#pragma once
/// @file diffusion.hpp
/// Formula of one row of a sparse matrix that loses entries at random.

#include <rearm/core/csr.hpp>
#include <rearm/functors/elementwise.hpp>

#include <cstdint>

namespace rearm::REARM_ABI::functors {

/// values_e = a_e mask / (1 - p) for the entries e of row i. The mask belongs to the place (row, column) in the matrix,
/// whose transpose `a` is if `transposed`: a matrix and its transpose lose the same entries.
template <class T>
struct DropEntriesRow {
  CsrView<T> a;
  bool transposed;
  RandomKey key;
  double p;
  T* values;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T kept = DropoutMask::scale<T>(p);
    const auto threshold = static_cast<std::uint64_t>(p * 4294967296.0 + 0.5);
    for (Index e = a.offsets[i] + lane.first(); e < a.offsets[i + 1]; e += L::step) {
      const Index place = transposed ? a.indices[e] * a.rows + i : i * a.cols + a.indices[e];
      const bool keep = key.noise(static_cast<std::uint64_t>(place)).word[0] >= threshold;
      values[e] = keep ? kept * a.values[e] : T{0};
    }
  }
};

}  // namespace rearm::REARM_ABI::functors
