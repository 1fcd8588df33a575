#pragma once
/// @file lane.hpp
/// Who computes a row. Every row functor is called with a lane of the team that has the row: one alone on the CPU, a
/// warp of 32 on a GPU.

#include <rearm/core/macros.hpp>
#include <rearm/core/matrix_view.hpp>

namespace rearm::REARM_ABI {

/// The CPU's lane: it has the whole row to itself. What every lane L brings, and what a functor keeps to:
/// - columns are walked as `for (Index j = lane.first(); j < cols; j += L::step)`, so one column is always the same
///   lane's, also from call to call;
/// - `sum` and `max` combine the values of all lanes and give every lane the result; all lanes come to each of them;
/// - what is one number a row is written `if (lane.leads())`, and no other lane reads it back in the same call;
/// - `sync` puts what any lane wrote before it ahead of what any reads after it.
struct SoleLane {
  static constexpr Index step = 1;
  REARM_HD constexpr Index first() const { return 0; }
  REARM_HD constexpr bool leads() const { return true; }
  template <class T>
  REARM_HD constexpr T sum(T x) const {
    return x;
  }
  template <class T>
  REARM_HD constexpr T max(T x) const {
    return x;
  }
  REARM_HD constexpr void sync() const {}
};

}  // namespace rearm::REARM_ABI
