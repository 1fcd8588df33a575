#pragma once
/// @file adam.hpp
/// Adam (Kingma & Ba, ICLR'15) with decay inside its gradient or decoupled (Loshchilov & Hutter, ICLR'19): one element,
/// one row.

#include <rearm/core/bfloat16.hpp>
#include <rearm/core/matrix_view.hpp>
#include <rearm/core/random.hpp>

#include <cmath>
#include <cstdint>

namespace rearm::REARM_ABI::functors {

/// The part of an update that changes from step to step.
struct AdamStep {
  double learning_rate;
  double weight_decay;
  double correction1;               ///< 1 - b1^t
  double inverse_sqrt_correction2;  ///< 1 / sqrt(1 - b2^t)
};

/// g = g + l2 p, then m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  p = p (1 - lr wd) - (lr / c1) m / (sqrt(v) /
/// sqrt(c2) + eps), c = 1 - b^t.
template <class T>
struct AdamUpdate {
  T beta1;
  T beta2;
  T eps;
  T keep;                      ///< 1 - lr wd
  T step_size;                 ///< lr / (1 - b1^t)
  T inverse_sqrt_correction2;  ///< 1 / sqrt(1 - b2^t)
  double scale = 1;            ///< multiplies the learning rate
  /// In a step that a device may replay, keep, step_size and inverse_sqrt_correction2 come from here; null otherwise.
  const AdamStep* from = nullptr;
  T l2 = 0;

  REARM_HD AdamUpdate at(const AdamStep& step) const {
    AdamUpdate now = *this;
    const double rate = step.learning_rate * scale;
    now.keep = static_cast<T>(std::fma(-rate, step.weight_decay, 1.0));  // one rounding, wherever it is computed
    now.step_size = static_cast<T>(rate / step.correction1);
    now.inverse_sqrt_correction2 = static_cast<T>(step.inverse_sqrt_correction2);
    return now;
  }
  REARM_HD AdamUpdate current() const { return from != nullptr ? at(*from) : *this; }
  REARM_HD void operator()(T& p, T& m, T& v, T g) const {
    if (l2 != T{0}) g += l2 * p;
    m = beta1 * m + (T{1} - beta1) * g;
    v = beta2 * v + (T{1} - beta2) * g * g;
    p = p * keep - step_size * m / (std::sqrt(v) * inverse_sqrt_correction2 + eps);
  }
  /// The same for a value or moments stored in bfloat16: computed in T, then stochastically rounded. The upper half of
  /// `random` rounds m, the lower half rounds v and p; each is unbiased by itself.
  template <class P, class M>
  REARM_HD void operator()(P& p, M& m, M& v, T g, std::uint32_t random) const {
    T p_wide = widen(p);
    T m_wide = widen(m);
    T v_wide = widen(v);
    (*this)(p_wide, m_wide, v_wide, g);
    put(p, p_wide, random);
    put(m, m_wide, random >> 16);
    put(v, v_wide, random);
  }

  // A stored number as T, and T into storage.
  REARM_HD static T widen(T x) { return x; }
  REARM_HD static T widen(BFloat16 x) { return to_float(x); }
  REARM_HD static void put(T& to, T x, std::uint32_t) { to = x; }
  REARM_HD static void put(BFloat16& to, T x, std::uint32_t random) {
    to = round_at_random(static_cast<float>(x), random);
  }
};

/// Random words for 64 adjacent elements of a row: word w of draw l belongs to element 16 w + l.
struct MomentWords {
  static constexpr Index group = 64;
  /// The first of the 16 draws of a group.
  REARM_HD static std::uint64_t first_draw(Index row, Index col, Index cols) {
    return static_cast<std::uint64_t>(row * ((cols + group - 1) / group) + col / group) * 16;
  }
  REARM_HD static void draw(const RandomKey& key, std::uint64_t first, std::uint32_t* word) {
    for (std::uint64_t l = 0; l < 16; ++l) {
      const RandomBits bits = key.noise(first + l);
      for (int w = 0; w < 4; ++w) word[16 * w + static_cast<int>(l)] = bits.word[w];
    }
  }
};

/// A parameter, or a tile of one, with its moments. `rounded1`, `rounded2` and `rounded_value` take the place of
/// `moment1`, `moment2` and `value` if they have data.
template <class T>
struct AdamTarget {
  AdamUpdate<T> update;
  MatrixView<T> value;
  MatrixView<T> moment1;
  MatrixView<T> moment2;
  MatrixView<BFloat16> rounded1 = {};
  MatrixView<BFloat16> rounded2 = {};
  RandomKey key = {};   ///< for the rounding
  Index first_row = 0;  ///< the tile's place in the parameter; first_col is a multiple of MomentWords::group
  Index first_col = 0;
  Index all_cols = 0;  ///< columns of the parameter
  MatrixView<BFloat16> rounded_value = {};

