#pragma once
/// @file lists.hpp
/// Ranked lists as commands print them: TSV, JSON, NPY, on standard output or into files.

#include "program.hpp"

#include <rearm/data/npy.hpp>
#include <rearm/eval/evaluator.hpp>
#include <rearm/io/atomic_file.hpp>
#include <rearm/run/ids.hpp>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rearm::cli {

struct ListOutput {
  std::string format = "tsv", ids = "names";
  std::filesystem::path out;
  bool internal() const { return ids == "internal"; }
};

/// What the lists are of.
struct ListKind {
  const char* row;      ///< "user": the column, and the JSON field, of those who have a list
  const char* entry;    ///< "item": the column of what is in the lists
  const char* entries;  ///< "items": the JSON field
  bool named_rows;      ///< else their labels are numbers
};

/// A block of lists: the labels of its rows, and the lists.
using ListSink = std::function<void(std::span<const std::string> rows, const TopK<float>& lists)>;

inline void add_ids(CLI::App& app, std::string& ids) {
  app.add_option("--ids", ids, "names: as in the data set's users.tsv and items.tsv, if it had any;\ninternal: numbers")
      ->check(CLI::IsMember({"names", "internal"}))
      ->capture_default_str();
}
/// How new items are represented; `which` says of what commands it speaks.
inline void add_new_item_options(CLI::App& app, std::vector<std::string>& modalities, Index& neighbors,
                                 const std::string& which = "") {
  app.add_option("--modalities", modalities, which + "features that say which items are near (all)")
      ->delimiter(',')
      ->allow_extra_args(false)
      ->type_name("A,B,...");
  app.add_option("--neighbors", neighbors, which + "nearest items that a new one is made of")
      ->check(decimal())
      ->capture_default_str();
}
inline void add_list_output(CLI::App& app, ListOutput& output) {
  add_ids(app, output.ids);
  app.add_option("--format", output.format,
                 "tsv; json: one object a line; npy: OUT_items.npy and OUT_scores.npy, a row for each one asked for\n"
                 "in that order, numbers as by --ids internal, -1 where a list ends")
      ->check(CLI::IsMember({"tsv", "json", "npy"}))
      ->capture_default_str();
  app.add_option("--out", output.out, "write this file, not standard output; npy: what the names begin with");
}
inline void check_output(const ListOutput& output) {
  if (output.format == "npy" && output.out.empty())
    throw ConfigError("--format npy needs --out: the arrays become OUT_items.npy and OUT_scores.npy");
}

namespace detail {

inline void append_number(std::string& out, double value) {  // as %.9g prints it
  char text[32];
  out.append(text, std::to_chars(text, text + sizeof text, value, std::chars_format::general, 9).ptr);
}

template <class Write>
void write_tsv(std::span<const std::string> rows, const TopK<float>& lists, const IdTexts& entries,
               const Write& write) {
  std::string out;
  for (std::size_t u = 0; u < rows.size(); ++u)
    for (Index r = 0; r < lists.ids.cols() && lists.ids(static_cast<Index>(u), r) >= 0; ++r) {
      out += rows[u];
      out += '\t';
      out += std::to_string(r + 1);
      out += '\t';
      entries.append(out, lists.ids(static_cast<Index>(u), r));
      out += '\t';
      append_number(out, static_cast<double>(lists.scores(static_cast<Index>(u), r)));
      out += '\n';
      if (out.size() < (1U << 16)) continue;
      write(out);
      out.clear();
    }
  write(out);
}

/// A name, or a number as a number.
inline nlohmann::ordered_json json_id(const std::string& text, bool named) {
  if (named) return text;
  Id number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}
inline std::string json_line(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + '\n';
}
template <class Write>
void write_json(std::span<const std::string> rows, const TopK<float>& lists, const ListKind& kind,
                const IdTexts& entries, const Write& write) {
  for (std::size_t u = 0; u < rows.size(); ++u) {
    auto ids = nlohmann::ordered_json::array(), scores = nlohmann::ordered_json::array();
    for (Index r = 0; r < lists.ids.cols() && lists.ids(static_cast<Index>(u), r) >= 0; ++r) {
      const Id id = lists.ids(static_cast<Index>(u), r);
      if (entries.named())
        ids.push_back(entries[id]);
      else
        ids.push_back(id);
      scores.push_back(lists.scores(static_cast<Index>(u), r));
    }
    const nlohmann::ordered_json line = {
        {kind.row, json_id(rows[u], kind.named_rows)}, {kind.entries, ids}, {"scores", scores}};
    write(json_line(line));
  }
}

}  // namespace detail

