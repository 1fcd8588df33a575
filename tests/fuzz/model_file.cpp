// Model files, as `rearm recommend` reads them. An input is a header, a zero and the data: a file without its first
// bytes, the header's length, which every change would contradict.
#include "fuzz.hpp"

#include <rearm/backend/cpu/cpu_backend.hpp>
#include <rearm/run/model_file.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>

namespace rearm::fuzz::model_file {

void check(const std::string& bytes) {
  const std::uint64_t length = std::min(bytes.find('\0'), bytes.size());
  std::string file(sizeof length, '\0');
  std::memcpy(file.data(), &length, sizeof length);
  file += bytes.substr(0, length);
  if (length < bytes.size()) file += bytes.substr(length + 1);
  folder().write("model.safetensors", file);
  const SavedModel<CpuBackend<float>> model = load_model<CpuBackend<float>>(folder() / "model.safetensors");
  require(model.users.cols() == model.items.cols() && model.seen.rows() == model.users.rows(),
          "representations and lists fit together");
  for (const auto& [names, n] :
       {std::pair(&model.user_names, model.users.rows()), std::pair(&model.item_names, model.items.rows())}) {
    require(names->empty() || names->size() == n, "every id has a name, or none");
    for (Id i = 0; i < names->size(); ++i) require(names->find(names->view(i)) == i, "names are distinct");
  }
  for (Index u = 0; u < model.seen.rows(); ++u) {
    Id last = -1;
    for (const Id item : model.seen.row(u)) {
      require(item > last && item < model.items.rows(), "items that were seen are items, each once");
      last = item;
    }
  }
}

}  // namespace rearm::fuzz::model_file
