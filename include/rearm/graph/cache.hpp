#pragma once
/// @file cache.hpp
/// Built graphs on disk, keyed by the content of what they were built from. A file is only a shortcut: one that is
/// stale, truncated or damaged counts as absent.

#include <rearm/core/csr.hpp>
#include <rearm/io/atomic_file.hpp>
#include <rearm/io/content_hash.hpp>
#include <rearm/io/made_folders.hpp>

#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace rearm::REARM_ABI {

/// A folder of graph files `<name>-<key>.csr`, any graph of any model. An empty path means no cache: nothing is found,
/// nothing written.
class GraphCache {
 public:
  /// Removes temporary files that killed processes left more than an hour ago.
  explicit GraphCache(std::filesystem::path folder) : folder_(std::move(folder)) {
    if (!folder_.empty()) detail::remove_temporaries(folder_, std::chrono::hours(1));  // no file takes that long
  }

  /// Creates the folder, which goes again with what is returned if it is empty then. Throws IoError if a graph could
  /// not be written there.
  [[nodiscard]] detail::MadeFolders require_writable() const {
    std::error_code error;
    if (folder_.empty()) return {};
    detail::MadeFolders made(folder_, error);
    if (error || !std::filesystem::is_directory(folder_, error) || ::access(folder_.c_str(), W_OK) != 0)
      throw IoError(detail::message("graph cache ", folder_.string(),
                                    ": not a folder that can be written; give another folder, or none to do without"));
    return made;
  }

  std::filesystem::path path(std::string_view name, const ContentHash::Digest& key) const {
    return folder_ / detail::message(name, '-', ContentHash::text(key), ".csr");
  }

  /// The graph stored under key(), or else build(), which is then stored. Without a folder key() is not called: it
  /// reads all that the graph depends on. Throws what build, `require_writable` and `store` throw.
  template <class T, class Key, class Build>
  Csr<T> keep(std::string_view name, const Key& key, const Build& build) const {
    if (folder_.empty()) return build();
    const ContentHash::Digest digest = key();
    if (std::optional<Csr<T>> found = load<T>(name, digest)) return std::move(*found);
    const auto made = require_writable();  // before the work; one that only holds the graphs need not be
    Csr<T> graph = build();
    store(name, digest, graph);
    return graph;
  }

  /// The graph stored under `key`, or nothing if there is no intact file with that key.
  template <class T>
  std::optional<Csr<T>> load(std::string_view name, const ContentHash::Digest& key) const {
    if (folder_.empty()) return std::nullopt;
    const std::filesystem::path file = path(name, key);
    std::error_code error;
    const std::uintmax_t bytes = std::filesystem::file_size(file, error);
    std::ifstream in(file, std::ios::binary);
    Header header;
    if (error || !in.read(reinterpret_cast<char*>(&header), sizeof(header))) return std::nullopt;
    if (header.magic != magic || header.version != version || header.value_bytes != sizeof(T) || header.key != key)
      return std::nullopt;
    // The sizes are believed only when they add up to the file's own.
    constexpr std::int64_t limit = std::int64_t{1} << 40;
    if (header.rows < 0 || header.rows > limit || header.cols < 0 || header.cols > limit || header.nonzeros < 0 ||
        header.nonzeros > limit)
      return std::nullopt;
    const std::uintmax_t expected = sizeof(Header) + (static_cast<std::uintmax_t>(header.rows) + 1) * sizeof(Index) +
                                    static_cast<std::uintmax_t>(header.nonzeros) * (sizeof(Id) + sizeof(T));
    if (bytes != expected) return std::nullopt;
    Csr<T> graph{header.rows, header.cols, Buffer<Index>(header.rows + 1), Buffer<Id>(header.nonzeros),
                 Buffer<T>(header.nonzeros)};
    const auto read = [&](auto& buffer) {
      in.read(reinterpret_cast<char*>(buffer.data()), static_cast<std::streamsize>(buffer.span().size_bytes()));
    };
    read(graph.offsets);
    read(graph.indices);
    read(graph.values);
    if (!in || header.checksum != checksum(graph) || !well_formed(graph)) return std::nullopt;
    return graph;
  }

  /// Writes the graph under `key`, whole or not at all. Throws IoError naming the file.
  template <class T>
  void store(std::string_view name, const ContentHash::Digest& key, const Csr<T>& graph) const {
    if (folder_.empty()) return;
    Header header;
    header.value_bytes = sizeof(T);
    header.key = key;
    header.rows = graph.rows;
    header.cols = graph.cols;
    header.nonzeros = graph.nonzeros();
    header.checksum = checksum(graph);
    const auto write_all = [&](std::ostream& out) {
      const auto write = [&](const auto& buffer) {
        out.write(reinterpret_cast<const char*>(buffer.data()),
                  static_cast<std::streamsize>(buffer.span().size_bytes()));
      };
      out.write(reinterpret_cast<const char*>(&header), sizeof(header));
      write(graph.offsets);
      write(graph.indices);
      write(graph.values);
    };
    try {
      write_file_atomically(path(name, key), write_all);
    } catch (const IoError& e) {
      throw IoError(detail::message("graph cache: ", e.what(), "; free space or give another folder, or none"));
    }
  }

 private:
  static constexpr std::array<char, 8> magic = {'R', 'E', 'A', 'R', 'M', 'C', 'S', 'R'};
  static constexpr std::uint32_t version = 1;
  /// In the machine's byte order; another order does not pass the checks.
  struct Header {
    std::array<char, 8> magic = GraphCache::magic;
    std::uint32_t version = GraphCache::version;
    std::uint32_t value_bytes = 0;
    ContentHash::Digest key = {};
    std::int64_t rows = 0;
    std::int64_t cols = 0;
    std::int64_t nonzeros = 0;
    ContentHash::Digest checksum = {};
  };
  /// Of the sizes and the arrays.
  template <class T>
  static ContentHash::Digest checksum(const Csr<T>& graph) {
    ContentHash hash;
    hash.add(graph.rows);
    hash.add(graph.cols);
    hash.add(graph.offsets.span());
    hash.add(graph.indices.span());
    hash.add(graph.values.span());
    return hash.digest();
  }
  std::filesystem::path folder_;
};

}  // namespace rearm::REARM_ABI
