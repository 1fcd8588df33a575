// The work of a step of every model, counted by taking one on a backend that computes nothing.
#include <benchmarks/epoch/model_work.hpp>
#include <benchmarks/support/counting_backend.hpp>

namespace rearm::bench {
namespace {

template <template <class> class M>
Work work_of(const Dataset& data, const TrainConfig& c) {
  using Counting = CountingBackend;
  Context<Counting> ctx({}, c.seed);
  M<Counting> counted(ctx, data, ModelConfig<M>());
  const AnyRecommender<Counting> model(counted);
  model.begin_epoch(ctx, 0);
  Batch batch;
  PairSampler sampler(data.train, known_items(data, c.negatives == Negatives::exclude_all), data.n_items, c.batch_size,
                      c.seed, model.n_negatives());
  Tape<Counting> tape(ctx);
  AdamW<Counting> optimizer({});
  Work work;
  for (std::uint32_t step = 0; step < 2; ++step) {  // an epoch's first may do more than the others
    if (!sampler.next(batch)) break;
    work = ctx.resources().work = {};
    tape.reset();
    tape.backward(model.loss(tape, {batch, step, true, step == 0}).total(), AfterBackward::release);
    model.parameters().for_each([&](const auto& p) {
      bool updated = false;
      if constexpr (requires { p.has_grad(); })
        updated = p.has_grad();
      else
        updated = p.has_grad;
      if (!p.trainable || !updated) return;
      const double moments = c.bfloat16_moments ? 4 : 8;
      work.streamed += 2.0 * static_cast<double>(p.rows() * p.cols()) * ((p.rounded() ? 2 : 4) + moments);
    });
    optimizer.step(ctx, model.parameters());
    work += ctx.resources().work;
  }
  return work;
}

}  // namespace

Work model_work(std::string_view model, const Dataset& data, const TrainConfig& c) {
  return with_model<AllModels>(model, [&]<template <class> class M>() { return work_of<M>(data, c); });
}

}  // namespace rearm::bench
