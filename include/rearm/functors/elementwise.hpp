#pragma once
/// @file elementwise.hpp
/// Row functors for copies, sums, scalings and activations.

#include <rearm/core/backend.hpp>
#include <rearm/core/bfloat16.hpp>
#include <rearm/core/random.hpp>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <type_traits>

REARM_LOOPS_BEGIN

namespace rearm::REARM_ABI::functors {

/// target (+)= value
template <class T>
REARM_HD void store(T& target, T value, Write write) {
  target = write == Write::overwrite ? value : target + value;
}

/// y (+)= alpha x
template <class T>
struct ScaleRow {
  T alpha;
  MatrixView<const T> x;
  Into<T> y;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T a = alpha;
    const T* const in = x.row(i);
    T* const out = y.view.row(i);
    const Index n = y.view.cols;
    if (y.write == Write::overwrite) REARM_SIMD_LOOP
    for (Index j = lane.first(); j < n; j += L::step) out[j] = a * in[j];
    else REARM_SIMD_LOOP for (Index j = lane.first(); j < n; j += L::step) out[j] += a * in[j];
  }
};

/// Several copies at once, each with its own number of rows; call i copies row i of each. Two copies may touch the same
/// row only at the same index i.
template <class T>
struct ScaleRows {
  static constexpr int capacity = 8;
  ScaleRow<T> copy[capacity];
  int count = 0;

  Index rows() const {
    Index largest = 0;
    for (int c = 0; c < count; ++c) largest = std::max(largest, copy[c].y.view.rows);
    return largest;
  }
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    for (int c = 0; c < count; ++c) {
      if (i < copy[c].y.view.rows) copy[c](i, lane);
      lane.sync();
    }
  }
};

/// Row i of a copy, then row i of a row reduction f.
template <class T, class F>
struct CopyThenRow {
  ScaleRow<T> copy;
  F f;
  template <class L>
  REARM_HD void operator()(Index i, T* partial, const L& lane) const {
    copy(i, lane);
    lane.sync();
    f(i, partial, lane);
  }
};

/// y = x, from bfloat16 (exact) or to bfloat16 (rounded to nearest).
template <class From, class To>
struct ConvertRow {
  MatrixView<const From> x;
  MatrixView<To> y;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const From* const in = x.row(i);
    To* const out = y.row(i);
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < y.cols; j += L::step) {
      if constexpr (std::is_same_v<To, BFloat16>)
        out[j] = round_to_nearest(static_cast<float>(in[j]));
      else
        out[j] = static_cast<To>(to_float(in[j]));
    }
  }
};

/// y (+)= alpha factor x, the factor one number in the backend's memory.
template <class T>
struct ScaleByRow {
  T alpha;
  const T* factor;
  MatrixView<const T> x;
  Into<T> y;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T a = alpha * *factor;
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < x.cols; j += L::step) store(y.view(i, j), a * x(i, j), y.write);
  }
};

/// y = value
template <class T>
struct FillRow {
  T value;
  MatrixView<T> y;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < y.cols; j += L::step) y(i, j) = value;
  }
};

/// y (+)= alpha (a + beta b); b has a's shape or is one row that is added to every row.
template <class T>
struct AddRow {
  MatrixView<const T> a;
  T beta;
  MatrixView<const T> b;
  Into<T> y;
  T alpha = 1;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T* addend = b.row(b.rows == 1 ? 0 : i);
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < y.view.cols; j += L::step)
      store(y.view(i, j), alpha * (a(i, j) + beta * addend[j]), y.write);
  }
};

/// partial_j += alpha x_ij: column sums.
template <class T>
struct ColumnSumRow {
  T alpha;
  MatrixView<const T> x;
  template <class L>
  REARM_HD void operator()(Index i, T* partial, const L& lane) const {
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < x.cols; j += L::step) partial[j] += alpha * x(i, j);
  }
};

