#pragma once
/// @file cache.hpp
/// Built graphs on disk, found by the content of what they were built from. A file is a shortcut, never an authority:
/// one that is stale, truncated or damaged counts as absent.

#include <rearm/core/csr.hpp>
#include <rearm/io/atomic_file.hpp>

#include <unistd.h>

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <optional>
#include <ostream>
#include <span>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <utility>

namespace rearm {

/// 128-bit digest: MurmurHash3_x64_128 (Appleby, public domain) chained over the added pieces, each ended by its length
/// so that pieces do not run together. Guards against accidents, not against an adversary.
class ContentHash {
 public:
  using Digest = std::array<std::uint64_t, 2>;

  void add_bytes(const void* data, std::size_t size) {
    const auto* bytes = static_cast<const unsigned char*>(data);
    for (std::size_t at = 0; at < size; at += 16) {
      std::uint64_t word[2] = {0, 0};
      std::memcpy(word, bytes + at, size - at < 16 ? size - at : 16);
      mix(word[0], word[1]);
    }
    mix(size, 0x9e3779b97f4a7c15U);
  }
  /// The object bytes of one number.
  template <class T>
  requires(std::is_arithmetic_v<T>) void add(T value) { add_bytes(&value, sizeof(T)); }
  template <class T>
  requires(std::is_arithmetic_v<T>) void add(std::span<const T> values) {
    add_bytes(values.data(), values.size_bytes());
  }
  void add(std::string_view text) { add_bytes(text.data(), text.size()); }

  Digest digest() const {
    std::uint64_t a = h_[0] ^ length_;
    std::uint64_t b = h_[1] ^ length_;
    a += b;
    b += a;
    a = finish(a);
    b = finish(b);
    a += b;
    return {a, b + a};
  }

 private:
  void mix(std::uint64_t k1, std::uint64_t k2) {
    constexpr std::uint64_t c1 = 0x87c37b91114253d5U;
    constexpr std::uint64_t c2 = 0x4cf5ad432745937fU;
    h_[0] ^= std::rotl(k1 * c1, 31) * c2;
    h_[0] = (std::rotl(h_[0], 27) + h_[1]) * 5 + 0x52dce729U;
    h_[1] ^= std::rotl(k2 * c2, 33) * c1;
    h_[1] = (std::rotl(h_[1], 31) + h_[0]) * 5 + 0x38495ab5U;
    length_ += 16;
  }
  static std::uint64_t finish(std::uint64_t k) {
    k = (k ^ (k >> 33)) * 0xff51afd7ed558ccdU;
    k = (k ^ (k >> 33)) * 0xc4ceb9fe1a85ec53U;
    return k ^ (k >> 33);
  }
  Digest h_ = {0, 0};
  std::uint64_t length_ = 0;
};

/// A folder of graph files `<name>-<key>.csr`, any graph of any model. An empty path is no cache: nothing is found,
/// nothing written.
class GraphCache {
 public:
  /// Makes the folder. Throws IoError when that fails, before any graph is built.
  explicit GraphCache(std::filesystem::path folder) : folder_(std::move(folder)) {
    if (folder_.empty()) return;
    std::error_code error;
    std::filesystem::create_directories(folder_, error);
    if (error || !std::filesystem::is_directory(folder_, error) || ::access(folder_.c_str(), W_OK) != 0)
      throw IoError(detail::message("graph cache ", folder_.string(),
                                    ": not a folder that can be written; give another folder, or none to do without"));
  }

  std::filesystem::path path(std::string_view name, const ContentHash::Digest& key) const {
    std::ostringstream file;
    file << name << '-' << std::hex << std::setfill('0') << std::setw(16) << key[0] << std::setw(16) << key[1]
         << ".csr";
    return folder_ / file.str();
  }

  /// The graph stored under key(), or else build(), which is then stored. Without a folder key() is not called: it
  /// reads all that the graph depends on. Throws what build and `store` throw.
  template <class T, class Key, class Build>
  Csr<T> keep(std::string_view name, const Key& key, const Build& build) const {
    if (folder_.empty()) return build();
    const ContentHash::Digest digest = key();
    if (std::optional<Csr<T>> found = load<T>(name, digest)) return std::move(*found);
    Csr<T> graph = build();
    store(name, digest, graph);
    return graph;
  }

  /// The graph stored under `key`, or nothing when there is none that is whole and has that key.
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
    if (header.rows < 0 || header.rows > limit || header.cols < 0 || header.nonzeros < 0 || header.nonzeros > limit)
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
    if (!in || header.checksum != checksum(graph)) return std::nullopt;
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

}  // namespace rearm
