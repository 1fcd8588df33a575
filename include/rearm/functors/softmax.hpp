#pragma once
/// @file softmax.hpp
/// Row functors for softmax, log-sum-exp and cosine.

#include <rearm/functors/elementwise.hpp>
#include <rearm/functors/exp.hpp>

#include <cmath>

REARM_LOOPS_BEGIN

namespace rearm::REARM_ABI::functors {

/// Sums over the axis of an axis x inner block, laid out for vector instructions: slot l sums the elements l,
/// l + period, ... of the block, and `fold` then gives every slot its group's total. The period is `inner`, or a
/// multiple of it if `inner` would not fill a vector.
template <class T>
struct AxisSums {
  static constexpr Index capacity = 256;  ///< largest inner extent
  Index inner;
  Index period;
  T slot[capacity];

  REARM_HD explicit AxisSums(Index inner_) : inner(inner_), period(inner_ < 16 ? 16 * inner_ : inner_) {}
  REARM_HD void clear() {
    REARM_SIMD_LOOP
    for (Index l = 0; l < period; ++l) slot[l] = T{0};
  }
  REARM_HD void fold() {
    if (period == inner) return;
    for (Index offset = 0; offset < inner; ++offset) {
      T total{0};
      for (Index l = offset; l < period; l += inner) total += slot[l];
      for (Index l = offset; l < period; l += inner) slot[l] = total;
    }
  }
  /// Calls f(first element, number of slots) for each piece of a block.
  template <class F>
  REARM_HD void for_each_piece(Index block, const F& f) {
    for (Index begin = 0; begin < block; begin += period) f(begin, block - begin < period ? block - begin : period);
  }
};

/// Calls f(first element, lanes that share the group) for every group of a row of outer x axis x inner elements. If
/// there are at least as many groups as lanes, each lane takes whole groups; otherwise all lanes share each group.
template <class L, class F>
REARM_HD void for_each_group(Index cols, Index axis, Index inner, const L& lane, const F& f) {
  const Index n = cols / axis;
  const bool whole = n >= L::step;
  for (Index g = whole ? lane.first() : 0; g < n; g += whole ? L::step : 1) {
    const Index start = g / inner * axis * inner + g % inner;
    if (whole)
      f(start, SoleLane{});
    else
      f(start, lane);
  }
}

/// Softmax within a row read as an outer x axis x inner array: each group of `axis` elements, `inner` apart, sums to 1.
/// Exponentials are relative to the group's largest element. A lane that has the whole row, with all elements within 80
/// of each other, takes them relative to the row's largest instead, in one contiguous loop.
template <class T>
struct SoftmaxRow {
  MatrixView<const T> x;
  Index axis;
  Index inner;
  MatrixView<T> y;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    if (x.cols == 0) return;
    const T* in = x.row(i);
    T* out = y.row(i);
    if constexpr (L::step == 1)
      if (inner <= AxisSums<T>::capacity && whole_row(in, out)) return;
    for_each_group(x.cols, axis, inner, lane,
                   [&](Index start, const auto& sharing) { group(in + start, out + start, sharing); });
  }

 private:
  /// False, with nothing written, if the row's elements lie too far apart.
  REARM_HD bool whole_row(const T* in, T* out) const {
    T high = in[0];
    T depth = -in[0];
    REARM_MAX_LOOP(high, depth)
    for (Index j = 0; j < x.cols; ++j) {
      high = in[j] > high ? in[j] : high;
      depth = -in[j] > depth ? -in[j] : depth;
    }
    if (!(high + depth < T{80})) return false;
    const Index block = axis * inner;
    REARM_SIMD_LOOP
    for (Index j = 0; j < x.cols; ++j) out[j] = fast_exp(in[j] - high);
    AxisSums<T> sums(inner);
    for (Index start = 0; start < x.cols; start += block) {
      T* const part = out + start;
      sums.clear();
      sums.for_each_piece(block, [&](Index begin, Index n) {
        REARM_SIMD_LOOP
        for (Index l = 0; l < n; ++l) sums.slot[l] += part[begin + l];
      });
      sums.fold();
      REARM_SIMD_LOOP
      for (Index l = 0; l < sums.period; ++l) sums.slot[l] = T{1} / sums.slot[l];
      sums.for_each_piece(block, [&](Index begin, Index n) {
        REARM_SIMD_LOOP
        for (Index l = 0; l < n; ++l) part[begin + l] *= sums.slot[l];
      });
    }
    return true;
  }
  template <class L>
  REARM_HD void group(const T* in, T* out, const L& lane) const {
    T top = -static_cast<T>(INFINITY);  // not in[0], which another lane may overwrite as out[0]
    for (Index a = lane.first(); a < axis; a += L::step) top = in[a * inner] > top ? in[a * inner] : top;
    top = lane.max(top);
    T sum{0};
    for (Index a = lane.first(); a < axis; a += L::step) {
      out[a * inner] = fast_exp(in[a * inner] - top);
      sum += out[a * inner];
    }
    sum = lane.sum(sum);
    for (Index a = lane.first(); a < axis; a += L::step) out[a * inner] /= sum;
  }
};

