#pragma once
/// @file finite.hpp
/// Counting values that are NaN or infinite.

#include <rearm/core/bfloat16.hpp>
#include <rearm/core/macros.hpp>
#include <rearm/core/matrix_view.hpp>

namespace rearm::REARM_ABI::functors {

/// partial += number of x_ij that are NaN or infinite; X is T or BFloat16.
template <class T, class X>
struct NonFiniteRow {
  MatrixView<const X> x;
  template <class L>
  REARM_HD void operator()(Index i, T* partial, const L& lane) const {
    T count{0};
    for (Index j = lane.first(); j < x.cols; j += L::step) count += is_finite(x(i, j)) ? T{0} : T{1};
    count = lane.sum(count);
    if (lane.leads()) *partial += count;
  }

 private:
  REARM_HD static bool is_finite(T value) { return value - value == T{0}; }
  REARM_HD static bool is_finite(BFloat16 value) { return (value.bits & 0x7F80U) != 0x7F80U; }
};

}  // namespace rearm::REARM_ABI::functors
