#pragma once
// Specifications that several bindings read: layers, towers, and how a training goes.
#include <pybind11/pybind11.h>

#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "twotower/base/check.hpp"
#include "twotower/data/batch_plan.hpp"
#include "twotower/model/tables.hpp"
#include "twotower/nn/sequential.hpp"
#include "twotower/train/optimizer.hpp"
#include "twotower/train/schedule.hpp"

namespace twotower::bindings {

/// A layer, made by one of the named constructors.
struct LayerSpec {
  nn::Layer layer;
};

inline nn::Sequential sequential(Index width, const std::vector<LayerSpec>& layers) {
  std::vector<nn::Layer> plain;
  for (const LayerSpec& spec : layers) plain.push_back(spec.layer);
  return nn::Sequential(width, std::move(plain));
}

using TableTuples = std::vector<std::tuple<std::string, Index, Index>>;

inline std::vector<model::TableSpec> table_specs(const TableTuples& tables) {
  std::vector<model::TableSpec> specs;
  for (const auto& [name, rows, width] : tables) specs.push_back({name, rows, width});
  return specs;
}

template <class Kind>
using Kinds = std::vector<std::pair<std::string, Kind>>;

template <class Kind>
Kind named(const Kinds<Kind>& kinds, const std::string& name, const char* function, const char* argument) {
  std::string known;
  for (const auto& [word, kind] : kinds) {
    if (word == name) return kind;
    known += (known.empty() ? "'" : ", '") + word + "'";
  }
  fail(function, std::string(argument) + " is '" + name + "', but must be one of " + known);
}

inline train::OptimizerKind optimizer_named(const std::string& name, const char* function) {
  using train::OptimizerKind;
  static const Kinds<OptimizerKind> kinds{{"adam", OptimizerKind::kAdam},
                                          {"lazy_adam", OptimizerKind::kLazyAdam},
                                          {"adagrad", OptimizerKind::kAdagrad},
                                          {"rowwise_adagrad", OptimizerKind::kRowwiseAdagrad},
                                          {"sgd", OptimizerKind::kSgd}};
  return named(kinds, name, function, "optimizer");
}

inline train::ScheduleKind schedule_named(const std::string& name, const char* function) {
  using train::ScheduleKind;
  static const Kinds<ScheduleKind> kinds{
      {"constant", ScheduleKind::kConstant}, {"linear", ScheduleKind::kLinear}, {"cosine", ScheduleKind::kCosine}};
  return named(kinds, name, function, "schedule");
}

inline data::HistoryMode history_named(const std::string& name, const char* function) {
  using data::HistoryMode;
  static const Kinds<HistoryMode> kinds{{"none", HistoryMode::kNone},
                                        {"others", HistoryMode::kOthers},
                                        {"before", HistoryMode::kBefore},
                                        {"sessions", HistoryMode::kSessions},
                                        {"windows", HistoryMode::kWindows}};
  return named(kinds, name, function, "history");
}

/// Named arrays of all parameters, copied; and back. With `grow` tables may have fewer rows than the model's: see
/// take_known_rows.
pybind11::dict parameters_of(const nn::Parameters<float>& parameters);
void set_parameters(nn::Parameters<float>& parameters, const pybind11::dict& named_arrays, bool grow);

}  // namespace twotower::bindings
