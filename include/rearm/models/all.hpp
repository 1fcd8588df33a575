#pragma once
/// @file all.hpp
/// The list of models. A new one is a header of its own and a line here: programs, the contract's tests and the names
/// in messages follow.

#include <rearm/models/ape_gnn.hpp>
#include <rearm/models/bm3.hpp>
#include <rearm/models/bpr_mf.hpp>
#include <rearm/models/diffmm.hpp>
#include <rearm/models/dragon.hpp>
#include <rearm/models/dual_gnn.hpp>
#include <rearm/models/freedom.hpp>
#include <rearm/models/grcn.hpp>
#include <rearm/models/lattice.hpp>
#include <rearm/models/lgmrec.hpp>
#include <rearm/models/light_gcn.hpp>
#include <rearm/models/mgcn.hpp>
#include <rearm/models/mgdn.hpp>
#include <rearm/models/micro.hpp>
#include <rearm/models/mig_gt.hpp>
#include <rearm/models/mmgcn.hpp>
#include <rearm/models/rearm/rearm.hpp>
#include <rearm/models/slmrec.hpp>
#include <rearm/models/vbpr.hpp>

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rearm::REARM_ABI {

/// Class templates of one parameter, the backend, each a `Recommender`.
template <template <class> class... M>
struct Models {};

// clang-format off
using AllModels = Models<
    BprMf,
    LightGcn,
    Mgcn,
    Vbpr,
    Bm3,
    Freedom,
    ApeGnn,
    Lattice,
    Micro,
    LgmRec,
    SlmRec,
    DualGnn,
    Dragon,
    Mgdn,
    MigGt,
    DiffMm,
    Mmgcn,
    Grcn,
    Model>;
// clang-format on

/// A backend by declaration only: what it takes to name a model's settings where no backend is chosen yet.
struct NoBackend {
  using Scalar = float;
  using Memory = HostMemory;
  struct Resources {};
  struct Options {};
  static constexpr Index cached_bytes = 0;
  static std::string_view name();
  template <class F>
  static void for_each(Context<NoBackend>&, Index, const F&);
  template <class F>
  static void reduce_rows(Context<NoBackend>&, Index, const F&, const RowSums<float>&);
  static void gemm(Context<NoBackend>&, Op, Op, float, ConstView<float>, ConstView<float>, MatrixView<float>, Write);
  static IndexList index_list(Context<NoBackend>&, std::span<const Id>, Index);
  template <class F>
  static void spmm(Context<NoBackend>&, const CsrView<float>&, ConstView<float>, MatrixView<float>, Write, const F&);
};

/// A model's name and settings, the same on every backend.
template <template <class> class M>
inline constexpr std::string_view model_name = M<NoBackend>::name;
template <template <class> class M>
using ModelConfig = typename M<NoBackend>::Config;

namespace detail {

template <template <class> class... M>
std::vector<std::string> names_of(Models<M...>) {
  return {std::string(model_name<M>)...};
}

template <template <class> class First, template <class> class... Rest, class F>
decltype(auto) find_model(Models<First, Rest...>, [[maybe_unused]] std::string_view name, const F& f) {
  if constexpr (sizeof...(Rest) > 0)
    if (name != model_name<First>) return find_model(Models<Rest...>(), name, f);
  return f.template operator()<First>();
}

}  // namespace detail

/// In the order of the list.
template <class List = AllModels>
std::vector<std::string> model_names() {
  return detail::names_of(List());
}

/// `f.operator()<M>()` of the model with that name; its result, of one type for all models:
///
///     with_model<AllModels>("light_gcn", [&]<template <class> class M>() { train<M>(settings); });
///
/// Throws ConfigError listing the names when there is none.
template <class List, class F>
decltype(auto) with_model(std::string_view name, const F& f) {
  std::string all;
  bool known = false;
  for (const std::string& model : model_names<List>()) {
    known = known || model == name;
    all += (all.empty() ? "" : ", ") + model;
  }
  if (!known) throw ConfigError(detail::message("model = '", name, "': must be one of ", all));
  return detail::find_model(List(), name, f);
}

}  // namespace rearm::REARM_ABI
