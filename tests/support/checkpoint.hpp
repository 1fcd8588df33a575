#pragma once
/// @file checkpoint.hpp
/// The weights of a checkpoint, without going on with its run.

#include <rearm/run/checkpoint.hpp>

namespace rearm::test {

template <Backend B>
TrainState load_weights(const std::filesystem::path& checkpoint, ParameterStore<B>& parameters,
                        const SettingsRecord& settings) {
  AdamW<B> optimizer({.bfloat16_moments = settings.settings.at("train").at("bfloat16_moments").get<bool>()});
  const Trained<B> trained{"", &parameters, &optimizer};
  return load_checkpoint<B>(checkpoint, std::span(&trained, 1), settings);
}

}  // namespace rearm::test
