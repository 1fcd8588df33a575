// NPY files: arrays, pairs and features.
#include "fuzz.hpp"

#include <rearm/data/features.hpp>
#include <rearm/data/formats/npy_splits.hpp>
#include <rearm/data/npy.hpp>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <type_traits>
#include <vector>

namespace rearm::fuzz::npy {
namespace {

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

template <class T>
void read_write_read(const std::filesystem::path& path, const NpyHeader& header) {
  const NpyArray<T> array = read_npy<T>(path);
  require(array.shape == header.shape && static_cast<Index>(array.values.size()) == header.size,
          "an array has its header's shape");
  must([&] {
    const std::filesystem::path copy = folder() / "copy.npy";
    write_npy(copy, array.values, array.shape);
    const NpyArray<T> again = read_npy<T>(copy);
    require(again.shape == array.shape && same_bits(again.values, array.values), "an array is read as it was written");
  });
}

void check_pairs(const std::filesystem::path& path) {
  const Interactions pairs = detail::read_pairs_npy(path).pairs;
  require(pairs.users.size() == pairs.items.size(), "a pair is a user and an item");
  for (const std::vector<Id>* ids : {&pairs.users, &pairs.items})
    for (const Id id : *ids) require(id >= 0 && id < std::numeric_limits<Id>::max(), "an id is in its limits");
}

void check_features(const std::filesystem::path& path) {
  const FeatureMatrix features = FeatureMatrix::open(path);
  features.check_finite("image");
  Matrix<float> rows(features.rows(), features.cols());
  features.copy_rows(0, rows.view());
  const std::vector<float> values = read_npy<float>(path).values;
  require(same_bits(values, std::vector<float>(rows.data(), rows.data() + rows.size())),
          "features in blocks are those of the array");
}

}  // namespace

void check(const std::string& bytes) {
  folder().write("in.npy", bytes);
  const std::filesystem::path path = folder() / "in.npy";
  const NpyHeader header = read_npy_header(path);
  require(header.data_offset + header.size * item_size(header.dtype) == static_cast<Index>(bytes.size()),
          "a file is its header and its elements");
  if (is_floating(header.dtype)) {
    read_write_read<float>(path, header);
    read_write_read<double>(path, header);
    accepts([&] { check_features(path); });
  } else {
    accepts([&] { read_write_read<std::int32_t>(path, header); });
    accepts([&] { read_write_read<std::int64_t>(path, header); });
    accepts([&] { check_pairs(path); });
  }
}

}  // namespace rearm::fuzz::npy
