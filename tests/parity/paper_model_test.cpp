// The paper variant against one float64 case of the printed equations.
#include <tests/parity/model_case.hpp>

namespace parity_paper_model_test {

namespace {

using namespace rearm;
using namespace rearm::test;

// The case calls the modalities v and t.
std::string case_name(std::string name) {
  for (const auto& [ours, theirs] : {std::pair{".image", ".v"}, std::pair{".text", ".t"}}) {
    const std::size_t at = name.find(ours);
    if (at != std::string::npos) name.replace(at, std::string(ours).size(), theirs);
  }
  return name;
}

void check_case(const std::filesystem::path& dir) {
  using B = TestBackend<double>;
  CAPTURE(dir.string());
  const nlohmann::json m = read_json(dir / "manifest.json");
  RearmConfig c = preset("baby").model;
  c.variant = Variant::paper;
  c.features.kind = Features::frozen;
  c.embedding_dim = m.at("embedding_dim");
  c.rank = m.at("rank");
  c.n_ui_layers = m.at("n_ui_layers");
  c.items.n_layers = m.at("n_ii_layers");
  c.users.n_layers = m.at("n_uu_layers");
  c.cl_temperature = m.at("cl_temperature");
  c.cl_weight = m.at("cl_weight");
  c.ort_weight = m.at("ort_weight");
  c.l2_weight = m.at("l2_weight");
  c.dropout_self = c.dropout_cross = m.at("dropout");
  const Dataset data = read_case_dataset(dir, m);
  Context<B> ctx;
  Model<B> model(ctx, data, c, copy_graphs<B>(read_graphs<double>(dir)));
  std::size_t n_trainable = 0;
  model.parameters().for_each([&](auto& p) {
    CAPTURE(p.name);
    if (!p.trainable) return;
    ++n_trainable;
    assign(p, read_doubles(dir / ("param." + case_name(p.name) + ".npy")));
  });
  CHECK(n_trainable == m.at("parameters").size());

  Tape<B> tape(ctx);
  const BatchThere batch = read_batch(read_npy<Id>(dir / "batch.npy"), 0);
  const Step<B> step{batch, 0, true};
  const auto forward = model.forward(tape, step);
  CHECK(max_difference<double>(to_host(forward.representation).view(), read_doubles(dir / "out.representation.npy")) <
        1e-9);
  const Loss<B> loss = model.loss(tape, forward, step);
  const Var<B> total = loss.total();
  const LossValues values = loss_values(loss, total);
  const auto& expected = m.at("losses");
  CHECK(values.total == doctest::Approx(expected.at("total").get<double>()).epsilon(1e-9));
  CHECK(values.at("bpr") == doctest::Approx(expected.at("bpr_sum").get<double>()).epsilon(1e-9));
  CHECK(values.at("contrast") / c.cl_weight ==
        doctest::Approx(expected.at("contrast_sum").get<double>()).epsilon(1e-9));
  CHECK(values.at("orthogonal") / c.ort_weight ==
        doctest::Approx(expected.at("orthogonal_sum").get<double>()).epsilon(1e-9));
  CHECK(values.at("l2") / c.l2_weight == doctest::Approx(expected.at("l2_sum").get<double>()).epsilon(1e-9));
  tape.backward(total);
  model.parameters().for_each([&](const auto& p) {
    CAPTURE(p.name);
    if (!p.trainable) return;
    CHECK(has_gradient(p));
    const auto file = dir / ("grad." + case_name(p.name) + ".npy");
    CHECK(relative_error<double>(gradient_of(p).view(), read_doubles(file)) < 1e-9);
  });
}

}  // namespace

TEST_CASE("paper variant, double: representation, losses, gradients") {
  const auto folders = case_folders("REARM_PARITY_PAPER_DIR", "parity_paper");
  REARM_SKIP_UNLESS(!folders.empty(), "parity folders for the paper model");
  for (const auto& dir : folders) check_case(dir);
}

}  // namespace parity_paper_model_test
