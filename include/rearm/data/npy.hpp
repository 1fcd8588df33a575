#pragma once
/// @file npy.hpp
/// NPY files (versions 1 to 3; https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html): little-endian
/// float16/32/64 and int32/64 in C order. Nothing is ever unpickled.

#include <rearm/core/error.hpp>
#include <rearm/core/matrix_view.hpp>
#include <rearm/data/half.hpp>
#include <rearm/io/atomic_file.hpp>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <charconv>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

static_assert(std::endian::native == std::endian::little, "NPY files are read and written as little-endian memory");

enum class NpyType { float16, float32, float64, int8, int16, int32, int64, uint8, uint16, uint32, uint64 };

constexpr std::string_view to_string(NpyType t) {
  constexpr std::string_view names[] = {"float16", "float32", "float64", "int8",   "int16", "int32",
                                        "int64",   "uint8",   "uint16",  "uint32", "uint64"};
  return names[static_cast<int>(t)];
}
/// Bytes per element.
constexpr Index item_size(NpyType t) {
  constexpr Index sizes[] = {2, 4, 8, 1, 2, 4, 8, 1, 2, 4, 8};
  return sizes[static_cast<int>(t)];
}
constexpr bool is_floating(NpyType t) { return t <= NpyType::float64; }

/// The header of an NPY file. Every field has been checked against the file's size.
struct NpyHeader {
  NpyType dtype = NpyType::float32;
  std::vector<Index> shape;
  bool by_columns = false;  ///< in Fortran order, if that differs from C order
  Index data_offset = 0;    ///< bytes before the first element
  Index size = 1;           ///< elements: the product of `shape`
};

/// "(2, 118551)", for messages.
inline std::string shape_string(const std::vector<Index>& shape) {
  std::string out = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) out += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return out + (shape.size() == 1 ? ",)" : ")");
}

namespace detail {

/// Reads the Python dictionary of an NPY header; accepts exactly the three keys that the format defines.
class NpyDict {
 public:
  NpyDict(std::string_view text, const std::filesystem::path& path, Index offset)
      : text_(text), path_(path), offset_(offset) {}

  NpyHeader parse() {
    NpyHeader out;
    bool seen_descr = false, seen_order = false, seen_shape = false;
    expect('{');
    while (!accept('}')) {
      const std::string_view key = string();
      expect(':');
      if (key == "descr" && !seen_descr) {
        out.dtype = descr();
        seen_descr = true;
      } else if (key == "fortran_order" && !seen_order) {
        out.by_columns = order();
        seen_order = true;
      } else if (key == "shape" && !seen_shape) {
        out.shape = tuple();
        seen_shape = true;
      } else {
        fail(message("the key '", key, "' is unknown or repeated"));
      }
      if (!accept(',')) {
        expect('}');
        break;
      }
    }
    if (!seen_descr || !seen_order || !seen_shape) fail("descr, fortran_order and shape must all be present");
    // With at most one extent other than 1 the orders are the same.
    out.by_columns = out.by_columns && std::ranges::count_if(out.shape, [](Index n) { return n != 1; }) > 1;
    return out;
  }

