#include "tests/support/host_models.hpp"

#include "tests/models/tiny.hpp"
#include "tests/support/steps.hpp"

#include <rearm/rearm.hpp>

namespace rearm::test {

HostSteps host_steps(const std::string& model, const Dataset& data, const Batch& batch, int n) {
  using B = CpuBackend<double>;
  return with_model<AllModels>(model, [&]<template <class> class M>() {
    const auto settings = tiny_settings<M>();
    Context<B> ctx({.threads = 2}, settings.train.seed);
    M<B> made(ctx, data, settings.model);
    HostSteps out;
    const auto [users, items] = take_steps<B>(ctx, made, batch, settings.train.learning_rate, n, out.losses);
    out.users = users.clone();
    out.items = items.clone();
    return out;
  });
}

}  // namespace rearm::test
