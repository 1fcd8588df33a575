#pragma once
/// @file map.hpp
/// Elementwise functions of one variable.

#include <rearm/core/context.hpp>
#include <rearm/functors/map.hpp>

namespace rearm::REARM_ABI {

/// y_ij = f(x_ij) with f from functors/map.hpp or a struct of your own like those. x and y have the same shape
/// (ShapeError); y may be x.
template <class F, Backend B>
void map(Context<B>& ctx, In<B> x, Out<B> y, const F& f = {}) {
  detail::require_shape(y, x.rows, x.cols, "map", "output");
  B::for_each(ctx, x.rows, functors::MapRow<Real<B>, F>{f, x, y});
}

/// d_x_ij (+)= d_y_ij f'(x_ij), from the forward's x and y.
template <class F, Backend B>
void map_backward(Context<B>& ctx, In<B> x, In<B> y, In<B> d_y, Into<Real<B>> d_x, const F& f = {}) {
  detail::require_shape(d_x.view, x.rows, x.cols, "map_backward", "d_x");
  B::for_each(ctx, x.rows, functors::MapBackwardRow<Real<B>, F>{f, x, y, d_y, d_x});
}

}  // namespace rearm::REARM_ABI