 private:
  [[noreturn]] void fail(const std::string& why) const {
    throw IoError(message(path_.string(), ": bad NPY header at byte ", offset_ + static_cast<Index>(at_), ": ", why,
                          "; write the file again with numpy.save"));
  }
  [[noreturn]] void refuse(const std::string& what, std::string_view advice) const {
    throw IoError(message(path_.string(), ": ", what, " (header at byte ", offset_, "); ", advice));
  }
  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t')) ++at_;
  }
  bool accept(char c) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!accept(c)) fail(message("'", c, "' expected"));
  }
  std::string_view string() {
    skip_space();
    if (at_ >= text_.size() || (text_[at_] != '\'' && text_[at_] != '"')) fail("a quoted name expected");
    const char quote = text_[at_++];
    const std::size_t end = text_.find(quote, at_);
    if (end == std::string_view::npos) fail("a quote is not closed");
    const std::string_view out = text_.substr(at_, end - at_);
    at_ = end + 1;
    return out;
  }
  NpyType descr() {
    skip_space();
    if (at_ < text_.size() && text_[at_] == '[')
      refuse("dtype is structured, which is unsupported", "save each field as an array of its own");
    const std::string_view d = string();
    if (d == "<f2") return NpyType::float16;
    if (d == "<f4") return NpyType::float32;
    if (d == "<f8") return NpyType::float64;
    constexpr std::string_view integers[] = {"|i1", "<i2", "<i4", "<i8", "|u1", "<u2", "<u4", "<u8"};
    if (const auto* const at = std::ranges::find(integers, d); at != std::end(integers))
      return static_cast<NpyType>(static_cast<int>(NpyType::int8) + (at - std::begin(integers)));
    if (d.find('O') != std::string_view::npos)
      refuse(message("dtype '", d, "' means pickled Python objects, which are never loaded"),
             "save a plain numeric array: numpy.save(path, array.astype(numpy.float32), allow_pickle=False)");
    if (!d.empty() && d[0] == '>')
      refuse(message("dtype '", d, "' is big endian"), "convert it: array.astype(array.dtype.newbyteorder('<'))");
    refuse(message("dtype '", d, "' is unsupported"), "use a floating-point or integer type");
  }
  bool order() {
    skip_space();
    const bool fortran = text_.substr(at_, 4) == "True";
    if (!fortran && text_.substr(at_, 5) != "False") fail("fortran_order must be True or False");
    at_ += fortran ? 4 : 5;
    return fortran;
  }
  std::vector<Index> tuple() {
    std::vector<Index> out;
    expect('(');
    while (!accept(')')) {
      skip_space();
      Index extent = 0;
      const auto [end, error] = std::from_chars(text_.data() + at_, text_.data() + text_.size(), extent);
      if (error != std::errc()) fail("shape must be whole numbers within 64 bits");
      if (extent < 0) fail(message("shape has the negative extent ", extent));
      at_ = static_cast<std::size_t>(end - text_.data());
      out.push_back(extent);
      if (out.size() > 32) fail("shape has more than 32 dimensions");
      if (!accept(',')) {
        expect(')');
        break;
      }
    }
    return out;
  }

  std::string_view text_;
  const std::filesystem::path& path_;
  Index offset_;
  std::size_t at_ = 0;
};

/// Number of elements of an array of that shape, no extent negative; nothing if it exceeds `limit`.
inline std::optional<Index> element_count(const std::vector<Index>& shape, Index limit) {
  if (std::ranges::find(shape, Index{0}) != shape.end()) return 0;
  Index count = 1;
  for (const Index extent : shape) {
    if (extent > limit / count) return std::nullopt;
    count *= extent;
  }
  return count;
}

/// Fills header.size; throws before anything is allocated if the file does not hold exactly that many bytes.
inline void require_payload(NpyHeader& header, Index file_bytes, const std::filesystem::path& path) {
  const auto size = element_count(header.shape, std::numeric_limits<Index>::max() / item_size(header.dtype));
  header.size = size.value_or(0);
  const Index actual = file_bytes - header.data_offset;
  const Index expected = header.size * item_size(header.dtype);
  if (size && expected == actual) return;
  const std::string claim = size ? std::to_string(expected) : "more than 2^63";
  const bool shorter = !size || actual < expected;
  throw IoError(message(path.string(), shorter ? ": truncated: shape " : ": trailing bytes: shape ",
                        shape_string(header.shape), " of ", to_string(header.dtype), " needs ", claim,
                        " bytes from offset ", header.data_offset, " but the file has ", actual,
                        "; copy or write the file again"));
}

/// Reads `n` bytes at the stream's position or throws IoError naming path, offset, and bytes wanted and found.
inline void read_exactly(std::istream& in, char* out, Index n, Index offset, const std::filesystem::path& path) {
  in.read(out, static_cast<std::streamsize>(n));
  if (in.gcount() != static_cast<std::streamsize>(n))
    throw IoError(message(path.string(), ": truncated: ", n, " bytes expected at offset ", offset, " but ", in.gcount(),
                          " found; copy or write the file again"));
}

