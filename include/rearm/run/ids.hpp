#pragma once
/// @file ids.hpp
/// What users and items are called outside of a model: their names where the data set had names, their numbers where it
/// had none; and lists of them in text files.

#include <rearm/data/interaction_log.hpp>
#include <rearm/io/atomic_file.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

/// The texts of the n users or items of a model. Refers to the names, which must outlive it.
class IdTexts {
 public:
  /// `kind` ("user", "item") and `where` (a file) are for messages; without `names` the texts are numbers.
  IdTexts(std::string kind, std::string where, Index n, const IdNames* names)
      : kind_(std::move(kind)),
        where_(std::move(where)),
        n_(n),
        names_(names != nullptr && !names->empty() ? names : nullptr) {}

  bool named() const noexcept { return names_ != nullptr; }
  Index size() const noexcept { return n_; }
  const std::string& kind() const noexcept { return kind_; }
  /// Appends the text of an id in [0, size()).
  void append(std::string& out, Id id) const {
    if (named()) {
      out += names_->view(id);
    } else {
      char text[16];
      out.append(text, std::to_chars(text, text + sizeof text, id).ptr);
    }
  }
  std::string operator[](Id id) const {
    std::string out;
    append(out, id);
    return out;
  }
  /// The id of a text. Throws DataError naming it if it is of no user or item, or, without names, no whole decimal
  /// number.
  Id find(std::string_view text) const {
    if (named()) {
      if (const auto id = names_->find(text)) return *id;
      throw DataError(detail::message(where_, " has no ", kind_, " '", text,
                                      "'; to give numbers in place of names: ", "--ids internal"));
    }
    Id id = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
    const bool digits = !text.empty() && end == text.data() + text.size() && !text.starts_with("-0") &&
                        (text.size() == 1 || !text.starts_with('0'));
    if (!digits || error == std::errc::invalid_argument)
      throw DataError(
          detail::message(kind_, " id '", text, "' is not a whole decimal number, and ", where_, " has no names"));
    if (error != std::errc() || id < 0 || id >= n_)
      throw DataError(detail::message(kind_, " ", text, " is outside [0, ", n_, ") of ", where_));
    return id;
  }

 private:
  std::string kind_, where_;
  Index n_;
  const IdNames* names_;
};

namespace detail {

inline std::string read_list_text(const std::filesystem::path& path) {
  std::string text = read_text(path);
  require_no_pointer(text, path);
  if (text.starts_with("\xEF\xBB\xBF")) text.erase(0, 3);
  return text;
}

}  // namespace detail

/// The texts in a file, one a line; with `words`, also separated by blanks and commas. Throws IoError if it cannot be
/// read.
inline std::vector<std::string> read_id_texts(const std::filesystem::path& path, bool words) {
  const std::string text = detail::read_list_text(path);
  const std::string_view between = words ? " ,\t\r\n" : "\r\n";
  std::vector<std::string> out;
  for (std::size_t begin = text.find_first_not_of(between); begin != std::string::npos;) {
    const std::size_t end = std::min(text.find_first_of(between, begin), text.size());
    out.push_back(text.substr(begin, end - begin));
    begin = text.find_first_not_of(between, end);
  }
  return out;
}

/// The ids in a file: names one a line, numbers separated by blanks, commas or lines. Throws what read_id_texts and
/// `find` throw, with the file's name in front.
inline std::vector<Id> read_ids(const std::filesystem::path& path, const IdTexts& texts) {
  std::vector<Id> out;
  for (const std::string& text : read_id_texts(path, !texts.named())) try {
      out.push_back(texts.find(text));
    } catch (const DataError& e) {
      throw DataError(detail::message(path.string(), ": ", e.what()));
    }
  return out;
}

/// Calls f(first, second) for every line `first<TAB>second` of a file; empty lines are skipped. Throws IoError;
/// DataError naming file and line for a line with no tab or more, and for a DataError of f.
template <class F>
void read_id_pairs(const std::filesystem::path& path, const F& f) {
  const std::string text = detail::read_list_text(path);
  Index number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = std::string_view(text).substr(begin, end - begin);
    begin = end + 1;
    ++number;
    while (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty()) continue;
    const std::size_t tab = line.find('\t');
    try {
      if (tab == std::string_view::npos || line.find('\t', tab + 1) != std::string_view::npos)
        throw DataError("must be two ids with a tab between them");
      f(line.substr(0, tab), line.substr(tab + 1));
    } catch (const DataError& e) {
      throw DataError(detail::message(path.string(), ": line ", number, ": ", e.what()));
    }
  }
}

}  // namespace rearm::REARM_ABI
