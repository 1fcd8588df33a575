#pragma once
/// @file contrast.hpp
/// Contrast between modalities (REARM eq. 12).

#include <rearm/autodiff/ops.hpp>

#include <span>

namespace rearm::REARM_ABI {

/// InfoNCE of the rows of a against those of b by cosine, summed or (`mean`) averaged over the rows, times weight;
/// averaged over all unordered pairs of the given modalities, a being the earlier. `count`: see InfoNceScale. Fewer
/// than two modalities: an empty Var (no loss).
template <Backend B>
Var<B> modality_contrast(std::span<const Var<B>> modal, double temperature, double weight, bool mean = false,
                         const Index* count = nullptr) {
  using T = Real<B>;
  if (modal.size() < 2) return {};
  const auto n_pairs = static_cast<double>(modal.size() * (modal.size() - 1) / 2);
  const auto scale = info_nce_scale(static_cast<T>(temperature), static_cast<T>(weight / n_pairs), mean, count);
  VarList<B> unit = modal.front().tape().list();
  for (const Var<B>& m : modal) unit.push_back(row_normalize(m, T(1e-12)));
  Var<B> total;
  for (std::size_t a = 0; a < unit.size(); ++a)
    for (std::size_t b = a + 1; b < unit.size(); ++b) {
      const Var<B> loss = info_nce(unit[a], unit[b], scale);
      total = total.empty() ? loss : add(total, loss);
    }
  return total;
}

}  // namespace rearm::REARM_ABI
