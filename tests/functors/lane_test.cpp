/// @file lane_test.cpp
/// Every row functor gives 32 lanes that share a row what it gives a lane that has the row alone.

#include "tests/support/matrices.hpp"
#include "tests/support/scalars.hpp"

#include <rearm/functors/adam.hpp>
#include <rearm/functors/attention.hpp>
#include <rearm/functors/batch_norm.hpp>
#include <rearm/functors/bpr.hpp>
#include <rearm/functors/broadcast.hpp>
#include <rearm/functors/diffusion.hpp>
#include <rearm/functors/edge_attention.hpp>
#include <rearm/functors/edge_values.hpp>
#include <rearm/functors/gather.hpp>
#include <rearm/functors/info_nce.hpp>
#include <rearm/functors/low_rank.hpp>
#include <rearm/functors/map.hpp>
#include <rearm/functors/normalize.hpp>
#include <rearm/functors/sampled.hpp>
#include <rearm/functors/softmax.hpp>
#include <rearm/functors/top_k.hpp>

#include <algorithm>
#include <barrier>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

namespace functors_lane_test {

using namespace rearm;
using namespace rearm::test;

namespace {

constexpr Index n_rows = 3;

/// What 32 threads need to meet. Two sets of slots in turn, so that meeting once is enough.
struct Meeting {
  std::barrier<> barrier{32};
  double slots[2][32];
};

/// One of 32 threads that share a row as the lanes of a warp do: sums by exchanging with the lane 1, 2, ..., 16 away.
class TeamLane {
 public:
  static constexpr Index step = 32;
  TeamLane(Meeting& meeting, Index number) : meeting_(&meeting), number_(number) {}
  Index first() const { return number_; }
  bool leads() const { return number_ == 0; }
  template <class T>
  T sum(T x) const {
    return combine(x, [](T a, T b) { return a + b; });
  }
  template <class T>
  T max(T x) const {
    return combine(x, [](T a, T b) { return b > a ? b : a; });
  }
  void sync() const { meeting_->barrier.arrive_and_wait(); }

 private:
  template <class T, class F>
  T combine(T x, const F& f) const {
    double* const slots = meeting_->slots[turn_];
    turn_ = 1 - turn_;
    slots[number_] = static_cast<double>(x);
    sync();
    T all[32];
    for (Index l = 0; l < 32; ++l) all[l] = static_cast<T>(slots[l]);
    for (Index distance = 1; distance < 32; distance *= 2)
      for (Index l = 0; l < 32; l += 2 * distance) all[l] = f(all[l], all[l + distance]);
    return all[0];
  }
  Meeting* meeting_;
  Index number_;
  mutable int turn_ = 0;
};

/// Arrays that a functor writes, with something in them already; the same every time they are made.
template <class T>
class Outputs {
 public:
  MatrixView<T> operator()(Index rows, Index cols) {
    const auto stream = static_cast<std::uint32_t>(100 + matrices_.size());
    matrices_.push_back(std::make_unique<Matrix<T>>(random_matrix<T>(rows, cols, stream)));
    return matrices_.back()->view();
  }
  /// One number a row.
  T* column() { return (*this)(n_rows, 1).data; }
  /// None below zero.
  MatrixView<T> squares(Index rows, Index cols) {
    const MatrixView<T> m = (*this)(rows, cols);
    for (Index i = 0; i < m.size(); ++i) m.data[i] *= m.data[i];
    return m;
  }
  const auto& matrices() const { return matrices_; }

 private:
  std::vector<std::unique_ptr<Matrix<T>>> matrices_;
};

/// Functors to run both ways: at once on one lane, and by `compare` on 32 threads, one functor after the other.
template <class T>
class Comparison {
 public:
  /// `make(out)` is a functor called as f(i, lane) that writes to arrays of `out`.
  template <class Make>
  void operator()(const std::string& name, const Make& make) {
    trials_.push_back(std::make_unique<Trial>());
    Trial& trial = *trials_.back();
    trial.name = name;
    const auto alone = make(trial.alone);
    for (Index i = 0; i < n_rows; ++i) alone(i, SoleLane{});
    trial.by_lane = [f = make(trial.shared)](const TeamLane& lane) {
      for (Index i = 0; i < n_rows; ++i) f(i, lane);
    };
  }
  void compare() const {
    Meeting meeting;
    {
      std::vector<std::jthread> threads;
      for (Index l = 0; l < 32; ++l)
        threads.emplace_back([this, &meeting, l] {
          const TeamLane lane(meeting, l);
          for (const auto& trial : trials_) trial->by_lane(lane);
        });
    }
    for (const auto& trial : trials_) {
      CAPTURE(trial->name);
      for (std::size_t m = 0; m < trial->alone.matrices().size(); ++m) {
        const Matrix<T>& want = *trial->alone.matrices()[m];
        CAPTURE(m);
        check_close(trial->shared.matrices()[m]->view(), tabulate(want.rows(), want.cols(), [&](Index i, Index j) {
                      return static_cast<double>(want(i, j));
                    }));
      }
    }
  }

