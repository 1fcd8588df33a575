#pragma once
/// @file chart.hpp
/// Curves and bars as SVG, and text for HTML.

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace rearm::cli {

/// Text for HTML and SVG, between tags and in quoted attributes.
inline std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t' ? ' ' : c;
    }
  return out;
}

/// About `n` round numbers (1, 2 or 5 times a power of ten apart) that surround [low, high]. What differs by rounding
/// alone is taken for equal.
inline std::vector<double> round_ticks(double low, double high, int n, bool whole = false) {
  if (const double size = std::max(std::abs(low), std::abs(high)); !(high - low > std::max(1e-9 * size, 1e-100))) {
    const double half = size < 1e-100 ? 1 : size * 0.1;
    low -= whole ? 1 : half;
    high += whole ? 1 : half;
  }
  const double raw = (high - low) / n, power = std::pow(10.0, std::floor(std::log10(raw)));
  double step = 10 * power;
  for (const double factor : {1.0, 2.0, 5.0})
    if (raw <= factor * power * (1 + 1e-9)) {
      step = factor * power;
      break;
    }
  if (whole) step = std::max(1.0, std::round(step));
  std::vector<double> out;
  const double first = std::floor(low / step + 1e-9), last = std::ceil(high / step - 1e-9);
  for (double i = first; i <= last; ++i) out.push_back(i * step);
  return out;
}
/// A tick's label, with as many digits as its neighbors differ in.
inline std::string tick_label(double value, double step) {
  if (value == 0) return "0";
  char text[40];
  const auto power = [](double x) { return static_cast<int>(std::floor(std::log10(x) + 1e-9)); };
  const int place = power(step);
  if (std::abs(value) >= 1e6 || place < -4)
    std::snprintf(text, sizeof text, "%.*e", std::max(0, power(std::abs(value)) - place), value);
  else
    std::snprintf(text, sizeof text, "%.*f", std::max(0, -place), value);
  return text;
}

struct Curve {
  std::string name;
  std::size_t style = 0;  ///< which color and dashes; those of a run are the same in all charts
  std::vector<std::pair<double, double>> points;
  std::optional<std::size_t> marked = std::nullopt;  ///< a point that counts more
  std::vector<double> deviations = {};               ///< of each point, up and down; empty: none are drawn
};

/// Colors that most people can tell apart (Okabe and Ito), then the same in dashes.
inline constexpr std::array<std::string_view, 7> curve_colors = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                                 "#e69f00", "#56b4e9", "#7f7f7f"};
inline std::string curve_stroke(std::size_t style) {
  constexpr std::array<std::string_view, 3> dashes = {"", "6 3", "2 3"};
  const std::string_view dash = dashes[style / curve_colors.size() % dashes.size()];
  std::string out = "stroke=\"" + std::string(curve_colors[style % curve_colors.size()]) + '"';
  if (!dash.empty()) out += " stroke-dasharray=\"" + std::string(dash) + '"';
  return out;
}

/// Whether a value has a place on an axis: a loss that grew beyond all bounds would hide the rest.
inline bool drawable(double y) { return std::abs(y) < 1e100; }

inline std::string svg_number(double x) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", x);
  return text;
}
inline std::string svg_text(double x, double y, std::string_view anchor, std::string_view what,
                            std::string_view more = "") {
  return "<text x=\"" + svg_number(x) + "\" y=\"" + svg_number(y) + "\" text-anchor=\"" + std::string(anchor) + '"' +
         std::string(more) + '>' + escaped(what) + "</text>";
}
/// Of a kind that the page has a style for: grid, axis.
inline std::string svg_line(double x1, double y1, double x2, double y2, std::string_view kind) {
  return "<line class=\"" + std::string(kind) + "\" x1=\"" + svg_number(x1) + "\" y1=\"" + svg_number(y1) + "\" x2=\"" +
         svg_number(x2) + "\" y2=\"" + svg_number(y2) + "\"/>";
}

/// Where values lie in a chart.
struct Plot {
  static constexpr double width = 360, height = 230, left = 58, right = 12, top = 28, bottom = 38;
  double x_low = 0, x_high = 1;
  std::vector<double> ys = {};  ///< round values, from the bottom to the top

  double x(double value) const { return left + (value - x_low) / (x_high - x_low) * (width - left - right); }
  double y(double value) const {
    return height - bottom - (value - ys.front()) / (ys.back() - ys.front()) * (height - top - bottom);
  }
  /// Title, axes, and lines at the values.
  std::string frame(const std::string& title, const std::string& below) const {
    std::string out = svg_text(left, 16, "start", title, " class=\"title\"");
    for (const double value : ys)
      out += svg_line(left, y(value), width - right, y(value), "grid") +
             svg_text(left - 6, y(value) + 4, "end", tick_label(value, ys[1] - ys[0]));
    return out + svg_line(left, height - bottom, width - right, height - bottom, "axis") +
           svg_line(left, top, left, height - bottom, "axis") +
           svg_text((left + width - right) / 2, height - 5, "middle", below);
  }
  /// From a deviation below a value to one above it.
  std::string whisker(double at, double value, double deviation) const {
    const double low = y(std::max(value - deviation, ys.front())), high = y(value + deviation);
    return svg_line(at, low, at, high, "axis") + svg_line(at - 3, low, at + 3, low, "axis") +
           svg_line(at - 3, high, at + 3, high, "axis");
  }
};

