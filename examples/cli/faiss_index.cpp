#include "faiss_index.hpp"

#include <rearm/core/error.hpp>
#include <rearm/io/atomic_file.hpp>

#if defined(REARM_FAISS)
#include <faiss/IndexFlat.h>
#include <faiss/impl/io.h>
#include <faiss/index_io.h>
#endif

#include <cstddef>
#include <ostream>

namespace rearm::cli {

#if defined(REARM_FAISS)
namespace {

/// To a stream, which reports failures at its end.
struct StreamWriter final : faiss::IOWriter {
  explicit StreamWriter(std::ostream& out) : to(out) {}
  std::size_t operator()(const void* bytes, std::size_t size, std::size_t n) override {
    to.write(static_cast<const char*>(bytes), static_cast<std::streamsize>(size * n));
    return n;
  }
  std::ostream& to;
};

}  // namespace

void require_faiss() {}
void write_faiss_index(const std::filesystem::path& path, ConstView<float> rows) {
  faiss::IndexFlatIP index(rows.cols);
  index.add(rows.rows, rows.data);
  write_file_atomically(path, [&](std::ostream& out) {
    StreamWriter writer(out);
    faiss::write_index(&index, &writer);
  });
}
#else
void require_faiss() {
  throw ConfigError(
      "--faiss: this program was built without faiss; install it (Debian: libfaiss-dev) and build again, or build an "
      "index of items.npy yourself");
}
void write_faiss_index(const std::filesystem::path&, ConstView<float>) { require_faiss(); }
#endif

}  // namespace rearm::cli
