/// @file slmrec_test.cpp
/// SLMRec where its authors' numbers do not reach: which embeddings it scores with, other numbers of modalities.

#include "tests/models/tiny.hpp"
#include "tests/support/gradient_check.hpp"

#include <rearm/models/slmrec.hpp>
#include <rearm/optim/adamw.hpp>

#include <string>
#include <vector>

namespace models_slmrec_test {

namespace {

using namespace rearm;
using namespace rearm::test;
using B = Double;

Dataset three_modalities() {
  SyntheticSettings s;
  s.n_users = 24;
  s.n_items = 20;
  s.pairs_per_user = 6;
  s.latent = 4;
  s.modality_names = {"sound", "image", "text"};
  s.widths = {3, 5, 4};
  return make_synthetic(s);
}

// What a store has of that name.
Index rows_of(SlmRec<B>& model, const std::string& name) {
  Index rows = -1;
  for (const Parameter<B>& p : model.parameters())
    if (p.name == name) rows = p.rows();
  return rows;
}

}  // namespace

TEST_CASE("scores are made of the last step's embeddings, or, if the settings say so, of the parameters") {
  const Dataset data = idle_data();
  for (const bool last : {true, false}) {
    auto settings = tiny_settings<SlmRec>();
    settings.model.last_step_embeddings = last;
    Context<B> ctx(test_options(), settings.train.seed);
    SlmRec<B> model(ctx, data, settings.model);
    const BatchThere batch(first_batch(data, settings.train, 1));
    Tape<B> tape(ctx);
    const auto users = [&] {
      tape.reset();
      return to_host(model.embeddings(tape, {}).users);
    };
    const Matrix<double> before = users();
    AdamW<B> optimizer({.learning_rate = 0.1});
    tape.reset();
    tape.backward(model.loss(tape, {batch, 0, true}).total());
    optimizer.step(ctx, model.parameters());
    const Matrix<double> after = users();
    double moved = 0;
    for (Index i = 0; i < before.size(); ++i) moved = std::max(moved, std::abs(after.data()[i] - before.data()[i]));
    CHECK((moved < 1e-12) == last);
    CHECK((rows_of(model, "last.users") == data.n_users) == last);
  }
}

TEST_CASE("the chain of joint spaces has a step a modality, the last half as wide, and three for two of them") {
  Dataset data = three_modalities();
  const auto widths = [&](std::vector<std::string> modalities) {
    auto settings = tiny_settings<SlmRec>();
    settings.model.modalities = std::move(modalities);
    Context<B> ctx(test_options(), settings.train.seed);
    SlmRec<B> model(ctx, data, settings.model);
    const BatchThere batch(first_batch(data, settings.train, 1));
    Tape<B> tape(ctx);
    const Var<B> loss = model.loss(tape, {batch, 0, true}).total();
    CHECK(std::isfinite(scalar(loss)));
    tape.backward(loss);
    for (const Parameter<B>& p : model.parameters()) {
      CAPTURE(p.name);
      CHECK(p.has_grad == p.trainable);  // nothing is there that no loss reaches
    }
    std::vector<Index> out;
    for (int k = 1; k <= 4; ++k) out.push_back(rows_of(model, "joint." + std::to_string(k) + ".weight"));
    out.push_back(rows_of(model, "view.image.weight"));
    return out;
  };
  CHECK(widths({}) == std::vector<Index>{6, 6, 3, -1, 6});
  CHECK(widths({"image", "text"}) == std::vector<Index>{6, 6, 3, -1, 6});
  CHECK(widths({"image"}) == std::vector<Index>{6, -1, -1, -1, 6});
  data.modalities.clear();
  CHECK_THROWS_WITH_AS(SlmRec<B>::check({}, data), doctest::Contains("SLMRec needs features"), ConfigError);
}

}  // namespace models_slmrec_test
