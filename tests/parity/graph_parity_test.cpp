#include <rearm/backend/cpu/co_occurrence.hpp>
#include <rearm/backend/cpu/cpu_backend.hpp>
#include <rearm/backend/cpu/user_knn.hpp>
#include <rearm/models/rearm/homographs.hpp>

#include <tests/graph/random_data.hpp>
#include <tests/support/shared.hpp>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <cmath>
#include <fstream>
#include <string>
#include <utility>

namespace parity_graph_parity_test {

using namespace rearm;
using namespace rearm::test;

namespace {

Dense load_dense(const std::filesystem::path& file) {
  const auto array = read_npy<double>(file);
  Dense out(array.shape.at(0), array.shape.at(1));
  std::ranges::copy(array.values, out.data());
  return out;
}

struct ParityCase {
  std::filesystem::path dir;
  nlohmann::json manifest;
  Dataset data;
  RearmConfig config;

  explicit ParityCase(const std::filesystem::path& folder) : dir(folder) {
    std::ifstream in(dir / "manifest.json");
    manifest = nlohmann::json::parse(in);
    data.name = dir.filename().string();
    data.n_users = manifest.at("n_users").get<Index>();
    data.n_items = manifest.at("n_items").get<Index>();
    const auto train = read_npy<std::int64_t>(dir / "train.npy");
    const auto pairs = static_cast<std::size_t>(train.shape.at(1));
    for (std::size_t e = 0; e < pairs; ++e) {
      data.train.users.push_back(static_cast<Id>(train.values[e]));
      data.train.items.push_back(static_cast<Id>(train.values[pairs + e]));
    }
    for (const char* name : {"image", "text"})
      data.modalities.push_back(
          {name, "synthetic", FeatureMatrix::open(dir / (std::string(name) + "_feat.npy")), std::nullopt});
    config.users.k = manifest.at("user_knn_k").get<int>();
    config.items.k = manifest.at("item_knn_k").get<int>();
    config.users.co_weight = manifest.at("uu_co_weight").get<double>();
    config.items.co_weight = manifest.at("ii_co_weight").get<double>();
  }
  Dense array(const std::string& name) const { return load_dense(dir / (name + ".npy")); }
};

/// Where ties and padding leave no choice the rows are equal; elsewhere only what every choice has in common is asked.
void check_co_occurrence(const Dense& ours, const Dense& theirs, const Dense& counts, Index k) {
  Index determined = 0;
  for (Index i = 0; i < counts.rows(); ++i) {
    const auto order = naive_order(counts, i);
    const double least = counts(i, order[static_cast<std::size_t>(k - 1)]);
    const double next = k < counts.cols() ? counts(i, order[static_cast<std::size_t>(k)]) : 0.0;
    const bool equal = least > 0 && least > next;
    determined += equal ? 1 : 0;
    double sum = 0;
    for (Index j = 0; j < counts.cols(); ++j) {
      sum += ours(i, j);
      if (equal || (least > 0 && counts(i, j) > least)) CHECK(std::abs(ours(i, j) - theirs(i, j)) < 1e-6);
      if (counts(i, order[0]) > 0 && (counts(i, j) < least || counts(i, j) == 0)) {
        CHECK(ours(i, j) == 0);
        CHECK(theirs(i, j) == 0);
      }
      // A short row has all its neighbors, however the padding fell.
      if (least == 0 && counts(i, j) > 0) CHECK(ours(i, j) > 0);
    }
    CHECK(std::abs(sum - 1) < 1e-6);
  }
  MESSAGE(determined, " of ", counts.rows(), " co-occurrence rows are determined");
}

template <class T>
void check_reference(const ParityCase& c) {
  Context<CpuBackend<T>> ctx({.threads = 2});
  RearmConfig config = c.config;
  const double v_u = c.manifest.at("u_image_weight").template get<double>();
  const double v_i = c.manifest.at("i_image_weight").template get<double>();
  config.users.modality_weights = {v_u, 1 - v_u};
  config.items.modality_weights = {v_i, 1 - v_i};
  const Adjacency by_user = items_by_user(c.data.train, c.data.n_users);
  const Adjacency by_item = users_by_item(c.data.train, c.data.n_items);
  const Dense counts_u = c.array("user_cooccurrence_counts"), counts_i = c.array("item_cooccurrence_counts");
  CHECK(max_difference(to_dense(co_occurrence_counts(ctx, by_user, by_item)), counts_u) == 0);
  CHECK(max_difference(to_dense(co_occurrence_counts(ctx, by_item, by_user)), counts_i) == 0);
  CHECK(max_difference(to_double(user_mean_features(ctx, by_user, c.data.modalities[0].features)),
                       c.array("user_visual_interest")) < 1e-6);
  CHECK(max_difference(to_double(user_mean_features(ctx, by_user, c.data.modalities[1].features)),
                       c.array("user_text_interest")) < 1e-6);

  // gram_bytes = 0 forbids the way through the items.
  for (const std::size_t gram_bytes : {std::size_t{0}, std::size_t{1} << 30}) {
    GraphOptions options;
    options.gram_bytes = gram_bytes;
    config.use_co = false;
    config.use_sim = true;
    const auto similarity = build_graphs(ctx, c.data, config, options);
    CHECK(max_difference(to_dense(similarity.interaction.matrix()), c.array("graph_interaction_norm")) < 1e-6);
    CHECK(max_difference(to_dense(similarity.user_homograph.matrix()), c.array("graph_user_interest")) < 1e-6);
    CHECK(max_difference(to_dense(similarity.item_homograph.matrix()), c.array("graph_item_semantic")) < 1e-6);

    for (const bool user : {true, false}) {
      const Dense theirs = c.array(user ? "graph_user_cooccurrence" : "graph_item_cooccurrence");
      const double w = user ? config.users.co_weight : config.items.co_weight;
      detail::CsrBuilder builder(theirs.rows(), theirs.size());
      for (Index i = 0; i < theirs.rows(); ++i) {
        std::vector<std::pair<Id, double>> row;
        for (Index j = 0; j < theirs.cols(); ++j)
          if (theirs(i, j) != 0) row.emplace_back(static_cast<Id>(j), theirs(i, j));
        builder.add_row(row);
      }
      const Csr<double> co = std::move(builder).finish(theirs.cols());
      const Csr<double> s = cast<double>((user ? similarity.user_homograph : similarity.item_homograph).matrix());
      const WeightedGraph parts[] = {{w, &co}, {1 - w, &s}};
      CHECK(max_difference(to_dense(fuse(theirs.rows(), parts)), c.array(user ? "graph_user" : "graph_item")) < 1e-6);
    }
  }
  config.use_co = true;
  config.use_sim = false;
  const auto co = build_graphs(ctx, c.data, config);
  check_co_occurrence(to_dense(co.user_homograph.matrix()), c.array("graph_user_cooccurrence"), counts_u,
                      config.users.k);
  check_co_occurrence(to_dense(co.item_homograph.matrix()), c.array("graph_item_cooccurrence"), counts_i,
                      config.items.k);
}

}  // namespace

TEST_CASE("graphs equal those of the authors' program") {
  const auto folders = case_folders("REARM_PARITY_DIR", "parity");
  REARM_SKIP_UNLESS(!folders.empty(), "parity cases of the authors' program");
  for (const auto& folder : folders) {
    CAPTURE(folder.string());
    const ParityCase c(folder);
    check_reference<float>(c);
    check_reference<double>(c);
  }
}

TEST_CASE("graphs equal those of the paper's equations") {
  const auto folders = case_folders("REARM_PARITY_PAPER_DIR", "parity_paper");
  REARM_SKIP_UNLESS(!folders.empty(), "parity cases of the paper's equations");
  for (const auto& folder : folders) {
    CAPTURE(folder.string());
    ParityCase c(folder);
    c.config.variant = Variant::paper;
    c.config.features.kind = Features::frozen;
    const auto weights = [&](const char* field) {
      const auto& w = c.manifest.at(field);
      return std::vector<double>{w.at("v").get<double>(), w.at("t").get<double>()};
    };
    c.config.users.modality_weights = weights("user_modality_weights");
    c.config.items.modality_weights = weights("item_modality_weights");
    Context<CpuBackend<double>> ctx({.threads = 2});
    const auto graphs = build_graphs(ctx, c.data, c.config);
    CHECK(max_difference(to_dense(graphs.interaction.matrix()), c.array("graph_interaction_norm")) < 1e-12);
    CHECK(max_difference(to_dense(graphs.user_homograph.matrix()), c.array("graph_user")) < 1e-9);
    CHECK(max_difference(to_dense(graphs.item_homograph.matrix()), c.array("graph_item")) < 1e-9);
  }
}

}  // namespace parity_graph_parity_test