inline NpyHeader parse_npy_header(std::istream& in, Index file_bytes, const std::filesystem::path& path) {
  char prefix[12] = {};
  read_exactly(in, prefix, std::min<Index>(file_bytes, 10), 0, path);
  if (std::string_view(prefix, 10) == "version ht") {
    std::string line;
    std::getline(in, line);
    require_no_pointer("version ht" + line, path);
  }
  if (std::memcmp(prefix, "\x93NUMPY", 6) != 0)
    throw IoError(message(path.string(), ": not an NPY file (bad magic at byte 0)",
                          prefix[0] == '\x80' ? "; it looks like a pickle, which is never loaded" : "",
                          "; write it with numpy.save"));
  if (file_bytes < 10)
    throw IoError(message(path.string(), ": truncated: 10 header bytes expected but ", file_bytes, " found"));
  const auto byte = [&](int i) { return static_cast<Index>(static_cast<unsigned char>(prefix[i])); };
  const Index version = byte(6);
  if (version < 1 || version > 3)
    throw IoError(
        message(path.string(), ": NPY version ", version, " at byte 6 is unsupported; only 1, 2 and 3 are supported"));
  Index text_offset = 10;
  Index text_bytes = byte(8) | (byte(9) << 8);
  if (version > 1) {
    read_exactly(in, prefix + 10, 2, 10, path);
    text_offset = 12;
    text_bytes |= (byte(10) << 16) | (byte(11) << 24);
  }
  if (text_bytes > file_bytes - text_offset)
    throw IoError(message(path.string(), ": truncated: the header claims ", text_bytes, " bytes from offset ",
                          text_offset, " but the file has ", file_bytes - text_offset));
  if (text_bytes > (Index{1} << 20))
    throw IoError(message(path.string(), ": a header of ", text_bytes, " bytes is too long for a plain array"));
  std::string text(static_cast<std::size_t>(text_bytes), '\0');
  read_exactly(in, text.data(), text_bytes, text_offset, path);
  NpyHeader header = NpyDict(text, path, text_offset).parse();
  header.data_offset = text_offset + text_bytes;
  require_payload(header, file_bytes, path);
  return header;
}

inline Index npy_file_bytes(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error))
    throw IoError(message(path.string(), ": there is no such file; check the path"));
  const auto bytes = static_cast<Index>(std::filesystem::file_size(path, error));
  if (error) throw_io(path, "cannot be examined", error.value());
  return bytes;
}

/// A float16 as it is stored.
struct StoredHalf {
  std::uint16_t bits;
};

/// Calls f with a value of the C++ type that stores `dtype`.
template <class F>
decltype(auto) visit_npy_type(NpyType dtype, F&& f) {
  switch (dtype) {
    case NpyType::float16:
      return f(StoredHalf{});
    case NpyType::float32:
      return f(float{});
    case NpyType::float64:
      return f(double{});
    case NpyType::int8:
      return f(std::int8_t{});
    case NpyType::int16:
      return f(std::int16_t{});
    case NpyType::int32:
      return f(std::int32_t{});
    case NpyType::uint8:
      return f(std::uint8_t{});
    case NpyType::uint16:
      return f(std::uint16_t{});
    case NpyType::uint32:
      return f(std::uint32_t{});
    case NpyType::uint64:
      return f(std::uint64_t{});
    default:
      return f(std::int64_t{});
  }
}

/// One stored element at a possibly unaligned address as a T.
template <class T, class Stored>
T load_npy(const char* p) {
  Stored stored;
  std::memcpy(&stored, p, sizeof stored);
  if constexpr (std::same_as<Stored, StoredHalf>)
    return static_cast<T>(half_to_float(stored.bits));
  else
    return static_cast<T>(stored);
}

template <class T>
concept NpyElement =
    std::same_as<T, float> || std::same_as<T, double> || std::same_as<T, std::int32_t> || std::same_as<T, std::int64_t>;

/// Reorders values from Fortran order, first index fastest, to C order, last index fastest.
template <class T>
std::vector<T> in_c_order(const std::vector<T>& values, const std::vector<Index>& shape) {
  std::vector<T> out(values.size());
  std::vector<Index> at(shape.size(), 0);
  for (const T& value : values) {
    Index place = 0;
    for (std::size_t d = 0; d < shape.size(); ++d) place = place * shape[d] + at[d];
    out[static_cast<std::size_t>(place)] = value;
    for (std::size_t d = 0; d < shape.size() && ++at[d] == shape[d]; ++d) at[d] = 0;
  }
  return out;
}

}  // namespace detail

/// Reads and checks the header, not the data. Throws IoError for a file that is missing, not NPY, truncated, pickled,
/// big endian or of another type, naming path, offset and value.
inline NpyHeader read_npy_header(const std::filesystem::path& path) {
  const Index bytes = detail::npy_file_bytes(path);
  std::ifstream in(path, std::ios::binary);
  if (!in) detail::throw_io(path, "cannot be opened for reading", errno);
  return detail::parse_npy_header(in, bytes, path);
}