/// Calls print(write), where write(text) goes to the file `out` or, if that is empty, to standard output. The file is
/// there when all of it was written, or not at all.
template <class Print>
void print_to(const std::filesystem::path& out, const Print& print) {
  if (out.empty())
    print([](std::string_view text) { std::fwrite(text.data(), 1, text.size(), stdout); });
  else
    write_file_atomically(out, [&](std::ostream& file) {
      print([&](std::string_view text) { file.write(text.data(), static_cast<std::streamsize>(text.size())); });
    });
}

/// Whether the lists go to a file, so that a line in the terminal disturbs neither them nor a pager.
inline bool goes_to_file(const ListOutput& output) {
  struct stat status = {};
  return !output.out.empty() || (::fstat(STDOUT_FILENO, &status) == 0 && S_ISREG(status.st_mode));
}

/// Calls rank(sink), which hands `n` lists of up to k to the sink, block by block. With --out a signal leaves no file.
inline void print_lists(const ListOutput& output, const ListKind& kind, const IdTexts& entries, Index n, Index k,
                        StatusLine& line, const std::function<void(const ListSink&)>& rank_all) {
  line.clear();
  if (!output.out.empty()) catch_signals("stopping");
  Index ranked = 0;
  const auto rank = [&](const ListSink& sink) {
    if (goes_to_file(output)) line.stage("ranking", 0);
    rank_all([&](std::span<const std::string> rows, const TopK<float>& lists) {
      stop_if_interrupted();
      sink(rows, lists);
      ranked += static_cast<Index>(rows.size());
      if (goes_to_file(output)) line.stage("ranking", static_cast<double>(ranked) / static_cast<double>(n));
    });
    line.clear();
  };
  if (output.format != "npy") {
    print_to(output.out, [&](const auto& write) {
      if (output.format == "tsv") write(std::string(kind.row) + "\trank\t" + kind.entry + "\tscore\n");
      rank([&](std::span<const std::string> rows, const TopK<float>& lists) {
        if (output.format == "tsv")
          detail::write_tsv(rows, lists, entries, write);
        else
          detail::write_json(rows, lists, kind, entries, write);
      });
    });
    return;
  }
  const auto put = [&](std::ostream& file, const auto& m) {
    file.write(reinterpret_cast<const char*>(m.data()),
               static_cast<std::streamsize>(static_cast<std::size_t>(m.size()) * sizeof(*m.data())));
  };
  write_file_atomically(output.out.string() + "_items.npy", [&](std::ostream& ids) {
    write_file_atomically(output.out.string() + "_scores.npy", [&](std::ostream& scores) {
      ids << rearm::detail::npy_prefix<Id>({n, k});
      scores << rearm::detail::npy_prefix<float>({n, k});
      rank([&](std::span<const std::string>, const TopK<float>& lists) {
        put(ids, lists.ids);
        put(scores, lists.scores);
      });
    });
  });
}

/// Ranks `ids` in blocks, so that the lists of all need not be held at once, however long they are.
template <class Rank>
void for_each_block(std::span<const Id> ids, std::span<const std::string> labels, Index k, const Rank& rank,
                    const ListSink& sink) {
  const auto block = static_cast<std::size_t>(std::clamp<Index>((Index{1} << 20) / k, 1, 4096));
  for (std::size_t first = 0; first < ids.size(); first += block) {
    const std::size_t n = std::min(block, ids.size() - first);
    sink(labels.subspan(first, n), rank(ids.subspan(first, n)));
  }
}

/// Says on stderr which rows are zeros: a user or item of which the model knows nothing, to which all others are as
/// near.
inline void warn_of_zeros(ConstView<float> rows, std::span<const Id> ids, const IdTexts& texts, StatusLine& line) {
  Index unknown = 0;
  for (const Id id : ids) {
    const float* const row = rows.row(id);
    if (std::any_of(row, row + rows.cols, [](float x) { return x != 0; })) continue;
    if (unknown++ == 0)
      line.say(rearm::detail::message("rearm: ", texts.kind(), ' ', texts[id],
                                      " has a representation of zeros: the order of its list means nothing"));
  }
  if (unknown > 1) line.say(rearm::detail::message("rearm: the same holds for ", unknown - 1, " more"));
}

}  // namespace rearm::cli
