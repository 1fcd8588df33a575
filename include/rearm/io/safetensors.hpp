#pragma once
/// @file safetensors.hpp
/// Named arrays in the safetensors format: 8 bytes little-endian header length, a JSON header, the data.
/// Format: https://github.com/huggingface/safetensors. Element types: F32, F64, I32, I64, BF16, U8. Files that we write
/// have checksums in their metadata: of each tensor, and of the header, so that no bit of a file can change unnoticed.

#include <rearm/core/bfloat16.hpp>
#include <rearm/core/error.hpp>
#include <rearm/core/matrix.hpp>
#include <rearm/io/atomic_file.hpp>
#include <rearm/io/content_hash.hpp>
#include <rearm/io/json.hpp>

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace rearm::REARM_ABI {

static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian");

/// Element type of a stored tensor.
enum class TensorType { f32, f64, i32, i64, bf16, u8 };

/// Text to text, stored beside the tensors.
using TensorMetadata = std::map<std::string, std::string>;

/// The name of a type in the file: "F32", "F64", "I32", "I64", "BF16", "U8".
constexpr std::string_view to_string(TensorType type) {
  constexpr std::array<std::string_view, 6> names = {"F32", "F64", "I32", "I64", "BF16", "U8"};
  return names[static_cast<std::size_t>(type)];
}
constexpr std::uint64_t element_size(TensorType type) {
  if (type == TensorType::u8) return 1;
  return type == TensorType::bf16 ? 2 : type == TensorType::f32 || type == TensorType::i32 ? 4 : 8;
}
/// The type in which T is stored.
template <class T>
constexpr TensorType tensor_type() {
  static_assert(std::is_same_v<T, float> || std::is_same_v<T, double> || std::is_same_v<T, std::int32_t> ||
                    std::is_same_v<T, std::int64_t> || std::is_same_v<T, BFloat16> || std::is_same_v<T, std::uint8_t>,
                "safetensors stores float, double, int32, int64, BFloat16 and uint8");
  if constexpr (std::is_same_v<T, float>) return TensorType::f32;
  if constexpr (std::is_same_v<T, double>) return TensorType::f64;
  if constexpr (std::is_same_v<T, std::int32_t>) return TensorType::i32;
  if constexpr (std::is_same_v<T, BFloat16>) return TensorType::bf16;
  if constexpr (std::is_same_v<T, std::uint8_t>) return TensorType::u8;
  return TensorType::i64;
}

/// A tensor to be written: row-major data that the caller keeps alive.
struct TensorView {
  std::string name;
  TensorType type = TensorType::f32;
  std::vector<Index> shape;
  const void* data = nullptr;
  /// piece(offset, bytes), in place of `data`, gives the address of such a part of the data, valid until the next call:
  /// of a tensor that is nowhere as a whole. Asked for all parts in their order, twice.
  std::function<const void*(std::uint64_t, std::uint64_t)> piece = nullptr;
};

/// A matrix as a tensor to be written, without a copy. Throws ShapeError unless its rows are contiguous.
template <class T>
TensorView tensor_view(std::string name, MatrixView<T> m) {
  if (!m.contiguous())
    throw ShapeError(detail::message("tensor '", name, "': rows of ", m.cols, " elements are ", m.stride,
                                     " apart; copy it into a matrix of its own"));
  return {std::move(name), tensor_type<std::remove_const_t<T>>(), {m.rows, m.cols}, m.data};
}

/// A tensor in a file.
struct TensorInfo {
  std::string name;
  TensorType type = TensorType::f32;
  std::vector<Index> shape;
  std::uint64_t offset = 0;  ///< of its first byte in the file
  std::uint64_t bytes = 0;
  std::string checksum;  ///< of its data, empty if the file has none
};

namespace detail {

/// Longer headers are refused, as by the format's own reader.
inline constexpr std::uint64_t max_safetensors_header = 100'000'000;

/// Bytes of a tensor; false if an extent is negative or they exceed 63 bits.
inline bool tensor_bytes(TensorType type, const std::vector<Index>& shape, std::uint64_t& bytes) {
  bytes = element_size(type);
  if (std::ranges::any_of(shape, [](Index n) { return n < 0; })) return false;
  if (std::ranges::find(shape, Index{0}) != shape.end()) {
    bytes = 0;
    return true;
  }
  constexpr auto limit = static_cast<std::uint64_t>(std::numeric_limits<Index>::max());
  for (const Index n : shape) {
    if (bytes > limit / static_cast<std::uint64_t>(n)) return false;
    bytes *= static_cast<std::uint64_t>(n);
  }
  return true;
}

/// Metadata key for the digest of the header itself, in which these digits count as zeros; followed by a dot and the
/// name of a tensor, for that of the tensor's data.
inline constexpr std::string_view checksum_key = "checksum";
inline constexpr std::size_t checksum_digits = 32;

/// Where in a header's text the digits of its own digest begin; npos if it has none. No string in the JSON looks like
/// that, since its quotation marks would be escaped.
inline std::size_t find_header_checksum(std::string_view text) {
  const std::size_t at = text.find(message('"', checksum_key, "\":\""));
  const std::size_t begin = at + checksum_key.size() + 4;
  return at == std::string_view::npos || begin + checksum_digits > text.size() ? std::string_view::npos : begin;
}
inline std::string header_checksum(std::string text) {
  text.replace(find_header_checksum(text), checksum_digits, checksum_digits, '0');
  ContentHash hash;
  hash.add(text);
  return ContentHash::text(hash.digest());
}

/// Data are hashed piece by piece, so that a file can be checked without being held in memory.
inline constexpr std::uint64_t checksum_piece = std::uint64_t{1} << 20;
/// piece(offset, bytes) gives the address of that part of `bytes` bytes.
template <class F>
std::string data_checksum(std::uint64_t bytes, const F& piece) {
  ContentHash hash;
  for (std::uint64_t at = 0; at < bytes; at += checksum_piece) {
    const std::uint64_t n = std::min(checksum_piece, bytes - at);
    hash.add_bytes(piece(at, n), static_cast<std::size_t>(n));
  }
  return ContentHash::text(hash.digest());
}

/// Converts value to To; false if it does not fit (an integer out of range, a finite double beyond float).
template <class To, class From>
bool convert_element(From value, To& out) {
  if constexpr (sizeof(To) < sizeof(From)) {
    constexpr auto max = static_cast<From>(std::numeric_limits<To>::max());
    if constexpr (std::is_floating_point_v<From>) {
      if (std::isfinite(value) && std::abs(value) > max) return false;
    } else if (value > max || value < static_cast<From>(std::numeric_limits<To>::min())) {
      return false;
    }
  }
  out = static_cast<To>(value);
  return true;
}

}  // namespace detail

namespace detail {

/// Tensors in the order of their data, by element size, then as given.
inline std::vector<const TensorView*> file_order(std::span<const TensorView> tensors) {
  std::vector<const TensorView*> order;
  for (const TensorView& tensor : tensors) order.push_back(&tensor);
  std::ranges::stable_sort(order, std::ranges::greater{}, [](const TensorView* t) { return element_size(t->type); });
  return order;
}
/// f(address, bytes) for all parts of a tensor of that many bytes.
template <class F>
void for_each_piece(const TensorView& tensor, std::uint64_t bytes, const F& f) {
  const std::uint64_t most = tensor.piece ? checksum_piece : std::max<std::uint64_t>(bytes, 1);
  for (std::uint64_t at = 0; at < bytes; at += most) {
    const std::uint64_t n = std::min(most, bytes - at);
    f(tensor.piece ? tensor.piece(at, n) : tensor.data, n);
  }
}

}  // namespace detail

/// Asks for all pieces as `write_safetensors` does: by ranks that give theirs to one that writes.
inline void give_pieces(std::span<const TensorView> tensors) {
  for (int pass = 0; pass < 2; ++pass)
    for (const TensorView* tensor : detail::file_order(tensors)) {
      std::uint64_t bytes = 0;
      if (tensor->piece && detail::tensor_bytes(tensor->type, tensor->shape, bytes))
        detail::for_each_piece(*tensor, bytes, [](const void*, std::uint64_t) {});
    }
}

/// Writes `tensors` and `metadata` to `path` atomically (io/atomic_file.hpp), streaming from the views. Tensors are
/// ordered by element size, then as given, so that each is aligned. Reads all data twice, first for the checksums.
/// Throws ShapeError for an impossible shape, DataError for a name that is repeated, empty or reserved, or text that is
/// not UTF-8, IoError if the file cannot be written; whatever was at `path` is then unchanged.
inline void write_safetensors(const std::filesystem::path& path, std::span<const TensorView> tensors,
                              const TensorMetadata& metadata = {}) {
  const std::vector<const TensorView*> order = detail::file_order(tensors);
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  nlohmann::ordered_json& checked = header["__metadata__"] = metadata;
  for (const auto& [key, value] : metadata)
    if (key.starts_with(detail::checksum_key))
      throw DataError(detail::message(path.string(), ": the key '", key, "' of the metadata is reserved"));
  checked[std::string(detail::checksum_key)] = std::string(detail::checksum_digits, '0');
  std::map<std::string, std::uint64_t> sizes;
  std::uint64_t end = 0;
  for (const TensorView* tensor : order) {
    std::uint64_t bytes = 0;
    if (!detail::tensor_bytes(tensor->type, tensor->shape, bytes))
      throw ShapeError(detail::message(path.string(), ": the shape of tensor '", tensor->name, "' is impossible"));
    if (tensor->name.empty() || tensor->name == "__metadata__" || !sizes.emplace(tensor->name, bytes).second)
      throw DataError(
          detail::message(path.string(), ": tensor name '", tensor->name, "' is empty, reserved or repeated"));
    const auto* const data = static_cast<const std::byte*>(tensor->data);
    header["__metadata__"][detail::message(detail::checksum_key, '.', tensor->name)] = detail::data_checksum(
        bytes, [&](std::uint64_t at, std::uint64_t n) { return tensor->piece ? tensor->piece(at, n) : data + at; });
    auto entry = nlohmann::ordered_json::object();  // built first: one that fails half-way cannot be destroyed
    entry["dtype"] = to_string(tensor->type);
    entry["shape"] = tensor->shape;
    entry["data_offsets"] = std::vector<std::uint64_t>{end, end + bytes};
    header[tensor->name] = std::move(entry);
    end += bytes;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception& e) {
    throw DataError(detail::message(path.string(), ": names and metadata must be UTF-8: ", e.what()));
  }
  text.resize((text.size() + 7) / 8 * 8, ' ');
  text.replace(detail::find_header_checksum(text), detail::checksum_digits, detail::header_checksum(text));
  if (text.size() > detail::max_safetensors_header)
    throw DataError(detail::message(path.string(), ": a header of ", text.size(), " bytes is more than the format's ",
                                    detail::max_safetensors_header, "; keep the metadata small"));
  write_file_atomically(path, [&](std::ostream& out) {
    const std::uint64_t length = text.size();
    out.write(reinterpret_cast<const char*>(&length), sizeof length);
    out.write(text.data(), static_cast<std::streamsize>(text.size()));
    for (const TensorView* tensor : order)
      detail::for_each_piece(*tensor, sizes.at(tensor->name), [&](const void* data, std::uint64_t n) {
        out.write(static_cast<const char*>(data), static_cast<std::streamsize>(n));
      });
  });
}

/// A safetensors file open for reading. The header is checked against its checksum, if it has one, and the file's size
/// before anything is trusted: its length, types, shapes, and that the tensors cover the data without gap or overlap.
/// Not thread-safe.
class SafetensorsFile {
 public:
  /// Throws IoError if the file cannot be read or is too short, DataError if its header is wrong.
  explicit SafetensorsFile(const std::filesystem::path& path) : path_(path) {
    std::error_code error;
    const std::uint64_t size = std::filesystem::file_size(path, error);
    if (error) throw IoError(detail::message(path.string(), ": cannot be opened: ", error.message()));
    in_.open(path, std::ios::binary);
    if (!in_) throw IoError(detail::message(path.string(), ": cannot be opened for reading"));
    std::uint64_t length = 0;
    if (size < sizeof length)
      throw IoError(detail::message(path.string(), ": ", size, " bytes are too few for a safetensors file"));
    read_bytes(0, &length, sizeof length);
    if (length > detail::max_safetensors_header || length > size - sizeof length)
      throw IoError(detail::message(path.string(), ": the header claims ", length, " bytes at offset 8 of a file of ",
                                    size, " bytes; it is truncated or not a safetensors file"));
    std::string text(static_cast<std::size_t>(length), '\0');
    read_bytes(sizeof length, text.data(), length);
    parse(text, size);
  }

  const std::filesystem::path& path() const noexcept { return path_; }
  /// Without the checksums.
  const TensorMetadata& metadata() const noexcept { return metadata_; }
  /// Files of other programs, and of our earlier versions, have none.
  bool has_checksums() const noexcept { return has_checksums_; }
  /// Reads all tensors that have a checksum and throws DataError naming the first whose data do not match. `read` does
  /// not verify checksums.
  void require_whole() {
    std::vector<char> buffer;
    for (const TensorInfo& tensor : tensors_) {
      if (tensor.checksum.empty()) continue;
      buffer.resize(
          static_cast<std::size_t>(std::min(std::max<std::uint64_t>(tensor.bytes, 1), detail::checksum_piece)));
      const std::string found = detail::data_checksum(tensor.bytes, [&](std::uint64_t at, std::uint64_t n) {
        read_bytes(tensor.offset + at, buffer.data(), n);
        return buffer.data();
      });
      if (found != tensor.checksum)
        throw DataError(detail::message(path_.string(), ": tensor '", tensor.name, "' at offset ", tensor.offset,
                                        " is not what was written (its checksum differs); the file is damaged"));
    }
  }
  /// In the order of their data.
  const std::vector<TensorInfo>& tensors() const noexcept { return tensors_; }
  bool contains(std::string_view name) const noexcept {
    return std::ranges::find(tensors_, name, &TensorInfo::name) != tensors_.end();
  }
  /// Throws DataError if there is no such tensor.
  const TensorInfo& info(std::string_view name) const {
    const auto found = std::ranges::find(tensors_, name, &TensorInfo::name);
    if (found == tensors_.end()) throw DataError(detail::message(path_.string(), ": has no tensor '", name, "'"));
    return *found;
  }

  /// Rows [first, first + out.rows) of a tensor of two dimensions, else as `read`.
  template <class T>
  void read_rows(std::string_view name, Index first, MatrixView<T> out) {
    TensorInfo part = info(name);
    if (part.shape.size() != 2 || part.shape[1] != out.cols || first < 0 || first > part.shape[0] - out.rows)
      throw ShapeError(detail::message(path_.string(), ": tensor '", name, "' is ", nlohmann::json(part.shape).dump(),
                                       " and has no rows from ", first, " like ", shape_string(out)));
    const std::uint64_t row = static_cast<std::uint64_t>(out.cols) * element_size(part.type);
    part.offset += static_cast<std::uint64_t>(first) * row;
    part.bytes = static_cast<std::uint64_t>(out.rows) * row;
    part.shape[0] = out.rows;
    read_tensor(part, out);
  }
  /// Fills `out` with a tensor of out's shape (one of n elements also fits 1 x n and n x 1), converting float <->
  /// double and int32 <-> int64; bfloat16 and uint8 as they are. Throws ShapeError, DataError (no such tensor, another
  /// kind of element, a value that does not fit) or IoError.
  template <class T>
  void read(std::string_view name, MatrixView<T> out) {
    read_tensor(info(name), out);
  }

 private:
  template <class T>
  void read_tensor(const TensorInfo& tensor, MatrixView<T> out) {
    const std::string& name = tensor.name;
    const bool same = tensor.shape.size() == 2
                          ? tensor.shape[0] == out.rows && tensor.shape[1] == out.cols
                          : tensor.shape.size() < 2 && (out.rows == 1 || out.cols == 1) &&
                                tensor.bytes / element_size(tensor.type) == static_cast<std::uint64_t>(out.size());
    if (!same)
      throw ShapeError(detail::message(path_.string(), ": tensor '", name, "' is ", nlohmann::json(tensor.shape).dump(),
                                       " but ", shape_string(out), " was expected"));
    if constexpr (std::is_same_v<T, BFloat16>) {
      if (tensor.type == TensorType::bf16) return read_as<BFloat16>(tensor, out);
    } else if constexpr (std::is_same_v<T, std::uint8_t>) {
      if (tensor.type == TensorType::u8) return read_as<std::uint8_t>(tensor, out);
    } else if constexpr (std::is_floating_point_v<T>) {
      if (tensor.type == TensorType::f32) return read_as<float>(tensor, out);
      if (tensor.type == TensorType::f64) return read_as<double>(tensor, out);
    } else {
      static_assert(std::is_same_v<T, std::int32_t> || std::is_same_v<T, std::int64_t>);
      if (tensor.type == TensorType::i32) return read_as<std::int32_t>(tensor, out);
      if (tensor.type == TensorType::i64) return read_as<std::int64_t>(tensor, out);
    }
    throw DataError(detail::message(path_.string(), ": tensor '", name, "' is ", to_string(tensor.type), " but ",
                                    to_string(tensor_type<T>()), " was expected"));
  }
  [[noreturn]] void fail(std::string_view name, std::string_view what) const {
    throw DataError(detail::message(path_.string(), ": header at offset 8: tensor '", name, "' ", what));
  }

  void read_bytes(std::uint64_t offset, void* data, std::uint64_t n) {
    in_.clear();
    in_.seekg(static_cast<std::streamoff>(offset));
    in_.read(static_cast<char*>(data), static_cast<std::streamsize>(n));
    if (!in_)
      throw IoError(detail::message(path_.string(), ": cannot read ", n, " bytes at offset ", offset,
                                    "; the file is truncated or the disk is failing"));
  }

  void parse(const std::string& text, std::uint64_t file_size) {
    if (const std::size_t at = detail::find_header_checksum(text); at != std::string::npos) {
      if (text.compare(at, detail::checksum_digits, detail::header_checksum(text)) != 0)
        throw DataError(detail::message(path_.string(),
                                        ": the header at offset 8 is not what was written (its checksum differs); "
                                        "the file is damaged"));
      has_checksums_ = true;
    }
    const auto header =
        parse_json_object(text, path_.string() + ": not a safetensors file, or damaged: the header at offset 8");
    const std::uint64_t data_begin = sizeof(std::uint64_t) + text.size();
    const std::uint64_t data_bytes = file_size - data_begin;
    for (const auto& [name, entry] : header.items()) {
      if (!entry.is_object()) fail(name, "is not described by an object");
      if (name == "__metadata__") {
        for (const auto& [key, value] : entry.items()) {
          if (!value.is_string()) fail(name, "holds a value that is not text");
          metadata_[key] = value.template get<std::string>();
        }
      } else {
        tensors_.push_back(parse_tensor(name, entry, data_begin, data_bytes));
      }
    }
    for (TensorInfo& tensor : tensors_)
      if (const auto found = metadata_.find(detail::message(detail::checksum_key, '.', tensor.name));
          found != metadata_.end())
        tensor.checksum = found->second;
    std::erase_if(metadata_, [](const auto& entry) { return entry.first.starts_with(detail::checksum_key); });
    // Empty tensors share their offset with the next one.
    std::ranges::sort(tensors_, {}, [](const TensorInfo& t) { return std::pair(t.offset, t.bytes); });
    std::uint64_t expected = data_begin;
    for (const TensorInfo& tensor : tensors_) {
      if (tensor.offset != expected)
        fail(tensor.name,
             detail::message("starts at offset ", tensor.offset, ", not at ", expected, " where the one before ends"));
      expected += tensor.bytes;
    }
    if (expected != file_size)
      throw IoError(detail::message(path_.string(), ": the tensors end at offset ", expected, " but the file has ",
                                    file_size, " bytes; it is truncated or damaged"));
  }

  TensorInfo parse_tensor(const std::string& name, const nlohmann::json& entry, std::uint64_t data_begin,
                          std::uint64_t data_bytes) const {
    const auto field = [&](const char* key) -> const nlohmann::json& {
      const auto found = entry.find(key);
      if (found == entry.end()) fail(name, detail::message("has no ", key));
      return *found;
    };
    TensorInfo tensor;
    tensor.name = name;
    const nlohmann::json& dtype = field("dtype");
    if (!dtype.is_string()) fail(name, "has a dtype that is not text");
    bool known = false;
    for (const TensorType type :
         {TensorType::f32, TensorType::f64, TensorType::i32, TensorType::i64, TensorType::bf16, TensorType::u8})
      if (dtype.get_ref<const std::string&>() == to_string(type)) {
        tensor.type = type;
        known = true;
      }
    if (!known)
      fail(name, detail::message("has dtype ", dtype.get_ref<const std::string&>(),
                                 "; known are F32, F64, I32, I64, BF16 and U8"));
    const nlohmann::json& shape = field("shape");
    if (!shape.is_array()) fail(name, "has a shape that is not a list");
    for (const nlohmann::json& n : shape) {
      if (!n.is_number_unsigned() || n.get<std::uint64_t>() > std::numeric_limits<Index>::max())
        fail(name, "has a shape with an entry that is not a count");
      tensor.shape.push_back(n.get<Index>());
    }
    const nlohmann::json& offsets = field("data_offsets");
    if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
        !offsets[1].is_number_unsigned())
      fail(name, "has data_offsets that are not two counts");
    const auto begin = offsets[0].get<std::uint64_t>();
    const auto end = offsets[1].get<std::uint64_t>();
    if (begin > end || end > data_bytes)
      fail(name, detail::message("claims bytes ", begin, " to ", end, " of ", data_bytes,
                                 " bytes of data; the file is truncated or damaged"));
    if (!detail::tensor_bytes(tensor.type, tensor.shape, tensor.bytes) || tensor.bytes != end - begin)
      fail(name, detail::message("has ", end - begin, " bytes, which its shape and dtype contradict"));
    tensor.offset = data_begin + begin;
    return tensor;
  }

  template <class From, class T>
  void read_as(const TensorInfo& tensor, MatrixView<T> out) {
    if constexpr (std::is_same_v<From, T>) {
      const std::uint64_t row_bytes = static_cast<std::uint64_t>(out.cols) * sizeof(T);
      if (out.contiguous()) {
        if (tensor.bytes > 0) read_bytes(tensor.offset, out.data, tensor.bytes);
      } else {
        for (Index i = 0; i < out.rows; ++i)
          read_bytes(tensor.offset + static_cast<std::uint64_t>(i) * row_bytes, out.row(i), row_bytes);
      }
    } else {
      convert_as<From>(tensor, out);
    }
  }
  template <class From, class T>
  void convert_as(const TensorInfo& tensor, MatrixView<T> out) {
    std::vector<From> chunk(static_cast<std::size_t>(std::min<Index>(out.size(), 16384)));
    for (Index begin = 0; begin < out.size(); begin += static_cast<Index>(chunk.size())) {
      const Index n = std::min(static_cast<Index>(chunk.size()), out.size() - begin);
      const std::uint64_t offset = tensor.offset + static_cast<std::uint64_t>(begin) * sizeof(From);
      read_bytes(offset, chunk.data(), static_cast<std::uint64_t>(n) * sizeof(From));
      for (Index j = 0; j < n; ++j)
        if (!detail::convert_element(chunk[static_cast<std::size_t>(j)],
                                     out((begin + j) / out.cols, (begin + j) % out.cols)))
          throw DataError(detail::message(path_.string(), ": offset ",
                                          offset + static_cast<std::uint64_t>(j) * sizeof(From), ": ",
                                          chunk[static_cast<std::size_t>(j)], " in tensor '", tensor.name,
                                          "' does not fit ", to_string(tensor_type<T>())));
    }
  }

  std::filesystem::path path_;
  std::ifstream in_;
  TensorMetadata metadata_;
  bool has_checksums_ = false;
  std::vector<TensorInfo> tensors_;
};

}  // namespace rearm::REARM_ABI
