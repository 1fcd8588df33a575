#include <benchmarks/support/export_shape.hpp>

#include <rearm/rearm.hpp>

#include <cstdint>
#include <ostream>

namespace rearm::bench {

void export_shape(const Shape& shape, int threads, const std::filesystem::path& folder) {
  const Dataset& data = dataset(shape);
  const RearmSettings s = settings(shape, data, Variant::reference, Features::trainable);
  Context<CpuBackend<float>> ctx({.threads = threads}, s.train.seed);
  const auto graphs = build_graphs<CpuBackend<float>>(ctx, data, s.model);
  std::filesystem::create_directories(folder);
  const auto write = [&](const std::string& name, const Csr<float>& m) {
    write_npy(folder / (name + "_offsets.npy"), m.offsets.span(), {m.rows + 1});
    write_npy(folder / (name + "_indices.npy"), m.indices.span(), {m.nonzeros()});
    write_npy(folder / (name + "_values.npy"), m.values.span(), {m.nonzeros()});
  };
  write("interaction", graphs.interaction.matrix());
  write("user", graphs.user_homograph.matrix());
  write("item", graphs.item_homograph.matrix());
  std::vector<std::int64_t> pairs(data.train.users.begin(), data.train.users.end());
  pairs.insert(pairs.end(), data.train.items.begin(), data.train.items.end());
  write_npy(folder / "train.npy", pairs, {2, data.train.size()});
  nlohmann::json json = to_json(s.model);
  json.update(to_json(s.train));
  json["n_users"] = data.n_users;
  json["n_items"] = data.n_items;
  for (const Modality& m : data.modalities) json["widths"].push_back(m.features.cols());
  write_file_atomically(folder / "shape.json", [&](std::ostream& out) { out << json.dump(2) << '\n'; });
}

}  // namespace rearm::bench
