#pragma once
/// @file content_hash.hpp
/// A digest that identifies content.

#include <rearm/core/macros.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

namespace rearm::REARM_ABI {

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
  /// The bytes of one value.
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
  /// As 32 hexadecimal digits.
  static std::string text(const Digest& digest) {
    char out[33];
    std::snprintf(out, sizeof out, "%016llx%016llx", static_cast<unsigned long long>(digest[0]),
                  static_cast<unsigned long long>(digest[1]));
    return out;
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

}  // namespace rearm::REARM_ABI
