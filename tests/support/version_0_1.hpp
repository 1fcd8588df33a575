#pragma once
/// @file version_0_1.hpp
/// REARM's settings as version 0.1 wrote them: one flat list of forty fields.

#include <rearm/models/rearm/config.hpp>
#include <rearm/run/settings.hpp>

#include <nlohmann/json.hpp>

namespace rearm::test {

inline nlohmann::ordered_json version_0_1_settings(const RearmSettings& s) {
  const RearmConfig& c = s.model;
  const TrainConfig& t = s.train;
  return {{"variant", to_string(c.variant)},
          {"features", to_string(c.features.kind)},
          {"embedding_dim", c.embedding_dim},
          {"n_ui_layers", c.n_ui_layers},
          {"n_uu_layers", c.users.n_layers},
          {"n_ii_layers", c.items.n_layers},
          {"rank", c.rank},
          {"dropout_self", c.dropout_self},
          {"dropout_cross", c.dropout_cross},
          {"user_knn_k", c.users.k},
          {"item_knn_k", c.items.k},
          {"uu_co_weight", c.users.co_weight},
          {"ii_co_weight", c.items.co_weight},
          {"user_modality_weights", c.users.modality_weights},
          {"item_modality_weights", c.items.modality_weights},
          {"use_precomputed_knn", c.use_precomputed_knn},
          {"use_uu", c.users.use},
          {"use_ii", c.items.use},
          {"use_co", c.use_co},
          {"use_sim", c.use_sim},
          {"use_meta", c.use_meta},
          {"use_orthogonal", c.use_orthogonal},
          {"modalities", c.features.modalities},
          {"cl_weight", c.cl_weight},
          {"cl_temperature", c.cl_temperature},
          {"ort_weight", c.ort_weight},
          {"l2_weight", c.l2_weight},
          {"negatives", to_string(t.negatives)},
          {"batch_size", t.batch_size},
          {"learning_rate", t.learning_rate},
          {"weight_decay", t.weight_decay},
          {"residual_learning_rate_scale", c.features.residual_learning_rate_scale},
          {"bfloat16_tables", c.features.bfloat16_tables},
          {"bfloat16_moments", t.bfloat16_moments},
          {"lr_decay", t.lr_decay},
          {"epochs", t.epochs},
          {"patience", t.patience},
          {"eval_every", t.eval_every},
          {"round_validation_metric", t.round_validation_metric},
          {"seed", t.seed}};
}

}  // namespace rearm::test
