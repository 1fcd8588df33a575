#pragma once
/// @file ops.hpp
/// The operators on tape variables: each computes its value at once and records its backward pass. Shapes, equations
/// and errors are those of the operator of the same name on views (include/rearm/ops).

#include <rearm/autodiff/batch_norm.hpp>
#include <rearm/autodiff/diffusion.hpp>
#include <rearm/autodiff/edge_attention.hpp>
#include <rearm/autodiff/edge_values.hpp>
#include <rearm/autodiff/linear_ops.hpp>
#include <rearm/autodiff/losses.hpp>
#include <rearm/autodiff/map.hpp>
#include <rearm/autodiff/operators.hpp>
#include <rearm/autodiff/project.hpp>
#include <rearm/autodiff/row_ops.hpp>
#include <rearm/autodiff/sampled.hpp>
#include <rearm/autodiff/zero_gradient.hpp>
