// Finite differences of whole models in double, and what the switches and unusual data sets do.
#include <tests/support/gradient_check.hpp>
#include <tests/support/small_data.hpp>

#include <doctest/doctest.h>

namespace models_rearm_gradient_test {

namespace {

using namespace rearm;
using namespace rearm::test;
using B = TestBackend<double>;

struct Case {
  Dataset data;
  RearmSettings settings;
};

// The gradients of one batch's loss against central differences, dropout on (its bits depend on the step alone): of all
// entries, or for what differs little from a case already checked, of one in `sample`.
void check_model(const Case& c, Index sample = 1) {
  Context<B> ctx(test_options(1), c.settings.train.seed);
  Model<B> model(ctx, c.data, c.settings.model, graphs_of<B>(c.data, c.settings));
  const BatchThere batch(first_batch(c.data, c.settings.train));
  model.parameters().for_each([&](auto& p) {
    // Zero weights would hide a path; a detached share layer must not depend on anything.
    const bool share =
        p.name.find("share.weight") != std::string::npos && c.settings.model.variant == Variant::reference;
    const RandomKey key{3, parameter_stream(p.name), 0};
    Matrix<double> value = to_host(doubles_of(p));
    for (Index i = 0; i < value.size(); ++i)
      value.data()[i] = share ? 0.0 : value.data()[i] + 0.3 * key.normal(static_cast<std::uint64_t>(i));
    set(p, value);
  });
  Tape<B> tape(ctx);
  const auto loss = [&] {
    tape.reset();
    return model.loss(tape, {batch, 5, true}).total();
  };
  tape.backward(loss());
  std::vector<Matrix<double>> gradients;
  model.parameters().for_each([&](const auto& p) { gradients.push_back(gradient_of(p)); });
  std::size_t n_checked = 0;
  std::size_t index = 0;
  model.parameters().for_each([&](auto& p) {
    const Matrix<double>& gradient = gradients[index++];
    CHECK((p.trainable || !has_gradient(p)));
    if (!p.trainable) return;
    ++n_checked;
    check_gradient(p.name, gradient,
                   central_differences(
                       doubles_of(p), [&] { return scalar(loss()); }, gradient, sample));
  });
  CHECK(n_checked > 10);
}

RearmSettings reference_settings() {
  RearmSettings s = tiny_settings();
  s.model.ort_weight = 0;  // its divisor is a constant by definition: no finite difference can agree
  return s;
}
RearmSettings paper_settings() {
  RearmSettings s = tiny_settings();
  s.model.variant = Variant::paper;
  s.model.features.kind = Features::frozen;
  s.model.l2_weight = 1e-2;
  return s;
}

}  // namespace

TEST_CASE("reference variant: finite differences for every kind of features") {
  for (const Features features : {Features::trainable, Features::frozen, Features::residual}) {
    CAPTURE(to_string(features));
    RearmSettings s = reference_settings();
    s.model.features.kind = features;
    check_model({tiny_data(), s});
  }
}

TEST_CASE("paper variant: finite differences, orthogonality and squared norm included") {
  check_model({tiny_data(), paper_settings()});
  RearmSettings s = paper_settings();
  s.model.features.kind = Features::residual;
  check_model({tiny_data(), s});
}

TEST_CASE("one and three modalities: finite differences") {
  for (const auto& names : {std::vector<std::string>{"text"}, {"image", "text", "audio"}}) {
    CAPTURE(names.size());
    check_model({tiny_data(names), reference_settings()}, 7);
    check_model({tiny_data(names), paper_settings()}, 7);
  }
}

TEST_CASE("ablations: finite differences without each part") {
  RearmSettings s = reference_settings();
  RearmConfig& c = s.model;
  SUBCASE("no user homograph") { c.users.use = false; }
  SUBCASE("no item homograph") { c.items.use = false; }
  SUBCASE("no co-occurrence") { c.use_co = false; }
  SUBCASE("no similarity") { c.use_sim = false; }
  SUBCASE("no homographs") { c.users.use = c.items.use = false; }
  SUBCASE("no attention") { c.use_attention = false; }
  SUBCASE("no meta network") { c.use_meta = false; }
  SUBCASE("no contrast") { c.cl_weight = 0; }
  check_model({tiny_data(), s}, 7);
}

TEST_CASE("memory reused during the backward pass changes no gradient") {
  SyntheticSettings settings;
#if defined(EMULATED_CUDA)
  settings.n_users = 150;
  settings.n_items = 100;
#else
  settings.n_users = 300;
  settings.n_items = 200;
#endif
  const Dataset data = make_synthetic(settings);
  for (const RearmSettings& base : {tiny_settings(), paper_settings()})
    for (const Features features : {base.model.features.kind, Features::residual}) {
      RearmSettings s = base;
      s.model.features.kind = features;
      s.train.batch_size = 256;
      Context<B> ctx(test_options(2), s.train.seed);
      Model<B> model(ctx, data, s.model, graphs_of<B>(data, s));
      const BatchThere batch(first_batch(data, s.train));
      const auto gradients = [&](AfterBackward after) {
        Tape<B> tape(ctx);
        tape.reset();
        model.parameters().clear_gradients();
        const auto total = model.loss(tape, {batch, 5, true}).total();
        tape.backward(total, after);
        CHECK(std::isfinite(scalar(total)));
        std::vector<Matrix<double>> out;
        model.parameters().for_each([&](const auto& p) { out.push_back(gradient_of(p)); });
        return out;
      };
      const auto kept = gradients(AfterBackward::keep);
      const auto released = gradients(AfterBackward::release);
      for (std::size_t i = 0; i < kept.size(); ++i) {
        CAPTURE(i);
        CHECK(std::equal(kept[i].data(), kept[i].data() + kept[i].size(), released[i].data()));
      }
      const auto settled_arena = [&](AfterBackward after) {
        Context<B> fresh(test_options(2), s.train.seed);
        Model<B> twin(fresh, data, s.model, graphs_of<B>(data, s));
        Tape<B> tape(fresh);
        for (int i = 0; i < 4; ++i) {
          tape.reset();
          twin.parameters().clear_gradients();
          tape.backward(twin.loss(tape, {batch, 5, true}).total(), after);
        }
        return fresh.arena().capacity();
      };
      CHECK(settled_arena(AfterBackward::release) < settled_arena(AfterBackward::keep));
    }
}

TEST_CASE("one modality has no cross block and no pair losses") {
  const Dataset data = tiny_data({"text"});
  const RearmSettings s = tiny_settings();
  Context<B> ctx(test_options(1), s.train.seed);
  Model<B> model(ctx, data, s.model, graphs_of<B>(data, s));
  for (const Parameter<B>& p : model.parameters()) CHECK(p.name.find("cross") == std::string::npos);
  Tape<B> tape(ctx);
  const BatchThere batch(first_batch(data, s.train));
  const Loss<B> loss = model.loss(tape, {batch, 0, true});
  CHECK(loss.part("contrast").empty());
  CHECK(loss.part("orthogonal").empty());
  const LossValues values = loss_values(loss, loss.total());
  CHECK(values.at("bpr") > 0);
  CHECK(values.total == values.at("bpr"));
}

TEST_CASE("users and items without train pairs get finite representations and gradients") {
  Dataset data = tiny_data();
  data.n_users += 2;  // nobody knows them
  Interactions kept;
  for (std::size_t e = 0; e < data.train.users.size(); ++e)
    if (data.train.items[e] != 3) {
      kept.users.push_back(data.train.users[e]);
      kept.items.push_back(data.train.items[e]);
    }
  data.train = kept;
  for (const RearmSettings& s : {tiny_settings(), paper_settings()}) {
    Context<B> ctx(test_options(1), s.train.seed);
    Model<B> model(ctx, data, s.model, graphs_of<B>(data, s));
    Tape<B> tape(ctx);
    const BatchThere batch(first_batch(data, s.train));
    const Step<B> step{batch, 1, true};
    const auto forward = model.forward(tape, step);
    const auto representation = to_host(forward.representation);
    for (Index i = 0; i < representation.rows(); ++i)
      for (Index j = 0; j < representation.cols(); ++j) REQUIRE(std::isfinite(representation(i, j)));
    tape.backward(model.loss(tape, forward, step).total());
    model.parameters().for_each([](const auto& p) {
      const Matrix<double> gradient = gradient_of(p);
      for (Index i = 0; i < gradient.size(); ++i) REQUIRE(std::isfinite(gradient.data()[i]));
    });
  }
}

TEST_CASE("frozen features project users as the mean of their items would") {
  const Dataset data = tiny_data();
  RearmSettings s = reference_settings();
  Matrix<double> first;
  for (const Features features : {Features::trainable, Features::frozen}) {
    s.model.features.kind = features;
    Context<B> ctx(test_options(1), s.train.seed);
    Model<B> model(ctx, data, s.model, graphs_of<B>(data, s));
    Tape<B> tape(ctx, false);
    Matrix<double> r = to_host(model.forward(tape, {}).representation);
    if (first.empty()) {
      first = std::move(r);
      continue;
    }
    for (Index i = 0; i < r.rows(); ++i)
      for (Index j = 0; j < r.cols(); ++j) CHECK(r(i, j) == doctest::Approx(first(i, j)).epsilon(1e-10));
  }
}

TEST_CASE("a batch or graphs that do not belong to the data set are refused") {
  const Dataset data = tiny_data();
  const RearmSettings s = tiny_settings();
  Context<B> ctx(test_options(1), s.train.seed);
  SyntheticSettings of_larger;
  of_larger.n_users = 20;
  of_larger.n_items = 15;
  of_larger.pairs_per_user = 5;
  const Dataset larger = make_synthetic(of_larger);
  CHECK_THROWS_AS(Model<B>(ctx, data, s.model, graphs_of<B>(larger, s)), ShapeError);
  Model<B> model(ctx, data, s.model, graphs_of<B>(data, s));
#if !defined(REARM_TEST_CUDA)  // nobody reads ids on a device
  Tape<B> tape(ctx);
  CHECK_THROWS_AS(model.loss(tape, {Batch{{0}, {0}, {99}}, 0, true}), DataError);
  CHECK_THROWS_AS(model.loss(tape, {Batch{{-1}, {0}, {1}}, 0, true}), DataError);
#endif
}

TEST_CASE("ids start as wide as the settings say, and without attention there are none of its parameters") {
  const Dataset data = tiny_data();
  RearmSettings s = tiny_settings();
  s.model.id_std = 0.1;
  Context<B> ctx(test_options(1), s.train.seed);
  Model<B> narrow(ctx, data, s.model);
  REQUIRE(narrow.parameters().find("layer_norm.weight") != nullptr);
  s.model.id_std = 0.4;
  s.model.use_attention = false;
  Model<B> wide(ctx, data, s.model);
  for (const char* name : {"user_id", "item_id"}) {
    const auto small = to_host(narrow.parameters().find(name)->value());
    const auto large = to_host(wide.parameters().find(name)->value());
    for (Index e = 0; e < small.size(); ++e)
      CHECK(large.data()[e] == doctest::Approx(4 * small.data()[e]).epsilon(1e-12));
  }
  for (const auto& parameter : wide.parameters()) {
    CHECK(parameter.name.find("attention") == std::string::npos);
    CHECK(parameter.name.find("layer_norm") == std::string::npos);
  }
}

TEST_CASE("embeddings are the rows of the representation, users first, and a step has dropout only when it trains") {
  const Dataset data = tiny_data();
  for (const RearmSettings& s : {tiny_settings(), paper_settings()}) {
    Context<B> ctx(test_options(1), s.train.seed);
    Model<B> model(ctx, data, s.model);
    const auto representation = [&](const Step<B>& step) {
      Tape<B> tape(ctx, false);
      return to_host(model.forward(tape, step).representation);
    };
    const Matrix<double> whole = representation({});
    Tape<B> tape(ctx, false);
    const Embeddings<B> e = model.embeddings(tape, {});
    REQUIRE(e.users.rows() == data.n_users);
    REQUIRE(e.items.rows() == data.n_items);
    const Matrix<double> users = to_host(e.users), items = to_host(e.items);
    const auto same = [](const double* a, const double* b, Index n) { return std::equal(a, a + n, b); };
    CHECK(same(users.data(), whole.data(), users.size()));
    CHECK(same(items.data(), whole.row(data.n_users), items.size()));
    const Step<B> later{{{}, {}, {}}, 5, false}, training{{{}, {}, {}}, 5, true};
    CHECK(same(whole.data(), representation(later).data(), whole.size()));
    CHECK_FALSE(same(whole.data(), representation(training).data(), whole.size()));
  }
}

}  // namespace models_rearm_gradient_test
