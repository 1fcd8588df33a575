/// @file grcn_test.cpp
/// GRCN where its authors' numbers do not reach: its embeddings in plain loops, with routing that reaches users and any
/// modalities, and which embeddings it scores with.

#include "tests/models/tiny.hpp"
#include "tests/support/gradient_check.hpp"

#include <rearm/models/grcn.hpp>

#include <cmath>
#include <string>
#include <vector>

namespace models_grcn_test {

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
Matrix<double> parameter(Grcn<B>& model, const std::string& name) {
  return to_host(std::as_const(*model.parameters().find(name)).value());
}
Matrix<double> unit_rows(Matrix<double> x) {
  for (Index i = 0; i < x.rows(); ++i) {
    const double norm = std::sqrt(sum_of(x.cols(), [&](Index j) { return x(i, j) * x(i, j); }));
    for (Index j = 0; j < x.cols(); ++j) x(i, j) /= std::max(norm, 1e-12);
  }
  return x;
}
/// Row r: the softmax of x_r . x_s over the s that `sends` names; zero without any.
template <class F>
Matrix<double> attention(const Matrix<double>& x, Index receivers, const F& sends) {
  Matrix<double> a(receivers, x.rows());
  for (Index r = 0; r < receivers; ++r) {
    double sum = 0;
    for (Index s = 0; s < x.rows(); ++s) {
      if (!sends(r, s)) continue;
      a(r, s) = std::exp(sum_of(x.cols(), [&](Index j) { return x(r, j) * x(s, j); }));
      sum += a(r, s);
    }
    for (Index s = 0; s < x.rows(); ++s)
      if (sum > 0) a(r, s) /= sum;
  }
  return a;
}
Matrix<double> product(const Matrix<double>& a, const Matrix<double>& x) {
  return tabulate(a.rows(), x.cols(),
                  [&](Index i, Index j) { return sum_of(a.cols(), [&](Index k) { return a(i, k) * x(k, j); }); });
}

// The model's equations in loops over all pairs of nodes.
Matrix<double> in_loops(Grcn<B>& model, const Dataset& data, const GrcnConfig& config) {
  const Index n_users = data.n_users, n = n_users + data.n_items, d = config.content_dim;
  Matrix<double> beside(n, n);
  for (Index e = 0; e < data.train.size(); ++e) {
    const Id user = data.train.users[static_cast<std::size_t>(e)];
    const Index item = n_users + data.train.items[static_cast<std::size_t>(e)];
    beside(user, item) = beside(item, user) = 1;
  }
  const auto sends = [&](Index r, Index s) { return beside(r, s) != 0; };
  const Matrix<double> confidence = parameter(model, "modality_confidence");
  Matrix<double> w(n, n), out(n, config.embedding_dim + 3 * d);
  for (std::size_t m = 0; m < data.modalities.size(); ++m) {
    const Modality& modality = data.modalities[m];
    const Matrix<double> weight = parameter(model, "item_projection." + modality.name + ".weight");
    const Matrix<double> bias = parameter(model, "item_projection." + modality.name + ".bias");
    Matrix<double> features(data.n_items, modality.features.cols());
    modality.features.copy_rows(0, features.view());
    const Matrix<double> q = parameter(model, "user_preference." + modality.name);
    Matrix<double> x = unit_rows(tabulate(n, d, [&](Index i, Index j) {
      if (i < n_users) return q(i, j);
      const double y =
          bias(0, j) + sum_of(features.cols(), [&](Index c) { return features(i - n_users, c) * weight(j, c); });
      return y > 0 ? y : 0.01 * y;
    }));
    for (int l = 0; l < config.n_routing_layers; ++l) {
      const Matrix<double> received = product(attention(x, n_users, sends), x);
      const Matrix<double> refined =
          unit_rows(tabulate(n_users, d, [&](Index i, Index j) { return x(i, j) + received(i, j); }));
      for (Index i = 0; i < n_users; ++i)
        for (Index j = 0; j < d; ++j) x(i, j) = refined(i, j);
    }
    const Matrix<double> a = attention(x, n, sends), received = product(a, x);
    for (Index r = 0; r < n; ++r) {
      for (Index s = 0; s < n; ++s) w(r, s) = std::max(w(r, s), a(r, s) * confidence(s, static_cast<Index>(m)));
      for (Index j = 0; j < d; ++j)
        out(r, config.embedding_dim + static_cast<Index>(m) * d + j) = x(r, j) + received(r, j);
    }
  }
  Matrix<double> h = unit_rows(parameter(model, "node_id"));
  for (int l = 0; l <= config.n_layers; ++l) {
    if (l > 0) h = product(w, h);
    for (Index i = 0; i < n; ++i)
      for (Index j = 0; j < config.embedding_dim; ++j) out(i, j) += h(i, j);
  }
  return out;
}

}  // namespace