/// partial += alpha sum_j x_ij y_ij
template <class T>
struct DotSumRow {
  T alpha;
  MatrixView<const T> x;
  MatrixView<const T> y;
  template <class L>
  REARM_HD void operator()(Index i, T* partial, const L& lane) const {
    const T* const left = x.row(i);
    const T* const right = y.row(i);
    T sum{0};
    REARM_SUM_LOOP(sum)
    for (Index j = lane.first(); j < x.cols; j += L::step) sum += left[j] * right[j];
    sum = lane.sum(sum);
    if (lane.leads()) *partial += alpha * sum;
  }
};

/// partial += alpha sum_j x_ij
template <class T>
struct SumRow {
  T alpha;
  MatrixView<const T> x;
  template <class L>
  REARM_HD void operator()(Index i, T* partial, const L& lane) const {
    const T* const in = x.row(i);
    T sum{0};
    REARM_SUM_LOOP(sum)
    for (Index j = lane.first(); j < x.cols; j += L::step) sum += in[j];
    sum = lane.sum(sum);
    if (lane.leads()) *partial += alpha * sum;
  }
};

/// y_i (+)= a_i . b_i
template <class T>
struct DotRow {
  MatrixView<const T> a;
  MatrixView<const T> b;
  Into<T> y;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T* const left = a.row(i);
    const T* const right = b.row(i);
    T sum{0};
    REARM_SUM_LOOP(sum)
    for (Index j = lane.first(); j < a.cols; j += L::step) sum += left[j] * right[j];
    sum = lane.sum(sum);
    if (lane.leads()) store(y.view(i, 0), sum, y.write);
  }
};

/// d_a_i (+)= d_y_i b_i
template <class T>
struct DotBackwardRow {
  MatrixView<const T> b;
  MatrixView<const T> d_y;
  Into<T> d_a;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < b.cols; j += L::step) store(d_a.view(i, j), d_y(i, 0) * b(i, j), d_a.write);
  }
};

/// y = x where x > 0, slope x elsewhere; plus `addend` if it has data.
template <class T>
struct PreluRow {
  MatrixView<const T> x;
  const T* slope;
  MatrixView<T> y;
  MatrixView<const T> addend = {};
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T a = *slope;
    if (addend.data == nullptr) REARM_SIMD_LOOP
    for (Index j = lane.first(); j < y.cols; j += L::step) y(i, j) = x(i, j) > T{0} ? x(i, j) : a * x(i, j);
    else REARM_SIMD_LOOP for (Index j = lane.first(); j < y.cols; j += L::step) y(i, j) =
        (x(i, j) > T{0} ? x(i, j) : a * x(i, j)) + addend(i, j);
  }
};

/// sum = x + bias, y = prelu(sum). x, sum and y may be the same array, which then holds y.
template <class T>
struct BiasPreluRow {
  MatrixView<const T> x;
  const T* bias;
  const T* slope;
  MatrixView<T> sum;
  MatrixView<T> y;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T a = *slope;
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < y.cols; j += L::step) {
      const T z = x(i, j) + bias[j];
      sum(i, j) = z;
      y(i, j) = z > T{0} ? z : a * z;
    }
  }
};

/// d_x (+)= d_y where x > 0, slope d_y elsewhere.
template <class T>
struct PreluInputBackwardRow {
  MatrixView<const T> x;
  const T* slope;
  MatrixView<const T> d_y;
  Into<T> d_x;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T a = *slope;
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < x.cols; j += L::step)
      store(d_x.view(i, j), x(i, j) > T{0} ? d_y(i, j) : a * d_y(i, j), d_x.write);
  }
};

/// partial += d_slope = sum of x d_y over x <= 0.
template <class T>
struct PreluSlopeBackwardRow {
  MatrixView<const T> x;
  MatrixView<const T> d_y;
  template <class L>
  REARM_HD void operator()(Index i, T* partial, const L& lane) const {
    const T* const in = x.row(i);
    const T* const d_out = d_y.row(i);
    T sum{0};
    REARM_SUM_LOOP(sum)
    for (Index j = lane.first(); j < x.cols; j += L::step) {
      const T product = in[j] * d_out[j];
      sum += in[j] > T{0} ? T{0} : product;
    }
    sum = lane.sum(sum);
    if (lane.leads()) *partial += sum;
  }
};

