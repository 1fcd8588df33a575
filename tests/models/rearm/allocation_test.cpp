/// @file allocation_test.cpp
/// A training step takes its memory from arenas that the first steps sized.

#include "tests/support/allocator.hpp"
#include "tests/support/small_data.hpp"

#include <rearm/models/rearm/rearm.hpp>
#include <rearm/optim/adamw.hpp>

#include <doctest/doctest.h>

namespace models_rearm_allocation_test {

TEST_CASE("a training step allocates nothing once the arenas have their size") {
  using namespace rearm;
  using B = CpuBackend<float>;
  SyntheticSettings settings;
  settings.n_users = 300;
  settings.n_items = 200;
  const Dataset data = make_synthetic(settings);
  for (const Variant variant : {Variant::reference, Variant::paper})
    for (const Features features : {Features::trainable, Features::frozen, Features::residual}) {
      if (variant == Variant::paper && features == Features::trainable) continue;
      CAPTURE(to_string(variant));
      CAPTURE(to_string(features));
      RearmSettings s = test::tiny_settings();
      s.model.variant = variant;
      s.model.features.kind = features;
      Context<B> ctx({.threads = 2}, s.train.seed);
      Model<B> model(ctx, data, s.model);
      AdamW<B> optimizer({.learning_rate = s.train.learning_rate, .weight_decay = s.train.weight_decay});
      PairSampler sampler(data.train, known_items(data, true), data.n_items, 256, s.train.seed);
      Tape<B> tape(ctx);
      Batch batch;
      const auto epoch = [&] {
        sampler.begin_epoch(0);
        for (std::uint32_t step = 0; sampler.next(batch); ++step) {
          tape.reset();
          tape.backward(model.loss(tape, {batch, step, true}).total(), AfterBackward::release);
          optimizer.step(ctx, model.parameters());
        }
      };
      for (int i = 0; i < 3; ++i) epoch();
      const long before = test::allocations;
      CHECK(before > 0);  // the count works
      epoch();
      CHECK(test::allocations - before == 0);
    }
}

}  // namespace models_rearm_allocation_test