TEST_CASE("GRCN's embeddings are those of its equations, with three modalities and with routing too") {
  const Dataset data = three_modalities();
  for (const int routing : {0, 2}) {
    CAPTURE(routing);
    auto settings = tiny_settings<Grcn>();
    settings.model.content_dim = 5;
    settings.model.n_routing_layers = routing;
    Context<B> ctx(test_options(), settings.train.seed);
    Grcn<B> model(ctx, data, settings.model);
    Tape<B> tape(ctx, false);
    const Embeddings<B> e = model.embeddings(tape, {});
    const Matrix<double> want = in_loops(model, data, settings.model);
    check_close(to_host(e.users).view(),
                tabulate(data.n_users, want.cols(), [&](Index i, Index j) { return want(i, j); }));
    check_close(to_host(e.items).view(),
                tabulate(data.n_items, want.cols(), [&](Index i, Index j) { return want(data.n_users + i, j); }));
  }
}

TEST_CASE("GRCN's loss with routing that reaches users has the gradients that differences say") {
  const Dataset data = idle_data();
  auto settings = tiny_settings<Grcn>();
  settings.model.content_dim = 3;
  settings.model.n_routing_layers = 2;
  Context<B> ctx(test_options(), settings.train.seed);
  Grcn<B> model(ctx, data, settings.model);
  const BatchThere batch(first_batch(data, settings.train, 1));
  Tape<B> tape(ctx);
  const auto loss = [&] {
    tape.reset();
    return model.loss(tape, {batch, 0, true}).total();
  };
  tape.backward(loss());
  for (const char* name : {"user_preference.image", "item_projection.image.weight", "modality_confidence"}) {
    Parameter<B>& p = *model.parameters().find(name);
    const Matrix<double> gradient = gradient_of(p);
    check_gradient(p.name, gradient,
                   central_differences(
                       doubles_of(p), [&] { return scalar(loss()); }, gradient));
  }
}

TEST_CASE("GRCN scores with the last step's embeddings, or with new ones if the settings say so") {
  Dataset data = idle_data();
  for (const bool last : {true, false}) {
    auto settings = tiny_settings<Grcn>();
    settings.model.last_step_embeddings = last;
    Context<B> ctx(test_options(), settings.train.seed);
    Grcn<B> model(ctx, data, settings.model);
    CHECK(model.can_train_on_part() != last);
    const BatchThere batch(first_batch(data, settings.train, 1));
    Tape<B> tape(ctx);
    scalar(model.loss(tape, {batch, 0, true}).total());
    const auto first_user = [&] {
      tape.reset();
      return to_host(model.embeddings(tape, {}).users)(0, 0);
    };
    const double before = first_user();
    set(*model.parameters().find("node_id"),
        tabulate(data.n_users + data.n_items, 6, [](Index i, Index j) { return 1.0 + static_cast<double>(i * j); }));
    CHECK((first_user() == before) == last);
  }
  data.modalities.clear();
  CHECK_THROWS_WITH_AS(Grcn<B>::check({}, data), doctest::Contains("GRCN needs features"), ConfigError);
}

}  // namespace models_grcn_test
