// Safetensors files: header and tensors.
#include "fuzz.hpp"

#include <rearm/io/safetensors.hpp>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <string>
#include <type_traits>
#include <vector>

namespace rearm::fuzz::safetensors {
namespace {

/// A tensor's elements as it stores them.
std::string elements(SafetensorsFile& file, const TensorInfo& tensor) {
  std::string out(static_cast<std::size_t>(tensor.bytes), '\0');
  const auto read = [&](auto number) {
    using T = decltype(number);
    const bool matrix = tensor.shape.size() == 2;
    Matrix<T> values(matrix ? tensor.shape[0] : 1,
                     matrix ? tensor.shape[1] : static_cast<Index>(tensor.bytes / sizeof(T)));
    file.read(tensor.name, values.view());
    if (!values.empty()) std::memcpy(out.data(), values.data(), out.size());
    // The other type of its kind: every element fits, or the tensor is refused.
    if constexpr (!std::is_same_v<T, BFloat16> && !std::is_same_v<T, std::uint8_t>) {
      using Float = std::conditional_t<std::is_same_v<T, float>, double, float>;
      using Integer = std::conditional_t<std::is_same_v<T, std::int32_t>, std::int64_t, std::int32_t>;
      Matrix<std::conditional_t<std::is_floating_point_v<T>, Float, Integer>> converted(values.rows(), values.cols());
      accepts([&] { file.read(tensor.name, converted.view()); });
    }
  };
  if (tensor.type == TensorType::f32) read(float{});
  if (tensor.type == TensorType::f64) read(double{});
  if (tensor.type == TensorType::i32) read(std::int32_t{});
  if (tensor.type == TensorType::i64) read(std::int64_t{});
  if (tensor.type == TensorType::bf16) read(BFloat16{});
  if (tensor.type == TensorType::u8) read(std::uint8_t{});
  return out;
}

}  // namespace

void check(const std::string& bytes) {
  folder().write("in.safetensors", bytes);
  SafetensorsFile file(folder() / "in.safetensors");
  std::vector<std::string> data;
  std::vector<TensorView> views;
  std::uint64_t total = 0;
  for (const TensorInfo& tensor : file.tensors()) {
    if (tensor.shape.size() > 2) return;  // `read` is for matrices
    total += tensor.bytes;
    require(tensor.offset + tensor.bytes <= bytes.size(), "a tensor lies in its file");
    data.push_back(elements(file, tensor));
  }
  require(total <= bytes.size(), "tensors do not overlap");
  for (std::size_t i = 0; i < data.size(); ++i) {
    const TensorInfo& tensor = file.tensors()[i];
    views.push_back({tensor.name, tensor.type, tensor.shape, data[i].data()});
  }
  must([&] {
    const std::filesystem::path copy = folder() / "copy.safetensors";
    write_safetensors(copy, views, file.metadata());
    SafetensorsFile again(copy);
    require(again.metadata() == file.metadata() && again.tensors().size() == views.size(),
            "metadata and tensors are read as they were written");
    for (std::size_t i = 0; i < views.size(); ++i) {
      const TensorInfo& tensor = again.info(views[i].name);
      require(tensor.type == views[i].type && tensor.shape == views[i].shape && elements(again, tensor) == data[i],
              "a tensor is read as it was written");
    }
  });
}

}  // namespace rearm::fuzz::safetensors
