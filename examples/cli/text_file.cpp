#include "text_file.hpp"

#include <rearm/io/atomic_file.hpp>

#if defined(REARM_ZLIB)
#include <zlib.h>
#endif

#include <cerrno>
#include <fstream>
#include <streambuf>
#include <string>
#include <utility>
#include <vector>

namespace rearm::cli {
namespace {

#if defined(REARM_ZLIB)
class GzipBuffer final : public std::streambuf {
 public:
  explicit GzipBuffer(std::filesystem::path path)
      : path_(std::move(path)), file_(::gzopen(path_.c_str(), "rb")), block_(1 << 16) {
    if (file_ == nullptr) rearm::detail::throw_io(path_, "cannot be opened for reading", errno);
    ::gzbuffer(file_, 1 << 17);
  }
  GzipBuffer(const GzipBuffer&) = delete;
  GzipBuffer& operator=(const GzipBuffer&) = delete;
  ~GzipBuffer() override { ::gzclose(file_); }

 protected:
  int_type underflow() override {
    const int n = ::gzread(file_, block_.data(), static_cast<unsigned>(block_.size()));
    int error = Z_OK;
    const char* const text = ::gzerror(file_, &error);
    // A truncated file ends with Z_BUF_ERROR and no other sign.
    if (n < 0 || (error != Z_OK && error != Z_STREAM_END))
      throw IoError(path_.string() + ": cannot be uncompressed, it is damaged or incomplete: " +
                    (error == Z_BUF_ERROR ? "it ends too early" : text));
    if (n == 0) return traits_type::eof();
    setg(block_.data(), block_.data(), block_.data() + n);
    return traits_type::to_int_type(block_[0]);
  }

 private:
  std::filesystem::path path_;
  gzFile file_;
  std::vector<char> block_;
};

class GzipStream final : public std::istream {
 public:
  explicit GzipStream(const std::filesystem::path& path) : std::istream(nullptr), buffer_(path) {
    rdbuf(&buffer_);
    exceptions(std::ios::badbit);  // what the buffer throws passes through
  }

 private:
  GzipBuffer buffer_;
};
#endif

}  // namespace

std::unique_ptr<std::istream> open_text(const std::filesystem::path& path) {
  errno = 0;
  auto plain = std::make_unique<std::ifstream>(path, std::ios::binary);
  if (!*plain) rearm::detail::throw_io(path, "cannot be opened for reading", errno);
  char magic[2] = {};
  plain->read(magic, sizeof magic);
  const bool compressed = plain->gcount() == 2 && magic[0] == '\x1f' && magic[1] == '\x8b';
  plain->clear();
  plain->seekg(0);
  if (!compressed) return plain;
#if defined(REARM_ZLIB)
  return std::make_unique<GzipStream>(path);
#else
  throw IoError(path.string() +
                ": is compressed by gzip and this program was built without zlib; unpack it with gunzip, " +
                "or install zlib (Debian: zlib1g-dev) and build again");
#endif
}

}  // namespace rearm::cli
