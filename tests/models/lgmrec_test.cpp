/// @file lgmrec_test.cpp
/// LGMRec where its authors' numbers do not reach: nodes in no hyperedge, noise at evaluation, other numbers of
/// modalities.

#include "tests/models/tiny.hpp"
#include "tests/support/gradient_check.hpp"
#include "tests/support/scalars.hpp"

#include <rearm/models/lgmrec.hpp>

#include <algorithm>
#include <cstring>
#include <string>

namespace models_lgmrec_test {

namespace {

using namespace rearm;
using namespace rearm::test;

template <class T>
bool same_bits(const Matrix<T>& a, const Matrix<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), static_cast<std::size_t>(a.size()) * sizeof(T)) == 0;
}

}  // namespace

TEST_CASE_TEMPLATE("gradients are finite and right where dropout leaves nodes in no hyperedge at all", T,
                   REARM_TEST_SCALARS) {
  using B = TestBackend<T>;
  const Dataset data = idle_data();
  auto settings = tiny_settings<LgmRec>();
  settings.model.n_hyperedges = 1;  // a node has one share of a modality, 1 or, in seven of ten steps, 0
  settings.model.keep_rate = 0.3;
  settings.model.n_hyper_layers = 2;
  Context<B> ctx(test_options(), settings.train.seed);
  LgmRec<B> model(ctx, data, settings.model);
  const BatchThere batch(first_batch(data, settings.train, 1));
  Tape<B> tape(ctx);
  const auto loss = [&] {
    tape.reset();
    return model.loss(tape, {batch, 3, true}).total();
  };
  tape.backward(loss());
  model.parameters().for_each([&](auto& p) {
    CAPTURE(p.name);
    const Matrix<T> gradient = gradient_of(p);
    CHECK(std::all_of(gradient.data(), gradient.data() + gradient.size(), [](T x) { return std::isfinite(x); }));
    if constexpr (std::is_same_v<T, double>)
      check_gradient(p.name, gradient,
                     central_differences(
                         doubles_of(p), [&] { return scalar(loss()); }, gradient));
  });
}

TEST_CASE("the noise of an evaluation is the seed's, whatever the step, and none of training's") {
  using B = TestBackend<float>;
  const Dataset data = idle_data();
  const auto settings = tiny_settings<LgmRec>();
  const auto users_of = [&](std::uint64_t seed, const Step<B>& step) {
    Context<B> ctx(test_options(), 7);
    LgmRec<B> model(ctx, data, settings.model);
    ctx.set_seed(seed);
    Tape<B> tape(ctx, false);
    return to_host(model.embeddings(tape, step).users);
  };
  const Matrix<float> users = users_of(7, {});
  CHECK(same_bits(users, users_of(7, {.number = 9})));
  CHECK_FALSE(same_bits(users, users_of(8, {})));
  CHECK_FALSE(same_bits(users, users_of(7, {.number = 0, .training = true})));
}

TEST_CASE("one modality is contrasted with nothing, three are in pairs") {
  using B = Double;
  SyntheticSettings s;
  s.n_users = 24;
  s.n_items = 20;
  s.pairs_per_user = 6;
  s.latent = 4;
  s.modality_names = {"sound", "image", "text"};
  s.widths = {3, 5, 4};
  Dataset data = make_synthetic(s);
  auto settings = tiny_settings<LgmRec>();
  const auto contrast = [&](std::vector<std::string> modalities) {
    settings.model.modalities = std::move(modalities);
    Context<B> ctx(test_options(), settings.train.seed);
    LgmRec<B> model(ctx, data, settings.model);
    const BatchThere batch(first_batch(data, settings.train, 1));
    Tape<B> tape(ctx);
    const Loss<B> loss = model.loss(tape, {batch, 0, true});
    CHECK(std::isfinite(scalar(loss.total())));
    return loss.part("cl_users").empty() ? -1.0 : scalar(loss.part("cl_users"));
  };
  CHECK(contrast({"image"}) == -1.0);
  CHECK(contrast({}) > 0);
  CHECK(contrast({"image", "text"}) > 0);
  settings.model.modalities = {"smell"};
  CHECK_THROWS_AS(LgmRec<B>::check(settings.model, data), ConfigError);
  settings.model.modalities = {};
  data.modalities.clear();
  CHECK_THROWS_WITH_AS(LgmRec<B>::check(settings.model, data), doctest::Contains("LGMRec needs features"), ConfigError);
}

}  // namespace models_lgmrec_test