/// d_x (+)= y (d_y - sum_axis y d_y)
template <class T>
struct SoftmaxBackwardRow {
  MatrixView<const T> y;
  Index axis;
  Index inner;
  MatrixView<const T> d_y;
  Into<T> d_x;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    if (y.cols == 0) return;
    if constexpr (L::step == 1)
      if (inner <= AxisSums<T>::capacity) return whole_row(i);
    for_each_group(y.cols, axis, inner, lane, [&](Index start, const auto& sharing) { group(i, start, sharing); });
  }

 private:
  REARM_HD void whole_row(Index i) const {
    const Index block = axis * inner;
    AxisSums<T> sums(inner);
    for (Index start = 0; start < y.cols; start += block) {
      const T* const value = y.row(i) + start;
      const T* const grad = d_y.row(i) + start;
      T* const out = d_x.view.row(i) + start;
      sums.clear();
      sums.for_each_piece(block, [&](Index begin, Index n) {
        REARM_SIMD_LOOP
        for (Index l = 0; l < n; ++l) sums.slot[l] += value[begin + l] * grad[begin + l];
      });
      sums.fold();
      sums.for_each_piece(block, [&](Index begin, Index n) {
        REARM_SIMD_LOOP
        for (Index l = 0; l < n; ++l)
          store(out[begin + l], value[begin + l] * (grad[begin + l] - sums.slot[l]), d_x.write);
      });
    }
  }
  template <class L>
  REARM_HD void group(Index i, Index start, const L& lane) const {
    T dot{0};
    for (Index j = start + lane.first() * inner; j < start + axis * inner; j += L::step * inner)
      dot += y(i, j) * d_y(i, j);
    dot = lane.sum(dot);
    for (Index j = start + lane.first() * inner; j < start + axis * inner; j += L::step * inner)
      store(d_x.view(i, j), y(i, j) * (d_y(i, j) - dot), d_x.write);
  }
};

/// y_i = log sum_j exp(x_ij), computed relative to the largest x_ij.
template <class T>
struct LogSumExpRow {
  MatrixView<const T> x;
  MatrixView<T> y;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T* const in = x.row(i);
    T top = in[0];
    REARM_MAX_LOOP(top)
    for (Index j = lane.first(); j < x.cols; j += L::step) top = in[j] > top ? in[j] : top;
    top = lane.max(top);
    T sum{0};
    REARM_SUM_LOOP(sum)
    for (Index j = lane.first(); j < x.cols; j += L::step) sum += fast_exp(in[j] - top);
    sum = lane.sum(sum);
    if (lane.leads()) y(i, 0) = top + std::log(sum);
  }
};

/// d_x (+)= exp(x - y) d_y
template <class T>
struct LogSumExpBackwardRow {
  MatrixView<const T> x;
  MatrixView<const T> y;
  MatrixView<const T> d_y;
  Into<T> d_x;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T* const in = x.row(i);
    T* const d_in = d_x.view.row(i);
    const T value = y(i, 0);
    const T d_value = d_y(i, 0);
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < x.cols; j += L::step) store(d_in[j], fast_exp(in[j] - value) * d_value, d_x.write);
  }
};

/// What a cosine needs of row i of a and b: a . b, max(|a|, eps) and max(|b|, eps).
template <class T>
struct CosineParts {
  T dot;
  T norm_a;
  T norm_b;
  template <class L>
  REARM_HD CosineParts(MatrixView<const T> a, MatrixView<const T> b, Index i, T eps, const L& lane) {
    const T* const left = a.row(i);
    const T* const right = b.row(i);
    T product{0};
    T square_a{0};
    T square_b{0};
    REARM_SUM_LOOP(product, square_a, square_b)
    for (Index j = lane.first(); j < a.cols; j += L::step) {
      product += left[j] * right[j];
      square_a += left[j] * left[j];
      square_b += right[j] * right[j];
    }
    dot = lane.sum(product);
    norm_a = std::sqrt(lane.sum(square_a));
    norm_b = std::sqrt(lane.sum(square_b));
    norm_a = norm_a > eps ? norm_a : eps;
    norm_b = norm_b > eps ? norm_b : eps;
  }
};

/// y_i = a_i . b_i / (max(|a_i|, eps) max(|b_i|, eps))
template <class T>
struct CosineRow {
  MatrixView<const T> a;
  MatrixView<const T> b;
  T eps;
  MatrixView<T> y;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const CosineParts<T> p(a, b, i, eps, lane);
    if (lane.leads()) y(i, 0) = p.dot / (p.norm_a * p.norm_b);
  }
};

/// d_a (+)= d_y (b / |b| - y a / |a|) / |a|, norms at least eps; a norm below eps is a constant. d_b by symmetry.
template <class T>
struct CosineBackwardRow {
  MatrixView<const T> a;
  MatrixView<const T> b;
  T eps;
  MatrixView<const T> d_y;
  Into<T> d_a;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const CosineParts<T> p(a, b, i, eps, lane);
    const T cosine = p.dot / (p.norm_a * p.norm_b);
    const T through_norm = p.norm_a > eps ? cosine / (p.norm_a * p.norm_a) : T{0};
    const T* const own = a.row(i);
    const T* const other = b.row(i);
    T* const d_own = d_a.view.row(i);
    const T g = d_y(i, 0);
    const T inverse = T{1} / (p.norm_a * p.norm_b);
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < a.cols; j += L::step)
      store(d_own[j], g * (other[j] * inverse - through_norm * own[j]), d_a.write);
  }
};

}  // namespace rearm::REARM_ABI::functors

REARM_LOOPS_END