  REARM_HD void set_moments(const MatrixView<T>& m, const MatrixView<T>& v) {
    moment1 = m;
    moment2 = v;
  }
  REARM_HD void set_moments(const MatrixView<BFloat16>& m, const MatrixView<BFloat16>& v) {
    rounded1 = m;
    rounded2 = v;
  }
  REARM_HD void set_value(const MatrixView<T>& x) { value = x; }
  REARM_HD void set_value(const MatrixView<BFloat16>& x) { rounded_value = x; }
  REARM_HD Index rows() const { return rounded_value.data != nullptr ? rounded_value.rows : value.rows; }
  REARM_HD Index cols() const { return rounded_value.data != nullptr ? rounded_value.cols : value.cols; }
  REARM_HD AdamTarget tile(Index row, Index n_rows, Index col, Index n_cols) const {
    const auto part = [&](auto whole) { return whole.row_block(row, n_rows).col_block(col, n_cols); };
    return {update, part(value),     part(moment1),   part(moment2), part(rounded1),     part(rounded2),
            key,    first_row + row, first_col + col, all_cols,      part(rounded_value)};
  }
  /// Calls f(value, moment1, moment2) with the arrays in their stored types; f is a function of the caller's side.
#if defined(__CUDACC__)
#pragma nv_exec_check_disable
#endif
  template <class F>
  REARM_HD void with_kinds(const F& f) const {
    if (rounded_value.data != nullptr) {
      if (rounded1.data != nullptr)
        f(rounded_value, rounded1, rounded2);
      else
        f(rounded_value, moment1, moment2);
    } else if (rounded1.data != nullptr) {
      f(value, rounded1, rounded2);
    } else {
      f(value, moment1, moment2);
    }
  }
  /// Updates row i, whose gradient is g. If one lane has the whole row, `Words` draws the random words.
  template <class Words = MomentWords, class L>
  REARM_HD void update_row(Index i, const T* REARM_RESTRICT g, const L& lane) const {
    with_kinds([&](const auto& p, const auto& m, const auto& v) {
      update_elements<Words>(p.row(i), m.row(i), v.row(i), g, i, lane);
    });
  }

 private:
  template <class Words, class L>
  REARM_HD void update_elements(T* REARM_RESTRICT p, T* REARM_RESTRICT m, T* REARM_RESTRICT v,
                                const T* REARM_RESTRICT g, Index, const L& lane) const {
    const AdamUpdate<T> now = update.current();
    const Index n = cols();
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < n; j += L::step) now(p[j], m[j], v[j], g[j]);
  }
  template <class Words, class P, class M, class L>
  REARM_HD void update_elements(P* REARM_RESTRICT p, M* REARM_RESTRICT m, M* REARM_RESTRICT v,
                                const T* REARM_RESTRICT g, Index i, const L& lane) const {
    static_assert(L::step == 1 || L::step == 32);
    const AdamUpdate<T> now = update.current();
    const Index n = cols();
    if constexpr (L::step == 1) {
      std::uint32_t word[MomentWords::group];
      for (Index col = 0; col < n; col += MomentWords::group) {
        Words::draw(key, MomentWords::first_draw(first_row + i, first_col + col, all_cols), word);
        const Index here = n - col < MomentWords::group ? n - col : MomentWords::group;
        REARM_SIMD_LOOP
        for (Index j = 0; j < here; ++j) now(p[col + j], m[col + j], v[col + j], g[col + j], word[j]);
      }
    } else {
      // Lanes l and l + 16 share draw l of a group: each updates two elements, 32 apart, with half of the draw's words.
      const Index l = lane.first();
      for (Index col = 0; col < n; col += MomentWords::group) {
        const std::uint64_t first = MomentWords::first_draw(first_row + i, first_col + col, all_cols);
        const RandomBits draw = key.noise(first + static_cast<std::uint64_t>(l % 16));
        const Index j = col + l;
        if (j < n) now(p[j], m[j], v[j], g[j], l < 16 ? draw.word[0] : draw.word[1]);
        const Index k = j + L::step;
        if (k < n) now(p[k], m[k], v[k], g[k], l < 16 ? draw.word[2] : draw.word[3]);
      }
    }
  }
};