 private:
  struct Trial {
    std::string name;
    Outputs<T> alone;
    Outputs<T> shared;
    std::function<void(const TeamLane&)> by_lane;
  };
  std::vector<std::unique_ptr<Trial>> trials_;
};

/// A functor that adds to `partial`, as one that is called without it.
template <class F, class T>
auto adding(const F& f, MatrixView<T> partial) {
  return [f, partial](Index i, const auto& lane) { f(i, partial.data, lane); };
}

constexpr Index widths[] = {1, 3, 64, 67, 192};
constexpr Write both_writes[] = {Write::overwrite, Write::accumulate};

/// Operands of the tests: two arrays of random numbers, a gradient, one number a row, one row.
template <class T>
struct Operands {
  explicit Operands(Index cols_)
      : cols(cols_),
        a_storage(random_matrix<T>(n_rows, cols_, 1)),
        b_storage(random_matrix<T>(n_rows, cols_, 2)),
        d_y_storage(random_matrix<T>(n_rows, cols_, 3)),
        column_storage(random_matrix<T>(n_rows, 1, 4)),
        row_storage(random_matrix<T>(1, cols_, 5)) {}
  Index cols;
  Matrix<T> a_storage, b_storage, d_y_storage, column_storage, row_storage;
  ConstView<T> a = a_storage.view(), b = b_storage.view(), d_y = d_y_storage.view(), column = column_storage.view(),
               row = row_storage.view();
  /// Scalars, where an operator has them in memory.
  const T* weight = column.data;
  const T* bias = column.data + 1;
};

}  // namespace

TEST_CASE_TEMPLATE("32 lanes: copies, sums, activations, dropout", T, REARM_TEST_SCALARS) {
  using namespace functors;
  for (const Index cols : widths) {
    CAPTURE(cols);
    const Operands<T> in(cols);
    Comparison<T> same;
    using Out = Outputs<T>;
    same("FillRow", [&](Out& out) { return FillRow<T>{T(3), out(n_rows, cols)}; });
    same("AddRow", [&](Out& out) { return AddRow<T>{in.a, T(0.5), in.b, out(n_rows, cols)}; });
    same("AddRow, one row for all, in place", [&](Out& out) {
      const MatrixView<T> y = out(n_rows, cols);
      return AddRow<T>{y, T(1), in.row, y};
    });
    same("AddRow, scaled, added to what is there", [&](Out& out) {
      return AddRow<T>{in.a, T(0.5), in.b, add_to(out(n_rows, cols)), T(0.25)};
    });
    same("GumbelRow", [&](Out& out) { return GumbelRow<T>{in.a, out(n_rows, cols), {4, 5, 6}}; });
    same("GumbelRow, in place", [&](Out& out) {
      const MatrixView<T> y = out(n_rows, cols);
      return GumbelRow<T>{y, y, {4, 5, 6}};
    });
    same("ColumnSumRow", [&](Out& out) { return adding(ColumnSumRow<T>{T(0.5), in.a}, out(1, cols)); });
    same("DotSumRow", [&](Out& out) { return adding(DotSumRow<T>{T(0.5), in.a, in.b}, out(1, 1)); });
    same("SumRow", [&](Out& out) { return adding(SumRow<T>{T(0.5), in.a}, out(1, 1)); });
    same("DotRow", [&](Out& out) { return DotRow<T>{in.a, in.b, out(n_rows, 1)}; });
    same("PreluRow", [&](Out& out) { return PreluRow<T>{in.a, in.weight, out(n_rows, cols)}; });
    same("PreluSlopeBackwardRow", [&](Out& out) { return adding(PreluSlopeBackwardRow<T>{in.a, in.d_y}, out(1, 1)); });
    same("ScalarAffineRow", [&](Out& out) { return ScalarAffineRow<T>{in.a, in.weight, in.bias, out(n_rows, cols)}; });
    same("ScalarAffineBackwardRow, weight and bias alone", [&](Out& out) {
      return adding(ScalarAffineBackwardRow<T>{in.a, {in.weight, in.d_y, {}}}, out(1, 2));
    });
    for (const Write write : both_writes) {
      same("ScaleRow", [&](Out& out) { return ScaleRow<T>{T(3), in.a, {out(n_rows, cols), write}}; });
      same("ScaleByRow", [&](Out& out) { return ScaleByRow<T>{T(3), in.weight, in.a, {out(n_rows, cols), write}}; });
      same("DotBackwardRow", [&](Out& out) { return DotBackwardRow<T>{in.b, in.column, {out(n_rows, cols), write}}; });
      same("PreluInputBackwardRow", [&](Out& out) {
        return PreluInputBackwardRow<T>{in.a, in.weight, in.d_y, {out(n_rows, cols), write}};
      });
      same("PreluBackwardRow", [&](Out& out) {
        const MatrixView<T> d_x = out(n_rows, cols);
        return adding(PreluBackwardRow<T>{{in.a, in.weight, in.d_y, {d_x, write}}}, out(1, 1));
      });
      same("ScalarAffineInputBackwardRow", [&](Out& out) {
        return ScalarAffineInputBackwardRow<T>{in.weight, in.d_y, {out(n_rows, cols), write}};
      });
      same("ScalarAffineBackwardRow", [&](Out& out) {
        const MatrixView<T> d_x = out(n_rows, cols);
        return adding(ScalarAffineBackwardRow<T>{in.a, {in.weight, in.d_y, {d_x, write}}}, out(1, 2));
      });
      same("NormalRow", [&](Out& out) { return NormalRow<T>{{4, 5, 6}, out(n_rows, cols)}; });
      same("DropoutRow", [&](Out& out) {
        return DropoutRow<T>{in.a, {out(n_rows, cols), write}, DropoutMask::make({4, 5, 6}, 0.4), T(1 / 0.6)};
      });
    }
    same.compare();
  }
}

TEST_CASE_TEMPLATE("32 lanes: the elementwise family, sums and products with a repeated operand", T,
                   REARM_TEST_SCALARS) {
  using namespace functors;
  for (const Index cols : widths) {
    CAPTURE(cols);
    const Operands<T> in(cols);
    auto positive = random_matrix<T>(n_rows, cols, 6);  // log and sqrt take no other
    for (Index i = 0; i < positive.size(); ++i) positive.data()[i] = std::abs(positive.data()[i]) + T(0.1);
    Comparison<T> same;
    using Out = Outputs<T>;
    const auto both_ways = [&](const auto& f) {
      using F = std::decay_t<decltype(f)>;
      const ConstView<T> x = std::isnan(f.value(T(-1))) ? ConstView<T>(positive.view()) : in.a;
      same(F::name, [&](Out& out) { return MapRow<T, F>{f, x, out(n_rows, cols)}; });
      for (const Write write : both_writes)
        same(std::string(F::name) + ", backward", [&](Out& out) {
          return MapBackwardRow<T, F>{f, x, positive.view(), in.d_y, {out(n_rows, cols), write}};
        });
    };
    std::apply([&](const auto&... f) { (both_ways(f), ...); }, Maps{});
    same("AddColumnRow", [&](Out& out) { return AddColumnRow<T>{in.a, T(0.5), in.column, out(n_rows, cols)}; });
    same("ColumnDotRow", [&](Out& out) { return adding(ColumnDotRow<T>{in.a, in.b}, out(1, cols)); });
    for (const Write write : both_writes) {
      for (const ConstView<T>& b : {in.b, in.row, in.column})
        same("MulRow", [&](Out& out) { return MulRow<T>{in.a, b, {out(n_rows, cols), write}}; });
      same("RowSumRow", [&](Out& out) { return RowSumRow<T>{T(0.5), in.a, {out(n_rows, 1), write}}; });
    }
    same.compare();
  }
}

TEST_CASE_TEMPLATE("32 lanes: normalization and cosine", T, REARM_TEST_SCALARS) {
  using namespace functors;
  for (const Index cols : widths) {
    CAPTURE(cols);
    const Operands<T> in(cols);
    // With eps = 1 some rows of one column lie below it.
    const T eps(1);
    Matrix<T> norm(n_rows, 1);
    for (Index i = 0; i < n_rows; ++i) norm(i, 0) = T(0.5) + static_cast<T>(i);
    Comparison<T> same;
    using Out = Outputs<T>;
    same("NormalizeRow", [&](Out& out) { return NormalizeRow<T>{in.a, eps, out(n_rows, cols), out.column()}; });
    same("ScaleDetachedRow", [&](Out& out) { return ScaleDetachedRow<T>{in.a, eps, out(n_rows, cols), out.column()}; });
    const T slope(0.25);
    const T* const slopes[] = {nullptr, &slope};
    for (const T* const below : slopes)
      same("LayerNormRow", [&](Out& out) {
        const MatrixView<T> y = out(n_rows, cols);
        T* const mean = out.column();
        return LayerNormRow<T>{in.a, in.row.data, in.b.data, eps, y, mean, out.column(), below};
      });
    same("LogSumExpRow", [&](Out& out) { return LogSumExpRow<T>{in.a, out(n_rows, 1)}; });
    same("CosineRow", [&](Out& out) { return CosineRow<T>{in.a, in.b, eps, out(n_rows, 1)}; });
    for (const Write write : both_writes) {
      same("NormalizeBackwardRow", [&](Out& out) {
        return NormalizeBackwardRow<T>{in.a, norm.data(), eps, in.d_y, {out(n_rows, cols), write}};
      });
      same("ScaleDetachedBackwardRow", [&](Out& out) {
        return ScaleDetachedBackwardRow<T>{norm.data(), in.d_y, {out(n_rows, cols), write}};
      });
      for (const T* const below : slopes)
        same("LayerNormBackwardRow", [&](Out& out) {
          const MatrixView<T> d_x = out(n_rows, cols);
          return adding(LayerNormBackwardRow<T>{in.a,
                                                in.row.data,
                                                below != nullptr ? in.b.data : nullptr,
                                                below,
                                                in.weight,
                                                norm.data(),
                                                in.d_y,
                                                {d_x, write}},
                        out(1, 2 * cols + 1));
        });
      same("LogSumExpBackwardRow", [&](Out& out) {
        return LogSumExpBackwardRow<T>{in.a, in.column, in.column, {out(n_rows, cols), write}};
      });
      same("CosineBackwardRow", [&](Out& out) {
        return CosineBackwardRow<T>{in.a, in.b, eps, in.column, {out(n_rows, cols), write}};
      });
    }
    same.compare();
  }
}

TEST_CASE_TEMPLATE("32 lanes: softmax, whole groups to a lane and groups shared by all", T, REARM_TEST_SCALARS) {
  using namespace functors;
  for (const Index cols : widths) {
    CAPTURE(cols);
    const Operands<T> in(cols);
    const auto far = random_matrix<T>(n_rows, cols, 6, 60.0);  // rows wider than e^80
    Comparison<T> same;
    using Out = Outputs<T>;
    const std::pair<Index, Index> shapes[] = {{cols, 1}, {1, cols}, {2, 32}, {4, 2}, {64, 1}, {64, 3}, {3, 64}};
    for (const auto& shape : shapes) {
      const Index axis = shape.first;
      const Index inner = shape.second;
      if (cols % (axis * inner) != 0) continue;
      const std::string how = " " + std::to_string(axis) + " x " + std::to_string(inner);
      same("SoftmaxRow" + how, [&](Out& out) { return SoftmaxRow<T>{in.a, axis, inner, out(n_rows, cols)}; });
      same("SoftmaxRow, far apart" + how, [&](Out& out) {
        return SoftmaxRow<T>{far.view(), axis, inner, out(n_rows, cols)};
      });
      same("SoftmaxRow, in place" + how, [&](Out& out) {
        const MatrixView<T> y = out(n_rows, cols);
        return SoftmaxRow<T>{y, axis, inner, y};
      });
      for (const Write write : both_writes)
        same("SoftmaxBackwardRow" + how, [&](Out& out) {
          return SoftmaxBackwardRow<T>{in.a, axis, inner, in.d_y, {out(n_rows, cols), write}};
        });
    }
    same.compare();
  }
}

TEST_CASE_TEMPLATE("32 lanes: weights of edges", T, REARM_TEST_SCALARS) {
  using namespace functors;
  // Three rows, the second empty, the third longer than a warp; `numbers` a permutation.
  constexpr Index n_edges = 40;
  const std::vector<Index> offsets = {0, 3, 3, n_edges};
  std::vector<Id> indices;
  std::vector<Index> numbers;
  for (Index e = 0; e < n_edges; ++e) {
    indices.push_back(static_cast<Id>(e * 7 % 5));
    numbers.push_back(e * 7 % n_edges);
  }
  const auto values = random_matrix<T>(n_edges, 1, 7), others = random_matrix<T>(n_edges, 1, 8),
             factors = random_matrix<T>(5, 1, 9);
  const CsrView<T> at{n_rows, 5, offsets.data(), indices.data(), values.data(), n_edges};
  Comparison<T> same;
  using Out = Outputs<T>;
  same("EdgeSoftmaxRow", [&](Out& out) {
    return EdgeSoftmaxRow<T>{offsets.data(), values.data(), out(n_edges, 1).data};
  });
  same("EdgeSoftmaxRow, in place", [&](Out& out) {
    T* const p = out(n_edges, 1).data;
    return EdgeSoftmaxRow<T>{offsets.data(), p, p};
  });
  for (const Write write : both_writes) {
    same("EdgeSoftmaxBackwardRow", [&](Out& out) {
      return EdgeSoftmaxBackwardRow<T>{offsets.data(), values.data(), others.data(), out(n_edges, 1).data, write};
    });
    same("ScaleColumnsRow", [&](Out& out) {
      return ScaleColumnsRow<T>{at, factors.view(), out(n_edges, 1).data, write};
    });
    same("EdgeColumnDotRow", [&](Out& out) {
      return EdgeColumnDotRow<T>{offsets.data(), numbers.data(), values.data(), others.data(), {out(n_rows, 1), write}};
    });
  }
  same.compare();
}

TEST_CASE_TEMPLATE("32 lanes: gather, BPR, thin products, attention", T, REARM_TEST_SCALARS) {
  using namespace functors;
  for (const Index cols : widths) {
    CAPTURE(cols);
    const Operands<T> in(cols);
    // Three targets, gathered once, three times and twice.
    const std::vector<Id> ids = {4, 1, 4, 0, 4, 1};
    const std::vector<Id> order = {3, 1, 5, 0, 2, 4};
    const std::vector<Index> segments = {0, 1, 3, 6};
    const auto gathered = random_matrix<T>(6, cols, 6);
    Comparison<T> same;
    using Out = Outputs<T>;
    same("GatherRow", [&](Out& out) { return GatherRow<T>{gathered.view(), ids.data(), out(n_rows, cols)}; });
    same("ScatterAddRow", [&](Out& out) {
      return ScatterAddRow<T>{ids.data(), order.data(), segments.data(), gathered.view(), out(5, cols)};
    });
    const Index n_entries = cols == 1 ? 2 : 3;  // no place twice
    const std::vector<Index> offsets = {0, 1, 1, n_entries};
    const std::vector<Id> columns = {0, 0, static_cast<Id>(cols - 1)};
    const CsrView<T> sparse{3, cols, offsets.data(), columns.data(), gathered.data(), n_entries};
    const std::vector<Id> sparse_ids = {2, 1, 0};
    same("GatherSparseRow", [&](Out& out) { return GatherSparseRow<T>{sparse, sparse_ids.data(), out(n_rows, cols)}; });
    const IndexList rows{ids.data(), static_cast<Index>(ids.size()), order.data(), segments.data(), n_rows};
    const std::vector<Index> square_offsets = {0, 2, 2, 2, 2, 3};
    const std::vector<Id> square_columns = {0, 4, 2}, row_of = {2, 0, 1, 2, 2};
    const CsrView<T> square{5, 5, square_offsets.data(), square_columns.data(), in.column.data, 3};
    std::vector<Id> found(5), cleared(5);
    for (const bool with_addend : {false, true})
      same("GatherSpmmRow", [&](Out& out) {
        const ConstView<T> addend = with_addend ? ConstView<T>(gathered.view()) : ConstView<T>();
        return GatherSpmmRow<T>{square, gathered.view(), addend, T(0.5), rows, out(rows.size, cols)};
      });
    same("SumPlacesRow", [&](Out& out) {
      return SumPlacesRow<T>{rows, T(0.5), gathered.view(), out(n_rows, cols), found.data()};
    });
    same("NoRowsRow", [&](Out& out) { return NoRowsRow<T>{cleared.data(), 5, 3, out(1, cols).data, cols}; });
    for (const Write write : both_writes)
      same("SpmmOfRowsRow", [&](Out& out) {
        return SpmmOfRowsRow<T>{square, row_of.data(), gathered.view(), {out(5, cols), write}};
      });
    same("AddRowOfRow", [&](Out& out) { return AddRowOfRow<T>{row_of.data(), gathered.view(), out(5, cols)}; });
    for (const Index k : {Index{1}, std::min<Index>(cols, 5)}) {
      Matrix<T> ties = random_matrix<T>(n_rows, cols, 10);
      for (Index i = 0; i < ties.size(); ++i) ties.data()[i] = std::round(ties.data()[i]);
      const auto x = std::make_shared<const Matrix<T>>(std::move(ties));
      same("TopKRow", [&](Out& out) {
        const auto chosen = std::make_shared<Matrix<Id>>(n_rows, k);
        return [x, chosen, to = out(n_rows, k)](Index i, const auto& lane) {
          TopKRow<T>{x->view(), chosen->view()}(i, lane);
          if (lane.leads()) std::copy_n(chosen->row(i), to.cols, to.row(i));
        };
      });
    }
    same("BprRow", [&](Out& out) { return adding(BprRow<T>{in.a, in.b, in.d_y, T(0.5)}, out(1, 1)); });
    const Index k = 2;
    const auto first = random_matrix<T>(n_rows, cols * k, 7);
    const auto second = random_matrix<T>(n_rows, cols * k, 8);
    const auto mid = random_matrix<T>(n_rows, k, 9);
    for (const LowRankOrder order_of : {LowRankOrder::left_to_right, LowRankOrder::right_to_left}) {
      const LowRankLayout layout{cols, k, order_of};
      same("LowRankRow", [&](Out& out) {
        const MatrixView<T> y = out(n_rows, cols);
        return LowRankRow<T>{in.a, first.view(), second.view(), layout, out(n_rows, k), y};
      });
      for (const Write write : both_writes)
        for (const bool all : {false, true})
          same("LowRankBackwardRow", [&](Out& out) {
            const MatrixView<T> d_x = all ? out(n_rows, cols) : MatrixView<T>{};
            const MatrixView<T> d_first = out(n_rows, cols * k);
            const MatrixView<T> d_second = all ? out(n_rows, cols * k) : MatrixView<T>{};
            return LowRankBackwardRow<T>{in.a,   first.view(), second.view(),    layout,           mid.view(),
                                         in.d_y, {d_x, write}, {d_first, write}, {d_second, write}};
          });
    }
    for (const Write write : both_writes)
      same("BprBackwardRow", [&](Out& out) {
        const MatrixView<T> d_user = out(n_rows, cols);
        const MatrixView<T> d_positive = out(n_rows, cols);
        return BprBackwardRow<T>{
            in.a, in.b, in.d_y, T(0.5), in.weight, {d_user, write}, {d_positive, write}, {out(n_rows, cols), write}};
      });
    const AttentionInput<T> attention{in.a, in.b, in.d_y, T(0.5), true, DropoutMask::make({4, 5, 6}, 0.3), T(1 / 0.7)};
    same("AttentionRow", [&](Out& out) { return AttentionRow<T>{attention, out(n_rows, cols)}; });
    same("AttentionBackwardRow", [&](Out& out) {
      const MatrixView<T> d_q = out(n_rows, cols);
      const MatrixView<T> d_k = out(n_rows, cols);
      return AttentionBackwardRow<T>{attention, in.a, in.b, d_q, d_k, out(n_rows, cols)};
    });
    same.compare();
  }
}

TEST_CASE_TEMPLATE("32 lanes: sparse matrices with computed values, InfoNCE", T, REARM_TEST_SCALARS) {
  using namespace functors;
  // Three rows, the second empty, the third longer than a warp; `numbers` a permutation.
  constexpr Index n_edges = 40;
  const std::vector<Index> offsets = {0, 3, 3, n_edges};
  std::vector<Id> indices;
  std::vector<Index> numbers;
  for (Index e = 0; e < n_edges; ++e) {
    indices.push_back(static_cast<Id>(e * 7 % 5));
    numbers.push_back(e * 7 % n_edges);
  }
  const auto values = random_matrix<T>(n_edges, 1, 7);
  Comparison<T> permuted;
  permuted("PermuteValuesRow", [&](Outputs<T>& out) {
    return PermuteValuesRow<T>{offsets.data(), numbers.data(), values.data(), out(n_edges, 1).data};
  });
  permuted.compare();
  for (const Index cols : widths) {
    CAPTURE(cols);
    const Operands<T> in(cols);
    const auto gathered = random_matrix<T>(5, cols, 6);
    Comparison<T> same;
    using Out = Outputs<T>;
    const CsrView<T> at{n_rows, 5, offsets.data(), indices.data(), nullptr, n_edges};
    for (const Write write : both_writes)
      same("SddmmRow", [&](Out& out) { return SddmmRow<T>{at, in.a, gathered.view(), out(n_edges, 1).data, write}; });
    for (const Index left_out : {Index{0}, n_rows}) {
      if (cols < 2 * n_rows) continue;
      const InfoNceScale<T> scale{T(2), T(0.5), true, nullptr, left_out};
      for (const bool gradient : {false, true})
        same("InfoNceRow",
             [&](Out& out) { return InfoNceRow<T>{out(n_rows, cols), 0, n_rows, scale, out.column(), gradient}; });
    }
    same.compare();
  }
}

TEST_CASE_TEMPLATE("32 lanes: candidates of a row, attention inside blocks, entries dropped", T, REARM_TEST_SCALARS) {
  using namespace functors;
  for (const Index cols : widths) {
    CAPTURE(cols);
    const Operands<T> in(cols);
    const std::vector<Id> ids = {4, 1, 4, 0, 4, 1};  // two a row
    const std::vector<Id> order = {3, 1, 5, 0, 2, 4};
    const std::vector<Index> segments = {0, 1, 3, 6};
    const auto table = random_matrix<T>(5, cols, 6);
    const auto pairs = random_matrix<T>(n_rows, 2, 7);
    Comparison<T> same;
    using Out = Outputs<T>;
    for (const Write write : both_writes) {
      same("SampledScoresRow", [&](Out& out) {
        return SampledScoresRow<T>{in.a, table.view(), ids.data(), {out(n_rows, 2), write}};
      });
      same("SampledSumRow", [&](Out& out) {
        return SampledSumRow<T>{pairs.view(), table.view(), ids.data(), {out(n_rows, cols), write}};
      });
    }
    same("SampledSpreadRow", [&](Out& out) {
      return SampledSpreadRow<T>{in.a, pairs.view(), {ids.data(), 6, order.data(), segments.data(), 3}, out(5, cols)};
    });
    // Blocks of `cols` rows: more than there are lanes, and fewer.
    const auto q = random_matrix<T>(n_rows * cols, 2, 8);
    const auto k = random_matrix<T>(n_rows * cols, 2, 9);
    same("BlockAttentionRow", [&](Out& out) {
      const MatrixView<T> lse = out(n_rows, cols);
      return BlockAttentionRow<T>{q.view(), k.view(), in.a, lse, out(n_rows, cols)};
    });
    for (const Write write : both_writes)
      same("BlockAttentionBackwardRow", [&](Out& out) {
        const MatrixView<T> lse = out(n_rows, cols), y = out(n_rows, cols);
        const MatrixView<T> d_q = out(n_rows * cols, 2), d_k = out(n_rows * cols, 2);
        std::fill_n(lse.data, lse.size(), T(4));
        return BlockAttentionBackwardRow<T>{
            {q.view(), k.view(), in.a, lse, y}, in.d_y, {d_q, write}, {d_k, write}, {out(n_rows, cols), write}};
      });
    std::vector<Index> offsets = {0, cols, cols, 2 * cols};
    std::vector<Id> columns;
    for (Index e = 0; e < 2 * cols; ++e) columns.push_back(static_cast<Id>(e % cols));
    const CsrView<T> matrix{n_rows, cols, offsets.data(), columns.data(), in.a.data, 2 * cols};
    for (const bool transposed : {false, true})
      same("DropEntriesRow", [&](Out& out) {
        return DropEntriesRow<T>{matrix, transposed, {4, 5, 6}, 0.3, out(2, cols).data};
      });
    same.compare();
  }
}

TEST_CASE_TEMPLATE("32 lanes: batch normalization", T, REARM_TEST_SCALARS) {
  using namespace functors;
  for (const Index cols : widths) {
    CAPTURE(cols);
    const Operands<T> in(cols);
    const auto beta = random_matrix<T>(1, cols, 6), mean = random_matrix<T>(1, cols, 7);
    Comparison<T> same;
    using Out = Outputs<T>;
    same("CenteredSquaresRow", [&](Out& out) {
      return adding(CenteredSquaresRow<T>{T(0.5), in.a, mean.data()}, out(1, cols));
    });
    same("BatchMomentsRow", [&](Out& out) {
      const T* const variance = out.squares(1, cols).data;
      T* const rstd = out(1, cols).data;
      T* const running = out(1, cols).data;
      return BatchMomentsRow<T>{cols, mean.data(), variance, T(1e-5), rstd, running, out(1, cols).data, T(0.1), T(2)};
    });
    for (const T* const slope : {static_cast<const T*>(nullptr), in.weight}) {
      const BatchNormInput<T> input{in.a, mean.data(), in.row.data, in.b.data, beta.data(), slope};
      same("BatchNormRow", [&](Out& out) { return BatchNormRow<T>{input, out(n_rows, cols)}; });
      same("BatchNormSumsRow", [&](Out& out) {
        return adding(BatchNormSumsRow<T>{input, in.d_y}, out(1, 2 * cols + 1));
      });
      for (const Write write : both_writes)
        same("BatchNormBackwardRow", [&](Out& out) {
          return BatchNormBackwardRow<T>{input,       in.d_y,      beta.data(),
                                         mean.data(), T(1) / T(3), {out(n_rows, cols), write}};
        });
    }
    same.compare();
  }
}

TEST_CASE_TEMPLATE("32 lanes: Adam, moments in full", T, REARM_TEST_SCALARS) {
  using namespace functors;
  const AdamUpdate<T> update{T(0.9), T(0.999), T(1e-8), T(0.99), T(0.01), T(1.5)};
  for (const Index cols : widths) {
    CAPTURE(cols);
    const Operands<T> in(cols);
    Comparison<T> same;
    same("AdamRow", [&](Outputs<T>& out) {
      const MatrixView<T> value = out(n_rows, cols);
      const MatrixView<T> moment1 = out(n_rows, cols);
      return AdamRow<T>{{update, value, moment1, out.squares(n_rows, cols)}, in.d_y};
    });
    same.compare();
  }
}

TEST_CASE_TEMPLATE("32 lanes: Adam, moments rounded with the same random bits", T, REARM_TEST_SCALARS) {
  using namespace functors;
  // Moments, gradients and betas of few bits: the moments are exact before they are rounded, whatever the compiler
  // fuses, so only other random words could make them differ.
  const AdamUpdate<T> update{T(0.5), T(0.75), T(1e-8), T(0.99), T(0.01), T(1.5)};
  const RandomKey key{3, 4, 5};
  for (const Index cols : widths) {
    CAPTURE(cols);
    const Index all_cols = cols + 64;
    Matrix<T> grad(n_rows, cols);
    for (Index i = 0; i < grad.size(); ++i)
      grad.data()[i] = static_cast<T>(key.below(static_cast<std::uint64_t>(i), 1024)) / T(1024);
    // A tile that begins inside its parameter; outputs are the values, then both moments.
    std::vector<std::unique_ptr<Matrix<BFloat16>>> moments;
    Comparison<T> same;
    same("AdamRow, rounded", [&](Outputs<T>& out) {
      const MatrixView<T> value = out(n_rows + 1, all_cols);
      for (int m = 0; m < 2; ++m) {
        moments.push_back(std::make_unique<Matrix<BFloat16>>(n_rows + 1, all_cols));
        for (Index i = 0; i < value.size(); ++i)
          moments.back()->data()[i] = round_at_random(static_cast<float>(i % 64) / 64, 0);
      }
      const AdamTarget<T> whole{update, value, {}, {},      moments[moments.size() - 2]->view(), moments.back()->view(),
                                key,    0,     0,  all_cols};
      return AdamRow<T>{whole.tile(1, n_rows, 64, cols), grad.view()};
    });
    same.compare();
    Index differ = 0;
    Index rounded = 0;
    for (std::size_t m = 0; m < 2; ++m)
      for (Index i = 0; i < moments[m]->size(); ++i)
        differ += moments[m]->data()[i].bits != moments[m + 2]->data()[i].bits ? 1 : 0;
    for (Index i = 0; i < n_rows; ++i)
      for (Index j = 0; j < cols; ++j) {
        const auto before = static_cast<float>(((i + 1) * all_cols + 64 + j) % 64) / 64;
        rounded += to_float((*moments[0])(i + 1, 64 + j)) != 0.5F * (before + static_cast<float>(grad(i, j))) ? 1 : 0;
      }
    CHECK(differ == 0);
    if (cols >= 64) CHECK(rounded > n_rows * cols / 4);  // the random words did matter
  }
}

}  // namespace functors_lane_test
