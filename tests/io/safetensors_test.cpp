#include <rearm/io/content_hash.hpp>
#include <rearm/io/safetensors.hpp>

#include <doctest/doctest.h>

#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <vector>

namespace io_safetensors_test {

namespace {

namespace fs = std::filesystem;
using rearm::Index;

/// A folder of its own for each test case, gone afterwards.
struct TemporaryFolder {
  fs::path path;
  TemporaryFolder() {
    std::string pattern = (fs::temp_directory_path() / "rearm_io_XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path = pattern;
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::permissions(path, fs::perms::owner_all, ignored);
    fs::remove_all(path, ignored);
  }
  std::size_t entries() const {
    return static_cast<std::size_t>(std::distance(fs::directory_iterator(path), fs::directory_iterator()));
  }
};

std::string slurp(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
void spill(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}
/// A file with this header text and so many bytes of data.
void spill_header(const fs::path& path, const std::string& header, std::size_t data_bytes) {
  std::string bytes(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) bytes[i] = static_cast<char>((header.size() >> (8 * i)) & 255U);
  spill(path, bytes + header + std::string(data_bytes, '\0'));
}

struct Small {
  rearm::Matrix<float> f32{2, 3};
  rearm::Matrix<double> f64{1, 2};
  std::vector<std::int32_t> i32 = {-5, 7, 1 << 30};
  std::vector<std::int64_t> i64 = {std::int64_t{1} << 40, -1};
  Small() {
    for (Index i = 0; i < 6; ++i) f32.data()[i] = static_cast<float>(i) / 3;
    f64(0, 0) = 0.1;
    f64(0, 1) = -1e300;
  }
  void write(const fs::path& path) const {
    const std::vector<rearm::TensorView> tensors = {
        rearm::tensor_view("weights", f32.view()),
        rearm::tensor_view("wide", f64.view()),
        {"ids", rearm::TensorType::i32, {3}, i32.data()},
        {"counts", rearm::TensorType::i64, {2}, i64.data()},
        {"nothing", rearm::TensorType::f32, {0, 4}, nullptr},
    };
    rearm::write_safetensors(path, tensors, {{"config", "{\"rank\": 3}"}, {"name", "né"}});
  }
};

/// Reads all there is; throws or succeeds, never anything else.
void read_everything(const fs::path& path) {
  rearm::SafetensorsFile file(path);
  for (const rearm::TensorInfo& t : file.tensors()) {
    const Index rows = t.shape.empty() ? 1 : t.shape[0];
    const Index cols = t.shape.size() < 2 ? 1 : t.shape[1];
    if (t.type == rearm::TensorType::f32 || t.type == rearm::TensorType::f64) {
      rearm::Matrix<double> m(rows, cols);
      file.read(t.name, m.view());
    } else {
      rearm::Matrix<std::int64_t> m(rows, cols);
      file.read(t.name, m.view());
    }
  }
}

}  // namespace

TEST_CASE("safetensors: what is written is read") {
  const TemporaryFolder folder;
  const fs::path path = folder.path / "model.safetensors";
  const Small small;
  small.write(path);
  CHECK(folder.entries() == 1);  // no temporary file is left

  rearm::SafetensorsFile file(path);
  CHECK(file.metadata() == rearm::TensorMetadata{{"config", "{\"rank\": 3}"}, {"name", "né"}});
  CHECK(file.tensors().size() == 5);
  CHECK(file.contains("weights"));
  CHECK_FALSE(file.contains("weight"));
  CHECK(file.info("weights").shape == std::vector<Index>{2, 3});
  CHECK(file.info("ids").type == rearm::TensorType::i32);
  for (const rearm::TensorInfo& t : file.tensors()) CHECK(t.offset % rearm::element_size(t.type) == 0);

  rearm::Matrix<float> f32(2, 3);
  file.read("weights", f32.view());
  CHECK(std::equal(f32.data(), f32.data() + 6, small.f32.data()));
  rearm::Matrix<double> f64(1, 2);
  file.read("wide", f64.view());
  CHECK(f64(0, 1) == -1e300);
  rearm::Matrix<std::int32_t> i32(3, 1);
  file.read("ids", i32.view());
  CHECK(i32(2, 0) == 1 << 30);
  rearm::Matrix<std::int64_t> i64(1, 2);
  file.read("counts", i64.view());
  CHECK(i64(0, 0) == std::int64_t{1} << 40);
  rearm::Matrix<float> nothing(0, 4);
  file.read("nothing", nothing.view());

  rearm::Matrix<double> widened(2, 5);  // converted, and into a view with a stride
  file.read("weights", widened.view().col_block(1, 3));
  CHECK(widened(1, 3) == static_cast<double>(small.f32(1, 2)));
  CHECK(widened(1, 4) == 0);
  rearm::Matrix<float> strided(2, 4);
  file.read("weights", strided.view().col_block(0, 3));
  CHECK(strided(1, 0) == small.f32(1, 0));
  rearm::Matrix<std::int64_t> long_ids(1, 3);
  file.read("ids", long_ids.view());
  CHECK(long_ids(0, 0) == -5);
}

TEST_CASE("safetensors: long tensors convert chunk by chunk") {
  const TemporaryFolder folder;
  const fs::path path = folder.path / "long.safetensors";
  rearm::Matrix<double> values(401, 101);
  for (Index i = 0; i < values.size(); ++i) values.data()[i] = static_cast<double>(i) * 0.5;
  const std::vector<rearm::TensorView> tensors = {rearm::tensor_view("x", values.view())};
  rearm::write_safetensors(path, tensors);
  rearm::SafetensorsFile file(path);
  CHECK(file.metadata().empty());
  rearm::Matrix<float> narrow(401, 101);
  file.read("x", narrow.view());
  Index wrong = 0;
  for (Index i = 0; i < values.size(); ++i) wrong += narrow.data()[i] != static_cast<float>(values.data()[i]);
  CHECK(wrong == 0);
}

TEST_CASE("safetensors: the bytes are the format's") {
  const TemporaryFolder folder;
  const fs::path path = folder.path / "a.safetensors";
  const float value = 1.0F;
  const std::vector<rearm::TensorView> tensors = {{"a", rearm::TensorType::f32, {1, 1}, &value}};
  rearm::write_safetensors(path, tensors, {{"k", "v"}});
  std::string header = R"({"__metadata__":{"k":"v","checksum":"DIGITS","checksum.a":"DATA"},)"
                       R"("a":{"dtype":"F32","shape":[1,1],"data_offsets":[0,4]}})";
  const auto put = [&](const std::string& name, const std::string& text) {
    header.replace(header.find(name), name.size(), text);
  };
  const auto digits_of = [](const void* data, std::size_t bytes) {
    rearm::ContentHash hash;
    hash.add_bytes(data, bytes);
    return rearm::ContentHash::text(hash.digest());
  };
  put("DATA", digits_of(&value, sizeof value));
  put("DIGITS", std::string(32, '0'));
  header.resize((header.size() + 7) / 8 * 8, ' ');
  put(std::string(32, '0'), digits_of(header.data(), header.size()));
  CHECK(slurp(path) == std::string(1, static_cast<char>(header.size())) + std::string(7, '\0') + header +
                           std::string("\0\0\x80\x3f", 4));
}

TEST_CASE("safetensors: no bit of a file changes unnoticed, and files without checksums are read") {
  const TemporaryFolder folder;
  const fs::path path = folder.path / "a.safetensors";
  Small().write(path);
  const std::string whole = slurp(path);
  const auto is_refused = [&](const std::string& bytes) {
    spill(path, bytes);
    try {
      rearm::SafetensorsFile file(path);
      // A file whose checksum has lost its name has none; who knows that it must have one asks.
      if (!file.has_checksums()) return true;
      file.require_whole();
    } catch (const rearm::Error&) {
      return true;
    }
    return false;
  };
  CHECK_FALSE(is_refused(whole));
  std::string unnoticed;
  for (std::size_t bit = 0; bit < 8 * whole.size(); ++bit) {
    std::string bytes = whole;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    if (!is_refused(bytes)) unnoticed += std::to_string(bit) + ' ';
  }
  CHECK(unnoticed == "");
  // Pieces at their ends.
  for (const Index rows : {(1 << 17) - 1, 1 << 17, (1 << 17) + 1}) {
    rearm::Matrix<double> values(rows, 1);
    const std::vector<rearm::TensorView> tensors = {rearm::tensor_view("x", values.view())};
    rearm::write_safetensors(path, tensors);
    rearm::SafetensorsFile(path).require_whole();
    std::string bytes = slurp(path);
    bytes.back() = 1;
    CHECK(is_refused(bytes));
  }
  spill_header(path, R"({"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4);
  rearm::SafetensorsFile plain(path);
  CHECK_FALSE(plain.has_checksums());
  CHECK(plain.metadata() == rearm::TensorMetadata{{"k", "v"}});
  plain.require_whole();
  CHECK_THROWS_AS(rearm::write_safetensors(path, {}, {{"checksum.a", "v"}}), rearm::DataError);
}

TEST_CASE("safetensors: reading refuses what does not fit") {
  const TemporaryFolder folder;
  const fs::path path = folder.path / "model.safetensors";
  Small().write(path);
  rearm::SafetensorsFile file(path);
  rearm::Matrix<float> square(3, 3), two(1, 2), transposed(3, 2);
  rearm::Matrix<std::int32_t> ids(2, 3), pair(1, 2);
  CHECK_THROWS_AS(file.read("absent", square.view()), rearm::DataError);
  CHECK_THROWS_AS(file.read("weights", square.view()), rearm::ShapeError);
  CHECK_THROWS_AS(file.read("weights", transposed.view()), rearm::ShapeError);
  CHECK_THROWS_AS(file.read("weights", ids.view()), rearm::DataError);  // float into int
  CHECK_THROWS_AS(file.read("counts", two.view()), rearm::DataError);   // int into float
  CHECK_THROWS_AS(file.read("counts", pair.view()), rearm::DataError);  // 2^40 into int32
  CHECK_THROWS_AS(file.read("wide", two.view()), rearm::DataError);     // -1e300 into float
  CHECK_THROWS_AS(rearm::SafetensorsFile(folder.path / "absent"), rearm::IoError);
  CHECK_THROWS_AS(rearm::SafetensorsFile(folder.path), rearm::IoError);
}

TEST_CASE("safetensors: every truncation and every appended byte is noticed") {
  const TemporaryFolder folder;
  const fs::path path = folder.path / "model.safetensors";
  Small().write(path);
  const std::string whole = slurp(path);
  CHECK_NOTHROW(read_everything(path));
  const fs::path cut = folder.path / "cut.safetensors";
  for (std::size_t n = 0; n < whole.size(); ++n) {
    spill(cut, whole.substr(0, n));
    CHECK_THROWS_AS(rearm::SafetensorsFile{cut}, rearm::Error);
  }
  spill(cut, whole + '\0');
  CHECK_THROWS_AS(rearm::SafetensorsFile{cut}, rearm::Error);
}

TEST_CASE("safetensors: a flipped bit in the header throws a typed error or is read, and never crashes") {
  const TemporaryFolder folder;
  const fs::path path = folder.path / "model.safetensors";
  Small().write(path);
  const std::string whole = slurp(path);
  const fs::path bad = folder.path / "bad.safetensors";
  const std::size_t header_end = 8 + static_cast<unsigned char>(whole[0]) + 256U * static_cast<unsigned char>(whole[1]);
  REQUIRE(header_end < whole.size());
  int refused = 0;
  for (std::size_t place = 0; place < header_end; ++place)
    for (unsigned bit = 0; bit < 8; ++bit) {
      std::string damaged = whole;
      damaged[place] = static_cast<char>(static_cast<unsigned char>(damaged[place]) ^ (1U << bit));
      spill(bad, damaged);
      try {
        read_everything(bad);
      } catch (const rearm::Error& e) {
        ++refused;
        CHECK(std::string(e.what()).find("bad.safetensors") != std::string::npos);
      }
    }
  CHECK(refused > static_cast<int>(header_end) * 4);  // most of the header is structure
}

TEST_CASE("safetensors: headers that lie are refused before anything is allocated") {
  const TemporaryFolder folder;
  const fs::path path = folder.path / "lie.safetensors";
  const auto refuses = [&](const std::string& header, std::size_t data_bytes) {
    spill_header(path, header, data_bytes);
    CHECK_THROWS_AS(rearm::SafetensorsFile{path}, rearm::Error);
  };
  spill(path, std::string("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10));
  CHECK_THROWS_AS(rearm::SafetensorsFile{path}, rearm::IoError);
  spill(path, std::string("\x00\x00\x00\x00\x01\x00\x00\x00{}", 10));  // 4 GiB of header
  CHECK_THROWS_AS(rearm::SafetensorsFile{path}, rearm::IoError);
  refuses("", 0);
  refuses("[]", 0);
  refuses("{", 0);
  refuses(std::string(100000, '['), 0);
  refuses(R"({"a":)" + std::string(100000, '[') + std::string(100000, ']') + "}", 0);
  refuses(R"({"a":{"dtype":)" + std::string(100000, '[') + std::string(100000, ']') + "}}", 0);
  refuses(R"({"a":1})", 0);
  refuses(R"({"__metadata__":{"k":1}})", 0);
  refuses(R"({"__metadata__":[]})", 0);
  refuses(R"({"a":{"shape":[1],"data_offsets":[0,4]}})", 4);
  refuses(R"({"a":{"dtype":"F99","shape":[1],"data_offsets":[0,4]}})", 4);
  refuses(R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", 4);
  refuses(R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4);
  refuses(R"({"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}})", 4);
  refuses(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})", 4);
  refuses(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4);
  refuses(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})", 4);                      // past the end
  refuses(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}})", 4);                      // shape disagrees
  refuses(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 8);                      // data left over
  refuses(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8);                      // a gap in front
  refuses(R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", 0);  // 2^64 elements
  refuses(R"({"a":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}})", 0);    // 2^64 bytes
  refuses(R"({"a":{"dtype":"F32","shape":[18446744073709551615],"data_offsets":[0,4]}})", 4);
  refuses(
      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
      12);  // overlap
  refuses(
      R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
      8);  // the same name twice
  spill_header(path, "{}", 0);
  CHECK(rearm::SafetensorsFile(path).tensors().empty());
  spill_header(path, R"({"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})", 4);  // a scalar
  rearm::Matrix<float> scalar(1, 1);
  rearm::SafetensorsFile(path).read("s", scalar.view());
}