/// What a chart's curves run over.
struct CurveAxis {
  std::string name = "epoch";
  bool whole = true;
};

/// Curves with axes, the elements of an SVG as large as a Plot. Points that are not drawable are left out; empty if
/// nothing is left.
inline std::string curves_svg(const std::string& title, const std::vector<Curve>& curves, const CurveAxis& axis) {
  constexpr double inf = std::numeric_limits<double>::infinity();
  double x_low = inf, x_high = -inf, y_low = inf, y_high = -inf;
  for (const Curve& curve : curves)
    for (std::size_t i = 0; i < curve.points.size(); ++i) {
      const auto& [x, y] = curve.points[i];
      if (!drawable(y)) continue;
      const double deviation = curve.deviations.empty() ? 0 : curve.deviations[i];
      x_low = std::min(x_low, x);
      x_high = std::max(x_high, x);
      y_low = std::min(y_low, y - deviation);
      y_high = std::max(y_high, y + deviation);
    }
  if (x_low > x_high) return {};
  const std::vector<double> xs = round_ticks(x_low, x_high, 5, axis.whole);
  // Epochs begin and end where they do; values at round numbers.
  if (x_low == x_high) {
    x_low = xs.front();
    x_high = xs.back();
  }
  const Plot plot{x_low, x_high, round_ticks(y_low, y_high, 4)};
  const double ground = Plot::height - Plot::bottom;
  std::string out = plot.frame(title, axis.name);
  for (const double x : xs) {
    if (x < x_low - 1e-9 || x > x_high + 1e-9) continue;
    out += svg_line(plot.x(x), ground, plot.x(x), ground + 4, "axis") +
           svg_text(plot.x(x), ground + 17, "middle", tick_label(x, axis.whole ? 1 : xs[1] - xs[0]));
  }
  for (const Curve& curve : curves) {
    std::string points, whiskers;
    std::size_t n = 0;
    for (std::size_t i = 0; i < curve.points.size(); ++i) {
      const auto& [x, y] = curve.points[i];
      if (!drawable(y)) continue;
      points += (points.empty() ? "" : " ") + svg_number(plot.x(x)) + ',' + svg_number(plot.y(y));
      if (!curve.deviations.empty() && curve.deviations[i] > 0)
        whiskers += plot.whisker(plot.x(x), y, curve.deviations[i]);
      ++n;
    }
    out += "<g><title>" + escaped(curve.name) + "</title>" + whiskers;
    if (n > 1)
      out += "<polyline fill=\"none\" stroke-width=\"1.8\" stroke-linejoin=\"round\" " + curve_stroke(curve.style) +
             " points=\"" + points + "\"/>";
    const auto dot = [&](std::size_t i, double radius) {
      const auto [x, y] = curve.points[i];
      if (!drawable(y)) return;
      out += "<circle cx=\"" + svg_number(plot.x(x)) + "\" cy=\"" + svg_number(plot.y(y)) + "\" r=\"" +
             svg_number(radius) + "\" fill=\"" + std::string(curve_colors[curve.style % curve_colors.size()]) + "\"/>";
    };
    if (curve.marked) dot(*curve.marked, 3.5);
    if (n == 1)
      for (std::size_t i = 0; i < curve.points.size(); ++i) dot(i, 2.5);
    out += "</g>";
  }
  return out;
}
/// Curves over epochs as a figure of HTML; empty if there is nothing to draw.
inline std::string line_chart(const std::string& title, const std::vector<Curve>& curves) {
  const std::string drawn = curves_svg(title, curves, {});
  if (drawn.empty()) return {};
  return "<figure><svg viewBox=\"0 0 360 230\" role=\"img\" aria-label=\"" + escaped(title) + " by epoch\">" + drawn +
         "</svg></figure>\n";
}

struct Bar {
  std::string name;
  double value = 0, deviation = 0;
};
/// Bars from zero, the elements of an SVG as large as a Plot; values are at least zero. Empty without bars.
inline std::string bars_svg(const std::string& title, const std::vector<Bar>& bars) {
  if (bars.empty()) return {};
  double high = 0;
  for (const Bar& bar : bars) high = std::max(high, bar.value + bar.deviation);
  const auto n = static_cast<double>(bars.size());
  const Plot plot{0, n, round_ticks(0, high > 0 ? high : 1, 4)};
  const double ground = Plot::height - Plot::bottom, wide = (plot.x(1) - plot.x(0)) * 0.6;
  std::string out = plot.frame(title, "");
  for (std::size_t i = 0; i < bars.size(); ++i) {
    const double at = plot.x(static_cast<double>(i) + 0.5), top = plot.y(bars[i].value);
    char value[32];
    std::snprintf(value, sizeof value, "%.4f", bars[i].value);
    out += "<rect x=\"" + svg_number(at - wide / 2) + "\" y=\"" + svg_number(top) + "\" width=\"" + svg_number(wide) +
           "\" height=\"" + svg_number(ground - top) + "\" fill=\"" +
           std::string(curve_colors[i % curve_colors.size()]) + "\"><title>" + escaped(bars[i].name) + ": " + value +
           "</title></rect>";
    if (bars[i].deviation > 0) out += plot.whisker(at, bars[i].value, bars[i].deviation);
    out += svg_text(at, ground + 17, "middle", bars[i].name);
  }
  return out;
}

}  // namespace rearm::cli
