#pragma once
/// @file rearm.hpp
/// Everything that runs on the CPU.

#include <rearm/backend/cpu/co_occurrence.hpp>
#include <rearm/backend/cpu/cpu_backend.hpp>
#include <rearm/backend/cpu/user_knn.hpp>
#include <rearm/data/load_dataset.hpp>
#include <rearm/data/synthetic.hpp>
#include <rearm/eval/popularity.hpp>
#include <rearm/models/all.hpp>
#include <rearm/run/train.hpp>
#include <rearm/version.hpp>
