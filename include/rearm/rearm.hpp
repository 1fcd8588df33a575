#pragma once
/// @file rearm.hpp
/// Everything that runs on the CPU.

#include <rearm/backend/cpu/co_occurrence.hpp>
#include <rearm/backend/cpu/cpu_backend.hpp>
#include <rearm/backend/cpu/user_knn.hpp>
#include <rearm/data/formats/folder.hpp>
#include <rearm/data/formats/json_lines.hpp>
#include <rearm/data/item_features.hpp>
#include <rearm/data/load_dataset.hpp>
#include <rearm/data/prepare.hpp>
#include <rearm/data/statistics.hpp>
#include <rearm/data/synthetic.hpp>
#include <rearm/data/write_dataset.hpp>
#include <rearm/eval/candidates.hpp>
#include <rearm/eval/popularity.hpp>
#include <rearm/eval/significance.hpp>
#include <rearm/eval/slices.hpp>
#include <rearm/graph/shared_users.hpp>
#include <rearm/io/atomic_folder.hpp>
#include <rearm/models/all.hpp>
#include <rearm/models/rearm/choose_weights.hpp>
#include <rearm/run/explain.hpp>
#include <rearm/run/ids.hpp>
#include <rearm/run/match.hpp>
#include <rearm/run/new_items.hpp>
#include <rearm/run/new_users.hpp>
#include <rearm/run/search.hpp>
#include <rearm/run/train.hpp>
#include <rearm/train/gradient_check.hpp>
#include <rearm/version.hpp>
