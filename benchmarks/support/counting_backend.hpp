#pragma once
/// @file counting_backend.hpp
/// A backend that computes nothing and counts what its products would: the work of a step of any model.

#include <benchmarks/support/floor.hpp>

#include <tests/support/host_index_list.hpp>

#include <algorithm>
#include <numeric>
#include <span>
#include <string_view>
#include <vector>

namespace rearm::bench {

/// Values are whatever lies in the arena. What a model reads on the host (graphs, lists of ids) is as on the CPU, or of
/// the same size.
struct CountingBackend {
  using Scalar = float;
  using Memory = HostMemory;
  struct Options {};
  struct Resources {
    explicit Resources(Options) {}
    Work work;
  };
  using Ctx = Context<CountingBackend>;

  static constexpr std::string_view name() { return "counting"; }
  static constexpr Index cached_bytes = CpuBackend<float>::cached_bytes;

  template <class F>
  static void for_each(Ctx&, Index, const F&) {}
  template <class F>
  static void reduce_rows(Ctx&, Index, const F&, const RowSums<float>&) {}
  static void gemm(Ctx& ctx, Op op_a, Op, float, ConstView<float> a, ConstView<float>, MatrixView<float> c, Write) {
    ctx.resources().work.flops += product_flops(c.rows, c.cols, op_a == Op::none ? a.cols : a.rows);
  }
  template <class Then>
  static void spmm(Ctx& ctx, const CsrView<float>& s, ConstView<float>, MatrixView<float> y, Write, const Then&) {
    ctx.resources().work.gathered += bytes_of(s.offsets[s.rows], y.cols);
    ctx.resources().work.streamed += bytes_of(y.rows, y.cols);
  }
  static void gather_spmm(Ctx& ctx, const functors::GatherSpmmRow<float>& f) {
    Index entries = 0;
    for_each_distinct(f.rows, [&](Id i) { entries += f.a.offsets[i + 1] - f.a.offsets[i]; });
    ctx.resources().work.gathered += bytes_of(entries, f.x.cols);
    ctx.resources().work.streamed += bytes_of(f.y.rows, f.y.cols);
  }
  template <class Then>
  static void spmm_of_rows(Ctx& ctx, const functors::SpmmOfRowsRow<float>& f, const IndexList& rows, const Then&) {
    std::vector<Index> entries(static_cast<std::size_t>(f.a.cols));
    for (Index e = 0; e < f.a.nonzeros; ++e) ++entries[static_cast<std::size_t>(f.a.indices[e])];
    Index read = 0;
    for_each_distinct(rows, [&](Id i) { read += entries[static_cast<std::size_t>(i)]; });
    ctx.resources().work.gathered += bytes_of(read, f.x.cols);
    ctx.resources().work.streamed += bytes_of(f.y.view.rows, f.y.view.cols);
  }
  static IndexList index_list(Ctx& ctx, std::span<const Id> ids, Index) {
    return test::host_index_list(ctx.arena(), ids);
  }

 private:
  template <class F>
  static void for_each_distinct(const IndexList& rows, const F& f) {
    for (Index s = 0; s < rows.n_segments; ++s) f(rows.ids[rows.order[rows.segments[s]]]);
  }
};

}  // namespace rearm::bench

namespace rearm {

// The graphs are the CPU's.
template <class... Args>
NeighborTable co_occurrence_neighbors(Context<bench::CountingBackend>&, const Args&... args) {
  Context<CpuBackend<float>> cpu;
  return co_occurrence_neighbors(cpu, args...);
}
/// As many neighbors as there would be, but other ones: learned features have not been computed.
template <class Features>
NeighborTable cosine_knn(Context<bench::CountingBackend>&, const Features& features, Index k) {
  const Index n = features.rows(), n_neighbors = std::min(k, n);
  NeighborTable table(n, n_neighbors);
  for (Index i = 0; i < n; ++i) {
    table.counts[i] = n_neighbors;
    for (Index e = 0; e < n_neighbors; ++e) {
      table.ids(i, e) = static_cast<Id>((i + e) % n);
      table.values(i, e) = 1;
    }
  }
  return table;
}
template <class... Args>
NeighborTable user_knn(Context<bench::CountingBackend>&, const Args&... args) {
  Context<CpuBackend<float>> cpu;
  return user_knn(cpu, args...);
}

}  // namespace rearm
