#pragma once
/// @file minimal_backend.hpp
/// A backend that has what `concept Backend` asks for and nothing else: naive loops on one thread. What runs on it
/// needs no specialization.

#include <rearm/backend/cpu/co_occurrence.hpp>
#include <rearm/backend/cpu/cpu_backend.hpp>
#include <rearm/backend/cpu/user_knn.hpp>
#include <rearm/core/context.hpp>

#include "tests/support/host_index_list.hpp"

#include <algorithm>
#include <span>
#include <string_view>
#include <vector>

namespace rearm::test {

/// Its context owns nothing.
struct NoOptions {};
struct NoResources {
  explicit NoResources(NoOptions) {}
};

template <class Scalar_>
struct MinimalBackend {
  using Scalar = Scalar_;
  using Memory = HostMemory;
  using Options = NoOptions;
  using Resources = NoResources;
  using Ctx = Context<MinimalBackend>;

  static constexpr std::string_view name() { return "minimal"; }
  static constexpr Index cached_bytes = Index{1} << 16;

  template <class F>
  static void for_each(Ctx&, Index n, const F& f) {
    for (Index i = n - 1; i >= 0; --i) f(i, SoleLane{});  // in no order that anybody may count on
  }
  template <class F>
  static void reduce_rows(Ctx&, Index n, const F& f, const RowSums<Scalar>& to) {
    const auto width = static_cast<std::size_t>(to.width());
    std::vector<Scalar> sums(width, Scalar{0}), part(width);
    for (Index begin = 0; begin < n; begin += 256) {  // one long sum of floats would lose too much
      std::ranges::fill(part, Scalar{0});
      for (Index i = begin; i < std::min(n, begin + 256); ++i) f(i, part.data(), SoleLane{});
      for (std::size_t j = 0; j < width; ++j) sums[j] += part[j];
    }
    for (int group = 0; group < to.n_groups; ++group)
      for (std::size_t j = 0; j < sums.size(); ++j) to.put(group, static_cast<Index>(j), sums[j]);
  }
  static void gemm(Ctx&, Op op_a, Op op_b, Scalar alpha, ConstView<Scalar> a, ConstView<Scalar> b, MatrixView<Scalar> c,
                   Write write) {
    const Index inner = op_a == Op::none ? a.cols : a.rows;
    for (Index i = 0; i < c.rows; ++i)
      for (Index j = 0; j < c.cols; ++j) {
        double sum = 0;
        for (Index k = 0; k < inner; ++k)
          sum += static_cast<double>(op_a == Op::none ? a(i, k) : a(k, i)) *
                 static_cast<double>(op_b == Op::none ? b(k, j) : b(j, k));
        const Scalar value = alpha * static_cast<Scalar>(sum);
        c(i, j) = write == Write::overwrite ? value : c(i, j) + value;
      }
  }
  template <class Then>
  static void spmm(Ctx&, CsrView<Scalar> s, ConstView<Scalar> x, MatrixView<Scalar> y, Write write, const Then& then) {
    for (Index i = 0; i < s.rows; ++i) {
      if (write == Write::overwrite) std::fill_n(y.row(i), y.cols, Scalar{0});
      for (Index e = s.offsets[i]; e < s.offsets[i + 1]; ++e)
        for (Index j = 0; j < y.cols; ++j) y(i, j) += s.values[e] * x(s.indices[e], j);
      then(i, SoleLane{});
    }
  }
  static IndexList index_list(Ctx& ctx, std::span<const Id> ids, Index) { return host_index_list(ctx.arena(), ids); }
};

// Graphs are data to these tests: the CPU's.
template <class T, class... Args>
NeighborTable co_occurrence_neighbors(Context<MinimalBackend<T>>&, const Args&... args) {
  Context<CpuBackend<T>> cpu({.threads = 1});
  return rearm::co_occurrence_neighbors(cpu, args...);
}
template <class T, class Features>
NeighborTable cosine_knn(Context<MinimalBackend<T>>&, const Features& features, Index k) {
  Context<CpuBackend<T>> cpu({.threads = 1});
  return rearm::cosine_knn(cpu, features, k);
}
template <class T, class Features>
NeighborTable user_knn(Context<MinimalBackend<T>>&, const Adjacency& items_by_user, const Features& features, Index k,
                       std::size_t gram_bytes, ItemNeighbors* of_items) {
  Context<CpuBackend<T>> cpu({.threads = 1});
  return rearm::user_knn(cpu, items_by_user, features, k, gram_bytes, of_items);
}

}  // namespace rearm::test
