#pragma once
/// @file chart.hpp
/// Curves as SVG, and text for HTML.

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
  std::optional<std::size_t> marked;  ///< a point that counts more
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

/// Curves over epochs with axes. Points that are not drawable are left out; empty if nothing is left.
inline std::string line_chart(const std::string& title, const std::vector<Curve>& curves) {
  constexpr double width = 360, height = 230, left = 58, right = 12, top = 28, bottom = 38;
  constexpr double inf = std::numeric_limits<double>::infinity();
  double x_low = inf, x_high = -inf, y_low = inf, y_high = -inf;
  for (const Curve& curve : curves)
    for (const auto& [x, y] : curve.points) {
      if (!drawable(y)) continue;
      x_low = std::min(x_low, x);
      x_high = std::max(x_high, x);
      y_low = std::min(y_low, y);
      y_high = std::max(y_high, y);
    }
  if (x_low > x_high) return {};
  const std::vector<double> xs = round_ticks(x_low, x_high, 5, true), ys = round_ticks(y_low, y_high, 4);
  // Epochs begin and end where they do; values at round numbers.
  if (x_low == x_high) {
    x_low = xs.front();
    x_high = xs.back();
  }
  const auto at_x = [&](double x) { return left + (x - x_low) / (x_high - x_low) * (width - left - right); };
  const auto at_y = [&](double y) {
    return height - bottom - (y - ys.front()) / (ys.back() - ys.front()) * (height - top - bottom);
  };
  const auto number = [](double x) {
    char text[32];
    std::snprintf(text, sizeof text, "%.1f", x);
    return std::string(text);
  };
  const auto text = [&](double x, double y, const char* anchor, const std::string& what, const char* more = "") {
    return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" text-anchor=\"" + anchor + "\"" + more + '>' +
           escaped(what) + "</text>";
  };
  const auto line = [&](double x1, double y1, double x2, double y2, const char* kind) {
    return "<line class=\"" + std::string(kind) + "\" x1=\"" + number(x1) + "\" y1=\"" + number(y1) + "\" x2=\"" +
           number(x2) + "\" y2=\"" + number(y2) + "\"/>";
  };
  std::string out = "<figure><svg viewBox=\"0 0 360 230\" role=\"img\" aria-label=\"" + escaped(title) + " by epoch\">";
  out += text(left, 16, "start", title, " class=\"title\"");
  for (const double y : ys)
    out += line(left, at_y(y), width - right, at_y(y), "grid") +
           text(left - 6, at_y(y) + 4, "end", tick_label(y, ys[1] - ys[0]));
  for (const double x : xs) {
    if (x < x_low - 1e-9 || x > x_high + 1e-9) continue;
    out += line(at_x(x), height - bottom, at_x(x), height - bottom + 4, "axis") +
           text(at_x(x), height - bottom + 17, "middle", tick_label(x, 1));
  }
  out += line(left, height - bottom, width - right, height - bottom, "axis") +
         line(left, top, left, height - bottom, "axis") +
         text((left + width - right) / 2, height - 5, "middle", "epoch");
  for (const Curve& curve : curves) {
    std::string points;
    std::size_t n = 0;
    for (const auto& [x, y] : curve.points) {
      if (!drawable(y)) continue;
      points += (points.empty() ? "" : " ") + number(at_x(x)) + ',' + number(at_y(y));
      ++n;
    }
    out += "<g><title>" + escaped(curve.name) + "</title>";
    if (n > 1)
      out += "<polyline fill=\"none\" stroke-width=\"1.8\" stroke-linejoin=\"round\" " + curve_stroke(curve.style) +
             " points=\"" + points + "\"/>";
    const auto dot = [&](std::size_t i, double radius) {
      const auto [x, y] = curve.points[i];
      if (!drawable(y)) return;
      out += "<circle cx=\"" + number(at_x(x)) + "\" cy=\"" + number(at_y(y)) + "\" r=\"" + number(radius) +
             "\" fill=\"" + std::string(curve_colors[curve.style % curve_colors.size()]) + "\"/>";
    };
    if (curve.marked) dot(*curve.marked, 3.5);
    if (n == 1)
      for (std::size_t i = 0; i < curve.points.size(); ++i) dot(i, 2.5);
    out += "</g>";
  }
  return out + "</svg></figure>\n";
}

}  // namespace rearm::cli
