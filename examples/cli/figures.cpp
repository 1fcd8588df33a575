#include "figures.hpp"

#include "chart.hpp"
#include "text_table.hpp"

#include <rearm/core/error.hpp>

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <system_error>
#include <utility>

namespace rearm::cli {
namespace {

namespace fs = std::filesystem;
using Rgb = std::array<double, 3>;

constexpr const char* picture_style =
    "text{font:12px sans-serif;fill:#444}.title{font-size:13px;font-weight:600;fill:#111}.small{font-size:10px}"
    ".grid{stroke:#ddd}.axis{stroke:#555}";

std::string hex(const Rgb& color) {
  char text[8];
  std::snprintf(text, sizeof text, "#%02x%02x%02x", static_cast<unsigned>(std::lround(color[0])),
                static_cast<unsigned>(std::lround(color[1])), static_cast<unsigned>(std::lround(color[2])));
  return text;
}
/// Of `map`'s scale; the hues are told apart by people who see no red or no green.
std::string color_of(const HeatMap& map, double value) {
  constexpr Rgb white = {255, 255, 255}, high = {8, 48, 107}, low = {166, 54, 3};
  if (!std::isfinite(value)) return "#999999";
  const bool two_signs = map.low < 0;
  const double span = two_signs ? std::max(-map.low, map.high) : map.high - map.low;
  const double share = span > 0 ? std::clamp((two_signs ? value : value - map.low) / span, -1.0, 1.0) : 0;
  const Rgb& to = share < 0 ? low : high;
  Rgb out;
  for (std::size_t i = 0; i < 3; ++i) out[i] = white[i] + std::abs(share) * (to[i] - white[i]);
  return hex(out);
}
std::string rectangle(double x, double y, double width, double height, const std::string& more) {
  return "<rect x=\"" + svg_number(x) + "\" y=\"" + svg_number(y) + "\" width=\"" + svg_number(width) + "\" height=\"" +
         svg_number(height) + "\" " + more;
}
std::string shortened(const std::string& name) { return name.size() <= 14 ? name : name.substr(0, 13) + "…"; }
std::string three_digits(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", value);
  return text;
}

}  // namespace

Panel heat_map(const HeatMap& map) {
  constexpr double left = 104, cell = 22, legend = 120;
  std::size_t longest = 1;
  for (const std::string& name : map.columns) longest = std::max(longest, std::min<std::size_t>(name.size(), 14));
  const double top = 32 + 5.3 * static_cast<double>(longest);
  const double wide = cell * static_cast<double>(map.columns.size()),
               high = cell * static_cast<double>(map.rows.size());
  std::string out = svg_text(left, 16, "start", map.title, " class=\"title\""), boxes;
  for (std::size_t c = 0; c < map.columns.size(); ++c) {
    const std::string x = svg_number(left + cell * (static_cast<double>(c) + 0.65)), y = svg_number(top - 5);
    out += "<text class=\"small\" transform=\"translate(" + x + ',' + y + ") rotate(-60)\">" +
           escaped(shortened(map.columns[c])) + "</text>";
  }
  for (std::size_t r = 0; r < map.rows.size(); ++r) {
    const double y = top + cell * static_cast<double>(r);
    out += svg_text(left - 5, y + 15, "end", shortened(map.rows[r]), " class=\"small\"");
    for (std::size_t c = 0; c < map.columns.size(); ++c) {
      const double x = left + cell * static_cast<double>(c);
      const double value = map.values(static_cast<Index>(r), static_cast<Index>(c));
      out += rectangle(x, y, cell, cell,
                       "fill=\"" + color_of(map, value) + "\"><title>" + escaped(map.rows[r]) + ", " +
                           escaped(map.columns[c]) + ": " + three_digits(value) + "</title></rect>");
      const HeatMap::Box box = map.boxes[r * map.columns.size() + c];
      if (box == HeatMap::Box::none) continue;
      const std::string dashes = box == HeatMap::Box::dashed ? " stroke-dasharray=\"4 3\"" : "";
      boxes += rectangle(x + 1.5, y + 1.5, cell - 3, cell - 3,
                         "fill=\"none\" stroke=\"#333\" stroke-width=\"3.4\"" + dashes + "/>") +
               rectangle(x + 1.5, y + 1.5, cell - 3, cell - 3,
                         "class=\"box\" fill=\"none\" stroke=\"#ffd400\" stroke-width=\"2.2\"" + dashes + "/>");
    }
  }
  out += rectangle(left, top, wide, high, "fill=\"none\" stroke=\"#555\"/>") + boxes;
  constexpr int steps = 24;
  const double low = map.low < 0 ? -std::max(-map.low, map.high) : map.low;
  const double most = map.low < 0 ? -low : map.high;
  for (int i = 0; i < steps; ++i)
    out += rectangle(left + legend * i / steps, top + high + 12, legend / steps + 0.3, 10,
                     "fill=\"" + color_of(map, low + (most - low) * (i + 0.5) / steps) + "\"/>");
  out += svg_text(left, top + high + 35, "start", three_digits(low), " class=\"small\"") +
         svg_text(left + legend, top + high + 35, "end", three_digits(most), " class=\"small\"");
  return {out, left + std::max(wide, legend) + 40, top + high + 44};
}

std::string picture(const std::vector<Panel>& panels, std::size_t columns, const std::vector<std::string>& caption) {
  double x = 0, y = 0, row = 0, width = 0;
  std::size_t n = 0;
  std::string body;
  for (const Panel& panel : panels) {
    if (panel.svg.empty()) continue;
    if (n > 0 && n % columns == 0) {
      y += std::exchange(row, 0) + 14;
      x = 0;
    }
    body += "<g transform=\"translate(" + svg_number(x) + ',' + svg_number(y) + ")\">" + panel.svg + "</g>\n";
    x += panel.width;
    width = std::max(width, x);
    row = std::max(row, panel.height);
    ++n;
  }
  y += row + 14;
  width = std::max(width, 720.0);
  // Lines as long as the picture has room for; a letter takes about 5.3.
  const auto room = static_cast<std::size_t>((width - 24) / 5.3);
  for (std::string rest : caption) {
    while (!rest.empty()) {
      std::size_t end = rest.size();
      if (end > room) {
        const std::size_t blank = rest.rfind(' ', room);
        end = blank == std::string::npos || blank == 0 ? rest.find(' ', room) : blank;
        end = std::min(end, rest.size());
      }
      body += svg_text(12, y, "start", rest.substr(0, end), " class=\"small\"") + '\n';
      y += 14;
      rest.erase(0, std::min(end + 1, rest.size()));
    }
  }
  const std::string w = svg_number(width), h = svg_number(y);
  return "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" + w + "\" height=\"" + h + "\" viewBox=\"0 0 " + w + ' ' +
         h + "\">\n<style>" + picture_style + "</style>\n" + rectangle(0, 0, width, y, "fill=\"#fff\"/>") + '\n' +
         body + "</svg>\n";
}

std::string write_picture(const fs::path& file, std::string_view svg) {
  write_text(file, svg);
  const fs::path png = fs::path(file).replace_extension(".png"), part = png.string() + ".part";
  fs::remove(png);  // of another time
  std::vector<std::string> words = {"rsvg-convert", "--zoom", "2", "--output", part.string(), file.string()};
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  ::pid_t pid = 0;
  if (const int error = ::posix_spawnp(&pid, argv[0], nullptr, nullptr, argv.data(), environ); error != 0)
    return error == ENOENT ? file.string() + "; a PNG beside it takes rsvg-convert (Debian: librsvg2-bin)"
                           : file.string() + "; no PNG: rsvg-convert: " + std::system_category().message(error);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  std::error_code error;
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
    fs::rename(part, png, error);
    if (!error) return file.string() + ", " + png.string();
  }
  fs::remove(part, error);
  return file.string() + "; no PNG: rsvg-convert failed";
}

}  // namespace rearm::cli
