// Checkpoints: the metadata with the state of a run, and the names of tensors. An input is text: a line is a key of the
// metadata, a blank and its value, or, where it has no blank, the name of a tensor.
#include "fuzz.hpp"

#include <rearm/backend/cpu/cpu_backend.hpp>
#include <rearm/run/checkpoint.hpp>

#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace rearm::fuzz::checkpoint {
namespace {

using B = CpuBackend<float>;

/// A network of one parameter and its optimizer.
struct Network {
  ParameterStore<B> parameters;
  AdamW<B> optimizer{AdamSettings{}};
  Parameter<B>& weight;
  Network(Index rows, Index cols) : weight(parameters.add("weight", rows, cols)) { init_constant(weight, 0.5); }
};

SettingsRecord our_settings() {
  return {"m",
          {{"train", {{"epochs", 9}, {"seed", 1}}}, {"model", {{"rank", 3}}}},
          {"train.epochs"},
          {{"epochs", "train.epochs"}, {"rank", "model.rank"}},
          {{"users", "2"}}};
}

void write_checkpoint(const std::filesystem::path& path, const std::string& text) {
  TensorMetadata metadata;
  std::vector<TensorView> tensors;
  static const std::vector<float> ones(6, 1);
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    const std::size_t blank = line.find(' ');
    if (blank != std::string::npos)
      metadata[line.substr(0, blank)] = line.substr(blank + 1);
    else
      tensors.push_back({line, TensorType::f32, {line.starts_with("inner/") ? 1 : 2, 3}, ones.data()});
    begin = end + 1;
  }
  write_safetensors(path, tensors, metadata);
}

bool same(const TrainState& a, const TrainState& b) {
  return a.epoch == b.epoch && a.step == b.step && a.stopping == b.stopping && a.best_valid == b.best_valid &&
         a.step_seconds == b.step_seconds;
}

}  // namespace

void check(const std::string& bytes) {
  const std::filesystem::path path = folder() / "checkpoint.safetensors";
  write_checkpoint(path, bytes);
  const SettingsRecord ours = our_settings();
  const TrainState stated = read_train_state(path, ours);
  Network outer(2, 3), inner(1, 3);
  const Trained<B> trained[] = {{"", &outer.parameters, &outer.optimizer},
                                {"inner", &inner.parameters, &inner.optimizer}};
  const auto untouched = [&] {
    for (Network* network : {&outer, &inner})
      for (Index j = 0; j < 3; ++j)
        if (network->weight.value()(0, j) != 0.5F || network->optimizer.step_count() != 0) return false;
    return true;
  };
  TrainState state;
  if (!accepts([&] { state = load_checkpoint<B>(path, trained, ours); })) {
    require(untouched(), "a checkpoint that is refused changes nothing");
    return;
  }
  require(same(state, stated), "a checkpoint has one state");
  require(state.epoch >= -1 && state.step >= 0 && state.stopping.best_epoch >= -1 &&
              state.stopping.best_epoch <= state.epoch && state.stopping.stale_epochs >= 0,
          "a run's counters are in their limits");
  require(outer.weight.value()(1, 2) == 1 && inner.weight.value()(0, 2) == 1, "all weights are the file's");
  must([&] {
    save_checkpoint<B>(path, trained, ours, state);
    require(same(load_checkpoint<B>(path, trained, ours), state), "a state is read as it was written");
  });
}

}  // namespace rearm::fuzz::checkpoint