TEST_CASE("safetensors: a refused write names its reason and leaves the old file as it was") {
  const TemporaryFolder folder;
  const fs::path path = folder.path / "model.safetensors";
  spill(path, "precious");
  const float value = 1;
  const auto write = [&](std::vector<rearm::TensorView> tensors, const rearm::TensorMetadata& metadata = {}) {
    rearm::write_safetensors(path, tensors, metadata);
  };
  using rearm::TensorType;
  const rearm::TensorView good{"a", TensorType::f32, {1}, &value};
  CHECK_THROWS_AS(write({good, good}), rearm::DataError);
  CHECK_THROWS_AS(write({{"", TensorType::f32, {1}, &value}}), rearm::DataError);
  CHECK_THROWS_AS(write({{"__metadata__", TensorType::f32, {1}, &value}}), rearm::DataError);
  CHECK_THROWS_AS(write({{"a", TensorType::f32, {-1}, &value}}), rearm::ShapeError);
  CHECK_THROWS_AS(write({{"a", TensorType::f32, {Index{1} << 40, Index{1} << 40}, &value}}), rearm::ShapeError);
  CHECK_THROWS_AS(write({good}, {{"k", "\xff"}}), rearm::DataError);
  const rearm::Matrix<float> wide(2, 4);
  CHECK_THROWS_AS(rearm::tensor_view("a", wide.view().col_block(0, 2)), rearm::ShapeError);
  CHECK(slurp(path) == "precious");
  CHECK(folder.entries() == 1);
  write({good});
  CHECK(rearm::SafetensorsFile(path).contains("a"));
}

}  // namespace io_safetensors_test
