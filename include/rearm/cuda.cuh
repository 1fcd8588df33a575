#pragma once
/// @file cuda.cuh
/// Everything that runs on a GPU.

#include <rearm/backend/cuda/batch_source.cuh>
#include <rearm/backend/cuda/cuda_backend.cuh>
#include <rearm/backend/cuda/graph_builders.cuh>
#include <rearm/backend/cuda/ranking.cuh>
#include <rearm/backend/cuda/step_replay.cuh>
#include <rearm/data/load_dataset.hpp>
#include <rearm/data/synthetic.hpp>
#include <rearm/models/all.hpp>
#include <rearm/run/train.hpp>
#include <rearm/version.hpp>
