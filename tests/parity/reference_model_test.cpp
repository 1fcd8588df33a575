// The reference variant against numbers made with the authors' program: representation, losses, every gradient and the
// parameters after three AdamW steps.
#include <rearm/optim/adamw.hpp>

#include <tests/parity/model_case.hpp>

#include <map>

namespace parity_reference_model_test {

namespace {

using namespace rearm;
using namespace rearm::test;

// Our parameter names and the authors'.
std::map<std::string, std::string> authors_names() {
  std::map<std::string, std::string> names{{"user_id", "user_id_embedding.weight"},
                                           {"item_id", "item_id_embedding.weight"},
                                           {"prelu", "prl.weight"},
                                           {"layer_norm.weight", "ly_norm.weight"},
                                           {"layer_norm.bias", "ly_norm.bias"}};
  const std::pair<const char*, const char*> modalities[] = {{"image", "v"}, {"text", "t"}};
  int number = 0;
  for (const auto& [name, letter] : modalities) {
    const std::string m = name;
    const std::string index = std::to_string(++number);
    names["item_features." + m] = m + "_embedding.weight";
    names["user_features." + m] = std::string("user_") + letter + "_prefer";
    for (const std::string part : {"weight", "bias"}) {
      names["item_projection." + m + "." + part] = m + "_i_trs." + part;
      names["user_projection." + m + "." + part] = m + "_u_trs." + part;
      names["self_attention." + m + ".in_proj." + part] = "self_i_attn" + index + ".in_proj_" + part;
      names["self_attention." + m + ".out_proj." + part] = "self_i_attn" + index + ".out_proj." + part;
      names["cross_attention." + m + ".in_proj." + part] = "mutual_i_attn" + index + ".in_proj_" + part;
      names["cross_attention." + m + ".out_proj." + part] = "mutual_i_attn" + index + ".out_proj." + part;
    }
  }
  for (const std::string side : {"user", "item"}) {
    const std::string letter = side.substr(0, 1);
    for (const std::string part : {"weight", "bias"}) {
      names[side + "_meta.share." + part] = "meta_net" + letter + "." + part;
      for (const std::string g : {"1", "2"}) {
        names[side + "_meta.g" + g + ".hidden." + part] = "mlp_" + letter + g + ".linear_pre." + part;
        names[side + "_meta.g" + g + ".out." + part] = "mlp_" + letter + g + ".linear_out." + part;
        names[side + "_meta.g" + g + ".prelu"] = "mlp_" + letter + g + ".prl.weight";
      }
    }
  }
  return names;
}

RearmSettings case_settings(const nlohmann::json& m) {
  RearmSettings s = preset("baby");
  RearmConfig& c = s.model;
  c.embedding_dim = m.at("embedding_dim");
  c.rank = m.at("rank");
  c.n_ui_layers = m.at("n_ui_layers");
  c.items.n_layers = m.at("n_ii_layers");
  c.users.n_layers = m.at("n_uu_layers");
  c.cl_temperature = m.at("cl_temperature");
  c.cl_weight = m.at("cl_weight");
  c.ort_weight = m.at("ort_weight");
  s.train.weight_decay = m.at("weight_decay");
  s.train.learning_rate = m.at("learning_rate");
  c.dropout_self = c.dropout_cross = m.at("dropout");
  return s;
}

struct Tolerances {
  double representation;
  double loss;
  double gradient;        // of the gradient's norm,
  double gradient_floor;  // or of this fraction of the norm of all gradients: some are zero but for rounding
  double after;
};

double norm(const std::vector<double>& x) {
  double square = 0;
  for (const double value : x) square += value * value;
  return std::sqrt(square);
}

template <Backend B>
void check_gradients(Model<B>& model, const std::filesystem::path& dir, const std::map<std::string, std::string>& names,
                     const Tolerances& tolerance_of) {
  const auto file_of = [&](const auto& p) { return dir / ("grad." + names.at(p.name) + ".npy"); };
  double total = 0;
  model.parameters().for_each([&](const auto& p) {
    if (std::filesystem::exists(file_of(p))) total = std::hypot(total, norm(read_doubles(file_of(p))));
  });
  model.parameters().for_each([&](const auto& p) {
    CAPTURE(p.name);
    CHECK(has_gradient(p) == std::filesystem::exists(file_of(p)));
    if (!has_gradient(p)) return;
    const std::vector<double> expected = read_doubles(file_of(p));
    const double size = norm(expected);
    const double error = relative_error<typename B::Scalar>(gradient_of(p).view(), expected) * size;
    CHECK(error < tolerance_of.gradient * std::max(size, tolerance_of.gradient_floor * total));
  });
}

template <class T>
void check_case(const std::filesystem::path& dir, const Tolerances& tolerance_of) {
  using B = TestBackend<T>;
  CAPTURE(dir.string());
  const nlohmann::json manifest = read_json(dir / "manifest.json");
  const RearmSettings settings = case_settings(manifest);
  const Dataset data = read_case_dataset(dir, manifest);
  Context<B> ctx;
  GraphSet<T> graphs = read_graphs<T>(dir);
  graphs.user_homograph = program_homograph<T>(dir, manifest, true);
  graphs.item_homograph = program_homograph<T>(dir, manifest, false);
  Model<B> model(ctx, data, settings.model, copy_graphs<B>(graphs));
  const auto names = authors_names();
  std::size_t n_parameters = 0;
  model.parameters().for_each([&](auto& p) {
    CAPTURE(p.name);
    assign(p, read_doubles(dir / ("param." + names.at(p.name) + ".npy")));
    ++n_parameters;
  });
  CHECK(n_parameters == manifest.at("parameters").size());

  Tape<B> tape(ctx);
  AdamW<B> optimizer({.learning_rate = settings.train.learning_rate, .weight_decay = settings.train.weight_decay});
  const auto batches = read_npy<Id>(dir / "batches.npy");
  const Index steps = batches.shape[0];
  for (Index step = 0; step < steps; ++step) {
    CAPTURE(step);
    tape.reset();
    const BatchThere batch = read_batch(batches, step);
    const Step<B> of_batch{batch, static_cast<std::uint32_t>(step), true};
    const auto forward = model.forward(tape, of_batch);
    if (step == 0) {
      CHECK(max_difference<T>(to_host(forward.representation).view(), read_doubles(dir / "out.representation.npy")) <
            tolerance_of.representation);
      const std::vector<double> modal = read_doubles(dir / "out.modal_features.npy");
      const Index d = settings.model.embedding_dim;
      double worst = 0;
      for (std::size_t m = 0; m < 2; ++m) {
        const Matrix<T> ours = to_host(forward.modal[m]);
        for (Index i = 0; i < ours.rows(); ++i)
          for (Index j = 0; j < d; ++j)
            worst = std::max(worst, std::abs(static_cast<double>(ours(i, j)) -
                                             modal[static_cast<std::size_t>((2 * i + static_cast<Index>(m)) * d + j)]));
      }
      CHECK(worst < tolerance_of.representation);
    }
    const Loss<B> loss = model.loss(tape, forward, of_batch);
    const Var<B> total = loss.total();
    const LossValues values = loss_values(loss, total);
    const auto& expected = manifest.at("losses").at(static_cast<std::size_t>(step));
    CHECK(values.total == doctest::Approx(expected.at(0).get<double>()).epsilon(tolerance_of.loss));
    CHECK(values.at("bpr") == doctest::Approx(expected.at(1).get<double>()).epsilon(tolerance_of.loss));
    CHECK(values.at("contrast") == doctest::Approx(expected.at(2).get<double>()).epsilon(tolerance_of.loss));
    CHECK(values.at("orthogonal") == doctest::Approx(expected.at(3).get<double>()).epsilon(tolerance_of.loss));
    tape.backward(total);
    if (step == 0) check_gradients(model, dir, names, tolerance_of);
    optimizer.step(ctx, model.parameters());
  }
  model.parameters().for_each([&](const auto& p) {
    CAPTURE(p.name);
    CHECK(max_difference<T>(values_of(p).view(), read_doubles(dir / ("after." + names.at(p.name) + ".npy"))) <
          (p.trainable ? tolerance_of.after : 1e-12));
  });
}

}  // namespace

TEST_CASE("reference variant, double: representation, losses, gradients and three steps") {
  const auto folders = case_folders("REARM_PARITY_DIR", "parity");
  REARM_SKIP_UNLESS(!folders.empty(), "parity folders for the reference model");
  for (const auto& dir : folders) check_case<double>(dir, {1e-8, 1e-8, 1e-8, 1e-6, 1e-8});
}

TEST_CASE("reference variant, float: representation, losses, gradients") {
  const auto folders = case_folders("REARM_PARITY_DIR", "parity");
  REARM_SKIP_UNLESS(!folders.empty(), "parity folders for the reference model");
  // Adam's first steps divide by the gradient's own size: a tiny gradient's rounding moves a weight by up to the rate.
  for (const auto& dir : folders) check_case<float>(dir, {1e-5, 1e-5, 1e-3, 1e-3, 0.05});
}

}  // namespace parity_reference_model_test
