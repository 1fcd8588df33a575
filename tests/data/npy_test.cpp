#include <rearm/data/features.hpp>
#include <rearm/data/npy.hpp>

#include <tests/data/folder.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

namespace data_npy_test {

namespace {

using namespace rearm;
using rearm::test::error_of;
using rearm::test::Folder;
using rearm::test::has;

std::string bytes_of(const auto& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(values[0])};
}
std::string dict(const std::string& descr, const std::string& shape, const std::string& order = "False") {
  return "{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': " + shape + ", }\n";
}

TEST_CASE("float16 bits have their known values") {
  CHECK(half_to_float(0x0000) == 0.0F);
  CHECK(std::signbit(half_to_float(0x8000)));
  CHECK(half_to_float(0x3C00) == 1.0F);
  CHECK(half_to_float(0xC000) == -2.0F);
  CHECK(half_to_float(0x3555) == 0.333251953125F);
  CHECK(half_to_float(0x7BFF) == 65504.0F);
  CHECK(half_to_float(0x0400) == 0x1.0p-14F);
  CHECK(half_to_float(0x0001) == 0x1.0p-24F);
  CHECK(half_to_float(0x83FF) == -1023 * 0x1.0p-24F);
  CHECK(half_to_float(0x7C00) == std::numeric_limits<float>::infinity());
  CHECK(std::isnan(half_to_float(0x7E00)));
}

TEST_CASE("write_npy then read_npy gives the same array, also converted") {
  const Folder folder;
  const std::vector<float> values = {1.5F, -2.25F, 0.0F, 3e30F, 5.0F, 6.0F};
  write_npy(folder / "a.npy", values, {3, 2});
  const NpyHeader header = read_npy_header(folder / "a.npy");
  CHECK(header.dtype == NpyType::float32);
  CHECK(header.shape == std::vector<Index>{3, 2});
  CHECK(header.data_offset % 64 == 0);
  CHECK(header.size == 6);
  CHECK(read_npy<float>(folder / "a.npy").values == values);
  CHECK(read_npy<double>(folder / "a.npy").values[3] == static_cast<double>(3e30F));
  const std::vector<std::int32_t> ids = {7, -1, 2147483647};
  write_npy(folder / "i.npy", ids, {3});
  CHECK(read_npy<std::int64_t>(folder / "i.npy").values == std::vector<std::int64_t>{7, -1, 2147483647});
  CHECK(read_npy<std::int32_t>(folder / "i.npy").values == ids);
  std::vector<double> many(100'000);
  for (std::size_t i = 0; i < many.size(); ++i) many[i] = std::sqrt(static_cast<double>(i));
  write_npy(folder / "a.npy", many, {100, 1000});
  CHECK(read_npy<double>(folder / "a.npy").values == many);
  write_npy(folder / "none.npy", std::vector<std::int64_t>{}, {2, 0});
  CHECK(read_npy<std::int64_t>(folder / "none.npy").shape == std::vector<Index>{2, 0});
  const Index large = Index{1} << 62;  // of nothing, however large
  write_npy(folder / "none.npy", std::vector<float>{}, {large, large, 0});
  CHECK(read_npy<float>(folder / "none.npy").shape == std::vector<Index>{large, large, 0});
  write_npy(folder / "scalar.npy", std::vector<double>{4.0}, {});
  CHECK(read_npy<double>(folder / "scalar.npy").values == std::vector<double>{4.0});
}

TEST_CASE("versions 2 and 3, float16, int64 and unaligned data are read") {
  const Folder folder;
  const std::vector<std::uint16_t> halves = {0x3C00, 0xC000, 0x7BFF, 0x0001};
  folder.write_raw_npy("h.npy", dict("<f2", "(2, 2)"), bytes_of(halves), 2);
  CHECK(read_npy<float>(folder / "h.npy").values == std::vector<float>{1.0F, -2.0F, 65504.0F, 0x1.0p-24F});
  const std::vector<std::int64_t> wide = {1, -5};
  folder.write_raw_npy("i.npy", "{\"shape\":(2,),\"fortran_order\":False,\"descr\":\"<i8\"}", bytes_of(wide), 3);
  CHECK(read_npy<std::int64_t>(folder / "i.npy").values == wide);
  CHECK(read_npy<std::int32_t>(folder / "i.npy").values == std::vector<std::int32_t>{1, -5});
}

TEST_CASE("integers of every width and sign are read where they fit") {
  const Folder folder;
  const auto check = [&](const std::string& type, const auto& stored) {
    CAPTURE(type);
    const std::string name = type.substr(1) + ".npy";
    folder.write_raw_npy(name, dict(type, "(" + std::to_string(stored.size()) + ",)"), bytes_of(stored));
    CHECK(read_npy<std::int64_t>(folder / name).values == std::vector<std::int64_t>(stored.begin(), stored.end()));
  };
  check("|i1", std::vector<std::int8_t>{1, -5, 127});
  check("<i2", std::vector<std::int16_t>{1, -5, 32767});
  check("<i4", std::vector<std::int32_t>{1, -5});
  check("|u1", std::vector<std::uint8_t>{0, 255});
  check("<u2", std::vector<std::uint16_t>{0, 65535});
  check("<u4", std::vector<std::uint32_t>{0, 4'294'967'295U});
  check("<u8", std::vector<std::uint64_t>{0, 1ULL << 62});
  CHECK(has(error_of<DataError>([&] { read_npy<std::int32_t>(folder / "u4.npy"); }), "4294967295 at position 1"));
  folder.write_raw_npy("u8.npy", dict("<u8", "(1,)"), bytes_of(std::vector<std::uint64_t>{1ULL << 63}));
  CHECK(has(error_of<DataError>([&] { read_npy<std::int64_t>(folder / "u8.npy"); }), "9223372036854775808"));
}

TEST_CASE("an array in Fortran order is the same array") {
  const Folder folder;
  folder.write_raw_npy("a.npy", dict("<f4", "(2, 3)", "True"), bytes_of(std::vector<float>{0, 10, 1, 11, 2, 12}));
  CHECK(read_npy<float>(folder / "a.npy").values == std::vector<float>{0, 1, 2, 10, 11, 12});
  folder.write_raw_npy("b.npy", dict("<i4", "(2, 1, 2)", "True"), bytes_of(std::vector<std::int32_t>{0, 10, 1, 11}));
  CHECK(read_npy<std::int64_t>(folder / "b.npy").values == std::vector<std::int64_t>{0, 1, 10, 11});
  CHECK(has(error_of<IoError>([&] { FeatureMatrix::open(folder / "a.npy"); }), "Fortran"));
  folder.write_raw_npy("c.npy", dict("<f4", "(3, 1)", "True"), bytes_of(std::vector<float>{1, 2, 3}));
  CHECK(FeatureMatrix::open(folder / "c.npy").rows() == 3);  // of one column the orders are one
}

TEST_CASE("features that change while they are read are an error, not a signal and not other numbers") {
  const Folder folder;
  const std::vector<float> values(4096, 1.0F), others(4096, 2.0F);
  Matrix<float> out(64, 64);
  const auto open = [&] {
    write_npy(folder / "f.npy", values, {64, 64});
    return FeatureMatrix::open(folder / "f.npy");
  };
  {
    const FeatureMatrix features = open();
    std::filesystem::resize_file(folder / "f.npy", 1000);
    CHECK(has(error_of<IoError>([&] { features.copy_rows<float>(0, out.view()); }), "f.npy: was changed while"));
  }
  {
    const FeatureMatrix features = open();
    std::fstream file(folder / "f.npy", std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(128);
    file.write(reinterpret_cast<const char*>(others.data()), 64);
    file.close();
    // The clock of a file system is coarse: another time in any case.
    std::filesystem::last_write_time(folder / "f.npy",
                                     std::filesystem::last_write_time(folder / "f.npy") + std::chrono::seconds(1));
    CHECK(has(error_of<IoError>([&] { features.copy_rows<float>(0, out.view()); }), "was changed"));
  }
  const FeatureMatrix features = open();
  write_npy(folder / "f.npy", others, {64, 64});  // another file of that name: what was opened goes on
  features.copy_rows<float>(0, out.view());
  CHECK(out(63, 63) == 1.0F);
}

TEST_CASE("write_npy refuses a wrong shape or folder and keeps what was there") {
  const Folder folder;
  const std::vector<float> values = {1, 2, 3};
  write_npy(folder / "a.npy", values, {3});
  CHECK(has(error_of<ShapeError>([&] { write_npy(folder / "a.npy", values, {2, 2}); }), "(2, 2) holds 4"));
  for (const std::vector<Index>& shape : {std::vector<Index>{-3, -1}, {-1, 0}, {-1, std::numeric_limits<Index>::min()}})
    CHECK_THROWS_AS(write_npy(folder / "a.npy", values, shape), ShapeError);
  CHECK_THROWS_AS(write_npy(folder / "absent/a.npy", values, {3}), IoError);
  CHECK(read_npy<float>(folder / "a.npy").values == values);
  Index files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(folder.path())) ++files;
  CHECK(files == 1);
}

TEST_CASE("bad NPY files are refused with what and where") {
  const Folder folder;
  const auto error = [&](const std::string& name) {
    const std::string text = error_of<IoError>([&] { read_npy<float>(folder / name); });
    CHECK(has(text, name));
    return text;
  };
  const std::vector<float> values = {1, 2, 3, 4};
  const std::string data = bytes_of(values);
  CHECK(has(error("missing.npy"), "no such file"));
  CHECK_THROWS_AS(read_npy<float>(folder.path()), IoError);
  folder.write("magic.npy", "this is no array at all");
  CHECK(has(error("magic.npy"), "bad magic"));
  folder.write("raw_pickle.npy", "\x80\x04\x95 something pickled");
  CHECK(has(error("raw_pickle.npy"), "pickle"));
  folder.write("empty.npy", "");
  CHECK(has(error("empty.npy"), "bad magic"));
  folder.write("stub.npy", "\x93NUMPY\x01");
  CHECK(has(error("stub.npy"), "truncated"));
  folder.write_raw_npy("version.npy", dict("<f4", "(4,)"), data, 9);
  CHECK(has(error("version.npy"), "version 9"));
  folder.write("header.npy", std::string("\x93NUMPY\x01\x00\xFF\x00{'descr'", 18));
  CHECK(has(error("header.npy"), "claims 255 bytes from offset 10"));
  folder.write_raw_npy("short.npy", dict("<f4", "(4,)"), data.substr(0, 13));
  const std::string truncated = error("short.npy");
  CHECK(has(truncated, "needs 16 bytes from offset"));
  CHECK(has(truncated, "has 13"));
  folder.write_raw_npy("long.npy", dict("<f4", "(3,)"), data);
  CHECK(has(error("long.npy"), "trailing"));
  folder.write_raw_npy("object.npy", dict("|O", "(4,)"), data);
  CHECK(has(error("object.npy"), "pickled"));
  folder.write_raw_npy("fields.npy", "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (4,), }", data);
  CHECK(has(error("fields.npy"), "structured"));
  folder.write("pointer.npy", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n");
  CHECK(has(error("pointer.npy"), "Git LFS pointer"));
  CHECK(has(error("pointer.npy"), "git lfs pull"));
  folder.write_raw_npy("big.npy", dict(">f4", "(4,)"), data);
  CHECK(has(error("big.npy"), "big endian"));
  folder.write_raw_npy("complex.npy", dict("<c8", "(2,)"), data);
  CHECK(has(error("complex.npy"), "'<c8' is unsupported"));
  folder.write_raw_npy("negative.npy", dict("<f4", "(-4,)"), data);
  CHECK(has(error("negative.npy"), "negative extent -4"));
  folder.write_raw_npy("tera.npy", dict("<f4", "(1000000000, 4096)"), data);
  CHECK(has(error("tera.npy"), "needs 16384000000000 bytes"));
  folder.write_raw_npy("overflow.npy", dict("<f4", "(4611686018427387904, 4)"), data);
  CHECK(has(error("overflow.npy"), "more than 2^63"));
  folder.write_raw_npy("overflow0.npy", dict("<f4", "(9223372036854775807, 9223372036854775807, 0)"), data);
  CHECK(has(error("overflow0.npy"), "trailing"));
  folder.write_raw_npy("digits.npy", dict("<f4", "(99999999999999999999999,)"), data);
  CHECK(has(error("digits.npy"), "64 bits"));
  for (const char* broken :
       {"", "{", "{}", "{'descr'", "{'descr': '<f4", "{'descr': '<f4', 'shape': (4,)}",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': (4,)}", "{'descr': '<f4', 'fortran_order': False, 'shape': (4",
        "[]", "{'descr': '<f4', 'fortran_order': False, 'shape': (4,), 'more': 'x'}"}) {
    folder.write_raw_npy("broken.npy", broken, data);
    CHECK(has(error("broken.npy"), "bad NPY header"));
  }
}

TEST_CASE("no prefix of an NPY file is accepted") {
  const Folder folder;
  std::string whole("\x93NUMPY\x01\x00", 8);
  const std::string head = dict("<f4", "(4,)");
  whole += static_cast<char>(head.size());
  whole += '\0';
  whole += head + std::string(16, 'x');
  folder.write("whole.npy", whole);
  CHECK(read_npy<float>(folder / "whole.npy").values.size() == 4);
  for (std::size_t n = 0; n < whole.size(); ++n) {
    folder.write("part.npy", whole.substr(0, n));
    CHECK_THROWS_AS(read_npy<float>(folder / "part.npy"), IoError);
  }
}

TEST_CASE("numbers of another kind and integers that do not fit are DataErrors") {
  const Folder folder;
  write_npy(folder / "f.npy", std::vector<double>{1.0, 2.0}, {2});
  write_npy(folder / "i.npy", std::vector<std::int64_t>{1, 2, 3'000'000'000}, {3});
  CHECK(has(error_of<DataError>([&] { read_npy<std::int64_t>(folder / "f.npy"); }), "float64"));
  CHECK(has(error_of<DataError>([&] { read_npy<float>(folder / "i.npy"); }), "int64"));
  const std::string text = error_of<DataError>([&] { read_npy<std::int32_t>(folder / "i.npy"); });
  CHECK(has(text, "3000000000 at position 2"));
}

TEST_CASE("FeatureMatrix copies converted rows from a file or from memory") {
  const Folder folder;
  std::vector<double> values(5 * 3);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = 0.5 * static_cast<double>(i);
  write_npy(folder / "d.npy", values, {5, 3});
  const std::vector<float> single(values.begin(), values.end());
  write_npy(folder / "f.npy", single, {5, 3});
  Matrix<float> owned(5, 3);
  std::copy(single.begin(), single.end(), owned.data());
  std::vector<FeatureMatrix> all;
  all.push_back(FeatureMatrix::open(folder / "d.npy"));
  all.push_back(FeatureMatrix::open(folder / "f.npy"));
  all.push_back(FeatureMatrix::from(std::move(owned)));
  FeatureMatrix moved = std::move(all.front());
  all.front() = std::move(moved);
  for (const FeatureMatrix& features : all) {
    CHECK(features.rows() == 5);
    CHECK(features.cols() == 3);
    Matrix<double> wide(2, 5);
    features.copy_rows<double>(3, wide.view().col_block(1, 3));
    for (Index i = 0; i < 2; ++i) {
      for (Index j = 0; j < 3; ++j) CHECK(wide(i, j + 1) == values[static_cast<std::size_t>((3 + i) * 3 + j)]);
      CHECK(wide(i, 0) == 0.0);
      CHECK(wide(i, 4) == 0.0);
    }
    Matrix<float> out(5, 3);
    features.copy_rows<float>(0, out.view());
    CHECK(std::vector<float>(out.data(), out.data() + 15) == single);
    CHECK_THROWS_AS(features.copy_rows<float>(1, out.view()), ShapeError);
    CHECK_THROWS_AS(features.copy_rows<float>(-1, out.view()), ShapeError);
    CHECK_THROWS_AS(features.copy_rows<double>(0, wide.view()), ShapeError);
    features.check_finite("image");
  }
  folder.write_raw_npy("h.npy", dict("<f2", "(1, 2)"), std::string("\x00\x3C\x00\xC0", 4));
  Matrix<float> two(1, 2);
  FeatureMatrix::open(folder / "h.npy").copy_rows<float>(0, two.view());
  CHECK(two(0, 0) == 1.0F);
  CHECK(two(0, 1) == -2.0F);
}

TEST_CASE("check_finite names file, row and column; open refuses what is no table") {
  const Folder folder;
  std::vector<float> values(6, 1.0F);
  values[4] = std::numeric_limits<float>::quiet_NaN();
  write_npy(folder / "nan.npy", values, {2, 3});
  const std::string text = error_of<DataError>([&] { FeatureMatrix::open(folder / "nan.npy").check_finite("image"); });
  CHECK(has(text, "nan.npy"));
  CHECK(has(text, "row 1, column 1"));
  write_npy(folder / "inf.npy", std::vector<double>{0, 1e39}, {2, 1});
  CHECK(
      has(error_of<DataError>([&] { FeatureMatrix::open(folder / "inf.npy").check_finite("t"); }), "row 1, column 0"));
  folder.write_raw_npy("half.npy", dict("<f2", "(1, 2)"), std::string("\x00\x3C\x00\x7C", 4));
  CHECK(has(error_of<DataError>([&] { FeatureMatrix::open(folder / "half.npy").check_finite("t"); }), "column 1"));
  Matrix<float> owned(1, 1);
  owned(0, 0) = -std::numeric_limits<float>::infinity();
  CHECK(has(error_of<DataError>([&] { FeatureMatrix::from(std::move(owned)).check_finite("mine"); }), "mine"));
  write_npy(folder / "flat.npy", values, {6});
  CHECK(has(error_of<DataError>([&] { FeatureMatrix::open(folder / "flat.npy"); }), "(6,)"));
  write_npy(folder / "none.npy", std::vector<float>{}, {0, 6});
  CHECK_THROWS_AS(FeatureMatrix::open(folder / "none.npy"), DataError);
  write_npy(folder / "int.npy", std::vector<std::int64_t>{1, 2}, {2, 1});
  CHECK(has(error_of<DataError>([&] { FeatureMatrix::open(folder / "int.npy"); }), "int64"));
}

}  // namespace

}  // namespace data_npy_test
