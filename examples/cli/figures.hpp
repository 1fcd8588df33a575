#pragma once
/// @file figures.hpp
/// Heat maps as SVG, and charts put together to pictures in files.

#include <rearm/core/matrix.hpp>

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace rearm::cli {

/// A matrix as colors: the higher, the deeper; values of two signs in two hues with white at zero.
struct HeatMap {
  std::string title;
  std::vector<std::string> rows, columns;  ///< what they are called
  Matrix<double> values;
  double low = 0, high = 1;  ///< of the scale
  /// Round a cell, as many as there are values: nothing, a box, a dashed box.
  enum class Box : char { none, whole, dashed };
  std::vector<Box> boxes;
};

/// A part of a picture.
struct Panel {
  std::string svg;  ///< elements
  double width, height;
};
Panel heat_map(const HeatMap& map);

/// The SVG of a picture: the panels in rows of `columns`, the caption's lines below them. Panels without elements leave
/// no gap.
std::string picture(const std::vector<Panel>& panels, std::size_t columns, const std::vector<std::string>& caption);

/// Writes `file`, an .svg, and beside it a .png if there is rsvg-convert. Returns a sentence that says what is there.
std::string write_picture(const std::filesystem::path& file, std::string_view svg);

}  // namespace rearm::cli
