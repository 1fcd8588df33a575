/// @file mmgcn_test.cpp
/// MMGCN where its authors' numbers do not reach: tables that stay as they begin, which modalities have a map, which
/// embeddings it scores with.

#include "tests/models/tiny.hpp"
#include "tests/support/gradient_check.hpp"

#include <rearm/models/mmgcn.hpp>
#include <rearm/optim/adamw.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

namespace models_mmgcn_test {

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
double largest_difference(const Matrix<double>& a, const Matrix<double>& b) {
  double out = 0;
  for (Index i = 0; i < a.size(); ++i) out = std::max(out, std::abs(a.data()[i] - b.data()[i]));
  return out;
}

}  // namespace

TEST_CASE("MMGCN's tables are functions of the seed and stay so, or are trained if the settings say so") {
  const Dataset data = idle_data();
  const auto table = [](Mmgcn<B>& model, const char* name) {
    return to_host(std::as_const(*model.parameters().find(name)).value());
  };
  for (const bool train : {false, true})
    for (const char* name : {"node_id", "user_preference.image", "user_preference.text"}) {
      CAPTURE(name);
      auto settings = tiny_settings<Mmgcn>();
      settings.model.train_tables = train;
      Context<B> ctx(test_options(), 7), other(test_options(), 8);
      Mmgcn<B> model(ctx, data, settings.model), same(ctx, data, settings.model), another(other, data, settings.model);
      const Matrix<double> before = table(model, name);
      CHECK(largest_difference(before, table(same, name)) == 0);
      CHECK(largest_difference(before, table(another, name)) > 0);
      CHECK(model.parameters().find(name)->persistent);
      const BatchThere batch(first_batch(data, settings.train, 1));
      Tape<B> tape(ctx);
      AdamW<B> optimizer({.learning_rate = 0.1, .weight_decay = 0.1});
      tape.backward(model.loss(tape, {batch, 0, true}).total());
      optimizer.step(ctx, model.parameters());
      CHECK((largest_difference(before, table(model, name)) > 0) == train);
    }
}

TEST_CASE("MMGCN's loss with trained tables has the gradients that differences say") {
  const Dataset data = idle_data();
  auto settings = tiny_settings<Mmgcn>();
  settings.model.train_tables = true;
  Context<B> ctx(test_options(), settings.train.seed);
  Mmgcn<B> model(ctx, data, settings.model);
  const BatchThere batch(first_batch(data, settings.train, 1));
  Tape<B> tape(ctx);
  const auto loss = [&] {
    tape.reset();
    return model.loss(tape, {batch, 0, true}).total();
  };
  tape.backward(loss());
  for (const char* name : {"node_id", "user_preference.image", "user_preference.text"}) {
    Parameter<B>& p = *model.parameters().find(name);
    const Matrix<double> gradient = gradient_of(p);
    check_gradient(p.name, gradient,
                   central_differences(
                       doubles_of(p), [&] { return scalar(loss()); }, gradient));
  }
}

TEST_CASE("MMGCN maps the features of the modalities that the settings name") {
  Dataset data = three_modalities();
  const auto widths = [&](std::vector<std::string> mapped) {
    auto settings = tiny_settings<Mmgcn>();
    settings.model.mapped_modalities = std::move(mapped);
    settings.model.hidden_dim = 8;
    settings.model.n_layers = 2;
    Context<B> ctx(test_options(), settings.train.seed);
    Mmgcn<B>::check(settings.model, data);
    Mmgcn<B> model(ctx, data, settings.model);
    const BatchThere batch(first_batch(data, settings.train, 1));
    Tape<B> tape(ctx);
    const Var<B> loss = model.loss(tape, {batch, 0, true}).total();
    CHECK(std::isfinite(scalar(loss)));
    tape.backward(loss);
    std::vector<Index> out;
    for (const char* of : {"sound", "image", "text"})
      out.push_back(model.parameters().find(std::string("messages.") + of + ".1.weight")->rows());
    for (const Parameter<B>& p : model.parameters()) {
      CAPTURE(p.name);
      CHECK(p.has_grad == p.trainable);  // nothing is there that no loss reaches
    }
    return out;
  };
  CHECK(widths({"image"}) == std::vector<Index>{3, 8, 4});
  CHECK(widths({}) == std::vector<Index>{3, 5, 4});
  CHECK(widths({"text", "sound"}) == std::vector<Index>{8, 5, 8});
  CHECK_THROWS_AS(widths({"smell"}), ConfigError);
  data.modalities.erase(data.modalities.begin() + 1);  // the default names image
  CHECK_NOTHROW(Mmgcn<B>::check({}, data));
  data.modalities.clear();
  CHECK_THROWS_WITH_AS(Mmgcn<B>::check({}, data), doctest::Contains("MMGCN needs features"), ConfigError);
}

TEST_CASE("MMGCN scores with the last step's embeddings, or with new ones if the settings say so") {
  const Dataset data = idle_data();
  for (const bool last : {true, false}) {
    auto settings = tiny_settings<Mmgcn>();
    settings.model.last_step_embeddings = last;
    Context<B> ctx(test_options(), settings.train.seed);
    Mmgcn<B> model(ctx, data, settings.model);
    CHECK(model.can_train_on_part() != last);
    const BatchThere batch(first_batch(data, settings.train, 1));
    Tape<B> tape(ctx);
    AdamW<B> optimizer({.learning_rate = 0.1});
    tape.backward(model.loss(tape, {batch, 0, true}).total());
    const auto users = [&] {
      tape.reset();
      return to_host(model.embeddings(tape, {}).users);
    };
    const Matrix<double> before = users();
    optimizer.step(ctx, model.parameters());
    CHECK((largest_difference(before, users()) == 0) == last);
  }
}

}  // namespace models_mmgcn_test
