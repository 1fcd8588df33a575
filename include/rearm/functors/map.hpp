#pragma once
/// @file map.hpp
/// The elementwise family: functions of one variable with their derivatives. A new one takes a struct here, an entry in
/// `Maps`, which the tests run over, and a line in autodiff/map.hpp.

#include <rearm/functors/elementwise.hpp>
#include <rearm/functors/exp.hpp>

#include <cmath>
#include <tuple>

REARM_LOOPS_BEGIN

namespace rearm::REARM_ABI::functors {

/// log(1 + e^x) without overflow.
template <class T>
REARM_HD T softplus(T x) {
  return x > T{0} ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x));
}

// Each has value(x) and slope(x, y), the derivative at x with y = value(x). A function's constants are members. Unless
// its accuracy is stated, it is the standard library's.

/// 1 / (1 + e^-x). float: relative error below 3e-7 for x above -87, and no value below 6e-39.
struct Sigmoid {
  static constexpr const char* name = "sigmoid";
  template <class T>
  REARM_HD static T value(T x) {
    return T{1} / (T{1} + fast_exp(-x));
  }
  template <class T>
  REARM_HD static T slope(T, T y) {
    return y * (T{1} - y);
  }
};

/// float: relative error below 3e-7, by a polynomial near 0 (Cephes, Moshier) and 1 - 2 / (e^2x + 1) elsewhere.
struct Tanh {
  static constexpr const char* name = "tanh";
  REARM_HD static float value(float x) {
    const float z = x * x;
    float p = -5.70498872745e-3F * z + 2.06390887954e-2F;
    p = p * z - 5.37397155531e-2F;
    p = p * z + 1.33314422036e-1F;
    p = p * z - 3.33332819422e-1F;
    const float near = p * z * x + x;
    const float size = x < 0.0F ? -x : x;
    const float far = 1.0F - 2.0F / (fast_exp(2.0F * size) + 1.0F);
    return size < 0.625F ? near : x < 0.0F ? -far : far;
  }
  REARM_HD static double value(double x) { return std::tanh(x); }
  template <class T>
  REARM_HD static T slope(T, T y) {
    return T{1} - y * y;
  }
};

/// float: fast_exp, relative error below 1.2e-7 on [-87, 88], clamped outside.
struct Exp {
  static constexpr const char* name = "exp";
  template <class T>
  REARM_HD static T value(T x) {
    return fast_exp(x);
  }
  template <class T>
  REARM_HD static T slope(T, T y) {
    return y;
  }
};

/// For x > 0; NaN below 0.
struct Log {
  static constexpr const char* name = "log";
  template <class T>
  REARM_HD static T value(T x) {
    return std::log(x);
  }
  template <class T>
  REARM_HD static T slope(T x, T) {
    return T{1} / x;
  }
};

/// For x >= 0; its derivative is infinite at 0.
struct Sqrt {
  static constexpr const char* name = "sqrt";
  template <class T>
  REARM_HD static T value(T x) {
    return std::sqrt(x);
  }
  template <class T>
  REARM_HD static T slope(T, T y) {
    return T{0.5} / y;
  }
};

/// x^(-1/2) where x > 0, else 0, with slope 0: the weights of nodes by their degrees.
struct InverseSqrt {
  static constexpr const char* name = "inverse_sqrt";
  template <class T>
  REARM_HD static T value(T x) {
    return x > T{0} ? T{1} / std::sqrt(x) : T{0};
  }
  template <class T>
  REARM_HD static T slope(T, T y) {
    return T{-0.5} * y * y * y;
  }
};

struct Square {
  static constexpr const char* name = "square";
  template <class T>
  REARM_HD static T value(T x) {
    return x * x;
  }
  template <class T>
  REARM_HD static T slope(T x, T) {
    return T{2} * x;
  }
};

struct Softplus {
  static constexpr const char* name = "softplus";
  template <class T>
  REARM_HD static T value(T x) {
    return softplus(x);
  }
  template <class T>
  REARM_HD static T slope(T x, T) {
    return Sigmoid::value(x);
  }
};

/// max(x, 0); its derivative at 0 is 0.
struct Relu {
  static constexpr const char* name = "relu";
  template <class T>
  REARM_HD static T value(T x) {
    return x > T{0} ? x : T{0};
  }
  template <class T>
  REARM_HD static T slope(T x, T) {
    return x > T{0} ? T{1} : T{0};
  }
};

/// x where x > 0, `below` x elsewhere.
struct LeakyRelu {
  static constexpr const char* name = "leaky_relu";
  double below = 0.01;
  template <class T>
  REARM_HD T value(T x) const {
    return slope(x, x) * x;
  }
  template <class T>
  REARM_HD T slope(T x, T) const {
    return x > T{0} ? T{1} : static_cast<T>(below);
  }
};

/// All of the family.
using Maps = std::tuple<Sigmoid, Tanh, Exp, Log, Sqrt, InverseSqrt, Square, Softplus, Relu, LeakyRelu>;

/// y = f(x); y may be x.
template <class T, class F>
struct MapRow {
  F f;
  MatrixView<const T> x;
  MatrixView<T> y;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T* const in = x.row(i);
    T* const out = y.row(i);
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < y.cols; j += L::step) out[j] = f.value(in[j]);
  }
};

/// d_x (+)= d_y f'(x), y = f(x)
template <class T, class F>
struct MapBackwardRow {
  F f;
  MatrixView<const T> x;
  MatrixView<const T> y;
  MatrixView<const T> d_y;
  Into<T> d_x;
  template <class L>
  REARM_HD void operator()(Index i, const L& lane) const {
    const T* const in = x.row(i);
    const T* const value = y.row(i);
    const T* const d_out = d_y.row(i);
    T* const d_in = d_x.view.row(i);
    REARM_SIMD_LOOP
    for (Index j = lane.first(); j < y.cols; j += L::step)
      store(d_in[j], d_out[j] * f.slope(in[j], value[j]), d_x.write);
  }
};

}  // namespace rearm::REARM_ABI::functors

REARM_LOOPS_END
