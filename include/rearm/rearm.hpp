#pragma once
/// @file rearm.hpp
/// Everything that runs on the CPU.

#include <rearm/backend/cpu/cpu_backend.hpp>
#include <rearm/backend/cpu/ranking.hpp>
#include <rearm/data/synthetic.hpp>
#include <rearm/eval/popularity.hpp>
#include <rearm/graph/graphs.hpp>
#include <rearm/model/model_file.hpp>
#include <rearm/model/rearm.hpp>
#include <rearm/train/trainer.hpp>
#include <rearm/version.hpp>