/// Both gradients of PReLU in one pass: row i of d_x, and partial += d_slope.
template <class T>
struct PreluBackwardRow {
  PreluInputBackwardRow<T> to_x;
  template <class L>
  REARM_HD void operator()(Index i, T* partial, const L& lane) const {
    PreluSlopeBackwardRow<T>{to_x.x, to_x.d_y}(i, partial, lane);
    to_x(i, lane);
  }
};

/// All gradients of BiasPreluRow in one pass: row i of d_x, and partial += [d_slope | d_bias].
template <class T>
struct BiasPreluBackwardRow {
  PreluInputBackwardRow<T> to_x;
  template <class L>
  REARM_HD void operator()(Index i, T* partial, const L& lane) const {
    PreluBackwardRow<T>{to_x}(i, partial, lane);
    ColumnSumRow<T>{T{1}, to_x.d_x.view}(i, partial + 1, lane);
  }
};

/// y = w x + b with one weight and one bias for all elements; plus `addend` if it has data.
template <class T>
struct ScalarAffineRow {
  MatrixView<const T> x;
  const T* weight;
  const T* bias;
  MatrixView<T> y;
  MatrixView<const T> addend = {};
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T w = *weight;
    const T b = *bias;
    if (addend.data == nullptr) REARM_SIMD_LOOP
    for (Index j = lane.first(); j < y.cols; j += L::step) y(i, j) = w * x(i, j) + b;
    else REARM_SIMD_LOOP for (Index j = lane.first(); j < y.cols; j += L::step) y(i, j) =
        w * x(i, j) + b + addend(i, j);
  }
};

/// d_x (+)= w d_y
template <class T>
struct ScalarAffineInputBackwardRow {
  const T* weight;
  MatrixView<const T> d_y;
  Into<T> d_x;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T w = *weight;
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < d_y.cols; j += L::step) store(d_x.view(i, j), w * d_y(i, j), d_x.write);
  }
};

/// All gradients of ScalarAffineRow in one pass: partial += [sum x d_y | sum d_y], and row i of d_x if it is wanted.
template <class T>
struct ScalarAffineBackwardRow {
  MatrixView<const T> x;
  ScalarAffineInputBackwardRow<T> to_x;
  template <class L>
  REARM_HD void operator()(Index i, T* partial, const L& lane) const {
    const T* const in = x.row(i);
    const T* const d_out = to_x.d_y.row(i);
    T dot{0};
    T sum{0};
    REARM_SUM_LOOP(dot, sum)
    for (Index j = lane.first(); j < x.cols; j += L::step) {
      dot += in[j] * d_out[j];
      sum += d_out[j];
    }
    dot = lane.sum(dot);
    sum = lane.sum(sum);
    if (lane.leads()) {
      partial[0] += dot;
      partial[1] += sum;
    }
    if (to_x.d_x.wanted()) to_x(i, lane);
  }
};

/// y_ij standard normal (Box-Muller), a function of the key and the place. A row of `width` elements takes
/// draws(width) Philox draws of four words; element j is number j / draws of the four that draw j % draws makes.
template <class T>
struct NormalRow {
  RandomKey key;
  MatrixView<T> y;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const Index n = draws(y.cols);
    for (Index r = lane.first(); r < n; r += L::step) {
      const RandomBits draw = key.noise(static_cast<std::uint64_t>(i * n + r));
      for (Index pair = 0; pair < 2; ++pair) {
        constexpr T unit = static_cast<T>(0x1p-32);
        const T radius = std::sqrt(T{-2} * std::log((static_cast<T>(draw.word[2 * pair]) + T{1}) * unit));
        const T angle = static_cast<T>(2 * std::numbers::pi) * (static_cast<T>(draw.word[2 * pair + 1]) * unit);
        const Index j = r + 2 * pair * n;
        if (j < y.cols) y(i, j) = radius * std::cos(angle);
        if (j + n < y.cols) y(i, j + n) = radius * std::sin(angle);
      }
    }
  }
  REARM_HD static Index draws(Index width) { return (width + 3) / 4; }
};