/// An array in memory, C order.
template <class T>
struct NpyArray {
  std::vector<Index> shape;
  std::vector<T> values;
};

/// Reads a whole array, T = float, double, int32 or int64, converting float to float and integer to integer; Fortran
/// order becomes C order. Throws what read_npy_header throws; DataError for integers if T is floating or the reverse,
/// and for an integer that T cannot hold (path, position in the file and value).
template <detail::NpyElement T>
NpyArray<T> read_npy(const std::filesystem::path& path) {
  const Index bytes = detail::npy_file_bytes(path);
  std::ifstream in(path, std::ios::binary);
  if (!in) detail::throw_io(path, "cannot be opened for reading", errno);
  const NpyHeader header = detail::parse_npy_header(in, bytes, path);
  if (is_floating(header.dtype) != std::floating_point<T>)
    throw DataError(detail::message(path.string(), ": dtype is ", to_string(header.dtype), " but ",
                                    std::floating_point<T> ? "floating-point numbers" : "integers",
                                    " are needed; convert it with array.astype(numpy.",
                                    std::floating_point<T> ? "float32)" : "int64)"));
  NpyArray<T> out{header.shape, std::vector<T>(static_cast<std::size_t>(header.size))};
  constexpr Index chunk = 1 << 14;
  const Index width = item_size(header.dtype);
  std::vector<char> raw(static_cast<std::size_t>(std::min(chunk, header.size) * width));
  for (Index begin = 0; begin < header.size; begin += chunk) {
    const Index n = std::min(chunk, header.size - begin);
    detail::read_exactly(in, raw.data(), n * width, header.data_offset + begin * width, path);
    detail::visit_npy_type(header.dtype, [&](auto stored) {
      using Stored = decltype(stored);
      for (Index i = 0; i < n; ++i) {
        if constexpr (std::integral<Stored> && std::integral<T>) {
          const auto value = detail::load_npy<Stored, Stored>(raw.data() + i * width);
          if (!std::in_range<T>(value))
            throw DataError(detail::message(path.string(), ": value ", +value, " at position ", begin + i,
                                            " does not fit in ", 8 * sizeof(T), " bits"));
        }
        out.values[static_cast<std::size_t>(begin + i)] = detail::load_npy<T, Stored>(raw.data() + i * width);
      }
    });
  }
  if (header.by_columns) out.values = detail::in_c_order(out.values, out.shape);
  return out;
}

namespace detail {

/// What comes before the elements of an array of that shape in a version 1 file.
template <NpyElement T>
std::string npy_prefix(const std::vector<Index>& shape) {
  std::string text = message("{'descr': '<", std::floating_point<T> ? 'f' : 'i', sizeof(T),
                             "', 'fortran_order': False, 'shape': ", shape_string(shape), ", }");
  text.append((64 - (10 + text.size() + 1) % 64) % 64, ' ');
  text += '\n';
  const std::string magic = {'\x93', 'N', 'U', 'M', 'P', 'Y', 1, 0};
  return magic + static_cast<char>(text.size() & 0xFF) + static_cast<char>(text.size() >> 8) + text;
}

}  // namespace detail

/// Writes a version 1 file whole or not at all (io/atomic_file.hpp). Throws ShapeError unless the shape holds exactly
/// `values`, IoError if the file cannot be written; an existing file is then unchanged.
template <detail::NpyElement T>
void write_npy(const std::filesystem::path& path, std::span<const T> values, const std::vector<Index>& shape) {
  const bool negative = std::ranges::any_of(shape, [](Index extent) { return extent < 0; });
  const auto size = negative ? std::nullopt : detail::element_count(shape, std::numeric_limits<Index>::max());
  if (!size) throw ShapeError(detail::message("write_npy: shape ", shape_string(shape), " is impossible"));
  if (*size != static_cast<Index>(values.size()))
    throw ShapeError(detail::message("write_npy: shape ", shape_string(shape), " holds ", *size, " values but ",
                                     values.size(), " were given"));
  write_file_atomically(path, [&](std::ostream& out) {
    out << detail::npy_prefix<T>(shape);
    out.write(reinterpret_cast<const char*>(values.data()), static_cast<std::streamsize>(values.size_bytes()));
  });
}
template <detail::NpyElement T>
void write_npy(const std::filesystem::path& path, const std::vector<T>& values, const std::vector<Index>& shape) {
  write_npy(path, std::span<const T>(values), shape);
}

}  // namespace rearm::REARM_ABI
