// Files of the graph cache. An input is what follows a file's first bytes, which hold its version and key; where its
// own first byte is odd, the checksum is made to fit, so that the checks behind it are reached.
#include "fuzz.hpp"

#include <rearm/graph/cache.hpp>

#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>

namespace rearm::fuzz::graph_cache {
namespace {

constexpr ContentHash::Digest key = {1, 2};
constexpr std::size_t key_end = 32, sizes_end = key_end + 24, header_end = sizes_end + 16;

/// The digest that GraphCache makes of the sizes and the arrays.
void fit_checksum(std::string& file) {
  std::int64_t sizes[3];
  std::memcpy(sizes, file.data() + key_end, sizeof sizes);
  ContentHash hash;
  hash.add(sizes[0]);
  hash.add(sizes[1]);
  std::size_t at = header_end;
  const auto add = [&](std::int64_t count, std::int64_t bytes) {
    const std::size_t left = file.size() - at;
    if (count < 0 || count > static_cast<std::int64_t>(left) / bytes) return false;
    hash.add_bytes(file.data() + at, static_cast<std::size_t>(count * bytes));
    at += static_cast<std::size_t>(count * bytes);
    return true;
  };
  if (sizes[0] < 0 || sizes[0] > 1 << 20 || !add(sizes[0] + 1, sizeof(Index)) || !add(sizes[2], sizeof(Id)) ||
      !add(sizes[2], sizeof(float)))
    return;
  const ContentHash::Digest digest = hash.digest();
  std::memcpy(file.data() + sizes_end, digest.data(), sizeof digest);
}

/// A file of the cache with a graph of no rows: the bytes that all of its files begin with.
const std::string& beginning() {
  static const std::string instance = [] {
    const GraphCache cache(folder().path());
    cache.store("empty", key, Csr<float>{0, 0, Buffer<Index>(1), {}, {}});
    std::ifstream in(cache.path("empty", key), std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {}).substr(0, key_end);
  }();
  return instance;
}

}  // namespace

void check(const std::string& bytes) {
  if (bytes.empty()) return;
  static const GraphCache cache(folder().path());
  std::string file = beginning() + bytes.substr(1);
  if ((bytes[0] & 1) != 0 && file.size() >= header_end) fit_checksum(file);
  folder().write(cache.path("in", key).filename().string(), file);
  const std::optional<Csr<float>> found = cache.load<float>("in", key);
  if (!found) return;
  const CsrView<float> graph = found->view();
  require(graph.offsets[0] == 0 && graph.offsets[graph.rows] == graph.nonzeros,
          "offsets begin at 0 and end at the end");
  for (Index i = 0; i < graph.rows; ++i) require(graph.offsets[i] <= graph.offsets[i + 1], "offsets ascend");
  for (Index e = 0; e < graph.nonzeros; ++e)
    require(graph.indices[e] >= 0 && graph.indices[e] < graph.cols, "columns are below their number");
  must([&] {
    cache.store("copy", key, *found);
    std::ifstream in(cache.path("copy", key), std::ios::binary);
    require(std::string(std::istreambuf_iterator<char>(in), {}) == file, "a graph is written as it was read");
  });
}

}  // namespace rearm::fuzz::graph_cache