/// Which elements dropout keeps. Each has 16 random bits and is kept if they are at least `threshold` = round(p 2^16).
/// A row of `width` elements takes draws(width) Philox draws of eight half-words; element j has half-word j / draws of
/// draw j % draws, so that adjacent elements come from adjacent draws and vector instructions can handle them together.
struct DropoutMask {
  RandomKey key;
  std::uint32_t threshold;

  REARM_HD static DropoutMask make(RandomKey key, double p) {
    return {key, static_cast<std::uint32_t>(p * 65536.0 + 0.5)};
  }
  /// Whether element j of the row whose first draw has number `base` is kept.
  REARM_HD bool keep(std::uint64_t base, Index j, Index width) const {
    const std::uint64_t n = draws(width);
    return keep_half(key.noise(base + static_cast<std::uint64_t>(j) % n),
                     static_cast<int>(static_cast<std::uint64_t>(j) / n));
  }
  /// Whether element r + half * draws(width) of a row is kept, given the row's draw r.
  REARM_HD bool keep_half(const RandomBits& draw, int half) const {
    // Selected, not indexed: GPU registers have no addresses.
    const std::uint32_t first = (half & 2) == 0 ? draw.word[0] : draw.word[1];
    const std::uint32_t second = (half & 2) == 0 ? draw.word[2] : draw.word[3];
    const std::uint32_t word = half < 4 ? first : second;
    return ((half % 2 == 0 ? word : word >> 16) & 0xFFFFU) >= threshold;
  }
  /// How many draws a row of `width` elements takes.
  REARM_HD static std::uint64_t draws(Index width) { return (static_cast<std::uint64_t>(width) + 7) / 8; }
  /// The factor of kept elements, 1 / (1 - p); 0 for p = 1, where none are kept.
  template <class T>
  REARM_HD static T scale(double p) {
    return p < 1.0 ? static_cast<T>(1.0 / (1.0 - p)) : T{0};
  }
};

/// y (+)= x mask / (1 - p). The backward pass is the same functor from d_y to d_x. With `rows` row i has the mask of
/// row rows[i].
template <class T>
struct DropoutRow {
  MatrixView<const T> x;
  Into<T> y;
  DropoutMask mask;
  T scale;
  const Id* rows = nullptr;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const auto n = static_cast<Index>(DropoutMask::draws(x.cols));
    const Index row = rows != nullptr ? Index{rows[i]} : i;
    for (Index r = lane.first(); r < n; r += L::step) {
      const RandomBits draw = mask.key.noise(static_cast<std::uint64_t>(row * n + r));
      for (int half = 0; half < 8; ++half) {
        const Index j = r + half * n;
        if (j < x.cols) store(y.view(i, j), mask.keep_half(draw, half) ? scale * x(i, j) : T{0}, y.write);
      }
    }
  }
};

/// y = x + g, each g from the standard Gumbel distribution: -log(-log(u)) with u = (b + 1/2) / 2^23, b the upper 23
/// bits of a random word, so that u is neither 0 nor 1 in float. A row of `width` elements takes draws(width) Philox
/// draws of four words; element j has word j / draws of draw j % draws.
template <class T>
struct GumbelRow {
  MatrixView<const T> x;
  MatrixView<T> y;
  RandomKey key;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const Index n = draws(y.cols);
    for (Index r = lane.first(); r < n; r += L::step) {
      const RandomBits draw = key.noise(static_cast<std::uint64_t>(i * n + r));
      for (int w = 0; w < 4; ++w) {
        const Index j = r + w * n;
        if (j < y.cols) y(i, j) = x(i, j) + noise(draw.word[w]);
      }
    }
  }
  REARM_HD static Index draws(Index width) { return (width + 3) / 4; }
  REARM_HD static T noise(std::uint32_t word) {
    const T u = (static_cast<T>(word >> 9U) + T{0.5}) * static_cast<T>(0x1p-23);
    return -std::log(-std::log(u));
  }
};

}  // namespace rearm::REARM_ABI::functors

REARM_LOOPS_END
