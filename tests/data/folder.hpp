#pragma once
/// @file folder.hpp
/// A temporary folder and files in it, for the tests of readers.

#include <rearm/data/npy.hpp>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace rearm::test {

/// Made empty, removed at the end.
class Folder {
 public:
  Folder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "rearm_data_XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = pattern;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }
  void write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path_ / name, std::ios::binary) << bytes;
  }
  /// An NPY file from its header dictionary, byte for byte.
  void write_raw_npy(const std::string& name, const std::string& dict, const std::string& data, int version = 1) const {
    std::string head = "\x93NUMPY";
    head += static_cast<char>(version);
    head += '\0';
    const std::size_t n = dict.size();
    for (int i = 0; i < (version == 1 ? 2 : 4); ++i) head += static_cast<char>((n >> (8 * i)) & 0xFF);
    write(name, head + dict + data);
  }
  void write_pairs(const std::string& name, const std::vector<std::int64_t>& users,
                   const std::vector<std::int64_t>& items) const {
    std::vector<std::int64_t> both = users;
    both.insert(both.end(), items.begin(), items.end());
    write_npy(path_ / name, both, {2, static_cast<Index>(users.size())});
  }

 private:
  std::filesystem::path path_;
};

/// What f throws as an Error_, as text; "" when it throws nothing. Another exception passes through and fails the test.
template <class Error_, class F>
std::string error_of(F&& f) {
  try {
    f();
  } catch (const Error_& e) {
    return e.what();
  }
  return "";
}

inline bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace rearm::test
