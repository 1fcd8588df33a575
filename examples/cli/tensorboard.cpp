#include "tensorboard.hpp"

#include <rearm/io/atomic_file.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <ostream>

namespace rearm::cli {
namespace {

constexpr std::array<std::uint32_t, 256> crc_table = [] {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t rest = byte;
    for (int bit = 0; bit < 8; ++bit) rest = (rest >> 1) ^ ((rest & 1U) != 0 ? 0x82F63B78U : 0U);
    table[byte] = rest;
  }
  return table;
}();

/// The `n` low bytes of a number, lowest first.
void put_bytes(std::string& out, std::uint64_t value, int n) {
  for (int i = 0; i < n; ++i) out += static_cast<char>(value >> (8 * i) & 0xFF);
}
void put_varint(std::string& out, std::uint64_t value) {
  for (; value >= 0x80; value >>= 7) out += static_cast<char>((value & 0x7F) | 0x80);
  out += static_cast<char>(value);
}
/// A field's key: its number and how it is stored (0 varint, 1 eight bytes, 2 a length and bytes, 5 four bytes).
void put_key(std::string& out, std::uint64_t field, std::uint64_t kind) { put_varint(out, field << 3 | kind); }
void put_text(std::string& out, std::uint64_t field, std::string_view text) {
  put_key(out, field, 2);
  put_varint(out, text.size());
  out += text;
}
void put_double(std::string& out, std::uint64_t field, double value) {
  put_key(out, field, 1);
  put_bytes(out, std::bit_cast<std::uint64_t>(value), 8);
}

void put_record(std::ostream& out, const std::string& event) {
  const auto masked = [](std::string_view bytes) {
    const std::uint32_t crc = crc32c(bytes);
    return ((crc >> 15) | (crc << 17)) + 0xA282EAD8U;
  };
  std::string head, tail;
  put_bytes(head, event.size(), 8);
  put_bytes(tail, masked(event), 4);
  std::string head_crc;
  put_bytes(head_crc, masked(head), 4);
  out << head << head_crc << event << tail;
}

}  // namespace

std::uint32_t crc32c(std::string_view bytes) {
  std::uint32_t crc = 0xFFFFFFFFU;
  for (const char c : bytes) crc = (crc >> 8) ^ crc_table[(crc ^ static_cast<unsigned char>(c)) & 0xFFU];
  return ~crc;
}

void write_events(const std::filesystem::path& path, const std::vector<Scalar>& scalars) {
  write_file_atomically(path, [&](std::ostream& out) {
    std::string first;
    put_double(first, 1, scalars.empty() ? 0 : scalars.front().seconds);  // Event.wall_time
    put_text(first, 3, "brain.Event:2");                                  // Event.file_version
    put_record(out, first);
    for (const Scalar& s : scalars) {
      std::string value, summary, event;
      put_text(value, 1, s.tag);  // Value.tag
      put_key(value, 2, 5);       // Value.simple_value
      put_bytes(value, std::bit_cast<std::uint32_t>(static_cast<float>(s.value)), 4);
      put_text(summary, 1, value);  // Summary.value
      put_double(event, 1, s.seconds);
      put_key(event, 2, 0);  // Event.step
      put_varint(event, static_cast<std::uint64_t>(s.step));
      put_text(event, 5, summary);  // Event.summary
      put_record(out, event);
    }
  });
}

}  // namespace rearm::cli