/// update_row with a stored gradient.
template <class T, class Words = MomentWords>
struct AdamRow {
  AdamTarget<T> target;
  MatrixView<const T> grad;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    target.template update_row<Words>(i, grad.row(i), lane);
  }
};

/// A parameter's place in an array of parameters.
struct AdamSegment {
  Index offset, rows, cols;
  double scale;          ///< of the learning rate
  std::uint32_t stream;  ///< of the rounding
  Index end;             ///< one past its last piece
  Index first_row = 0;   ///< the number that its first row has in the whole parameter
  bool operator==(const AdamSegment&) const = default;
};

/// AdamRow for all the parameters of an array at once, M the type of the moments. Call i takes piece i: as many rows as
/// fit in `width` elements, or part of a longer row, so that matrices of any shape are work for many teams.
template <class T, class M>
struct AdamSegments {
  static constexpr Index width = 512;  ///< a multiple of MomentWords::group
  AdamUpdate<T> update;                ///< without the scale
  AdamStep step;                       ///< used if update.from is null
  T* value;
  const T* grad;
  M* moment1;
  M* moment2;
  RandomKey key;  ///< its stream is the segment's
  const AdamSegment* segment;
  int n_segments;

  REARM_HD static Index n_pieces(Index rows, Index cols) {
    return cols > width ? rows * pieces_a_row(cols) : (rows + rows_a_piece(cols) - 1) / rows_a_piece(cols);
  }
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    int first = 0;
    for (int last = n_segments - 1; first < last;) {
      const int middle = (first + last) / 2;
      if (segment[middle].end > i)
        last = middle;
      else
        first = middle + 1;
    }
    const AdamSegment own = segment[first];
    if (first > 0) i -= segment[first - 1].end;
    const bool narrow = own.cols <= width;
    const Index row = narrow ? i * rows_a_piece(own.cols) : i / pieces_a_row(own.cols);
    const Index col = narrow ? 0 : i % pieces_a_row(own.cols) * width;
    const Index n_rows = narrow ? least(rows_a_piece(own.cols), own.rows - row) : 1;
    const AdamTarget<T> target = target_of(own).tile(row, n_rows, col, least(width, own.cols - col));
    const T* const g = grad + own.offset + row * own.cols + col;
    for (Index r = 0; r < n_rows; ++r) target.update_row(r, g + r * own.cols, lane);
  }

 private:
  REARM_HD static Index least(Index a, Index b) { return a < b ? a : b; }
  REARM_HD static Index pieces_a_row(Index cols) { return (cols + width - 1) / width; }
  REARM_HD static Index rows_a_piece(Index cols) { return cols > 0 ? width / cols : 1; }
  REARM_HD AdamTarget<T> target_of(const AdamSegment& s) const {
    AdamTarget<T> target{update, {value + s.offset, s.rows, s.cols}, {}, {}};
    target.update.scale = s.scale;
    target.update = target.update.at(update.from != nullptr ? *update.from : step);
    target.update.from = nullptr;
    const MatrixView<M> m(moment1 + s.offset, s.rows, s.cols);
    const MatrixView<M> v(moment2 + s.offset, s.rows, s.cols);
    target.set_moments(m, v);
    target.key = key;
    target.key.stream = s.stream;
    target.first_row = s.first_row;
    target.all_cols = s.cols;
    return target;
  }
};

}  // namespace rearm::REARM_ABI::functors
