#include <pybind11/stl.h>

#include <algorithm>
#include <memory>

#include "bindings.hpp"
#include "numpy.hpp"
#include "twotower/base/check.hpp"
#include "twotower/model/two_tower.hpp"
#include "twotower/train/trainer.hpp"

namespace twotower::bindings {
namespace {

using Model = model::TwoTower<float>;
using model::Input;
using model::Join;
using train::OptimizerKind;
using train::ScheduleKind;
using train::Trainer;

// --- specifications: plain data, made by name ---------------------------------------------------------------------------

/// A layer, made by one of the named constructors.
struct LayerSpec {
  nn::Layer layer;
};

void bind_specs(py::module_& m) {
  py::class_<LayerSpec>(m, "Layer", "One layer of a tower.")
      .def_static(
          "dense", [](Index inputs, Index outputs) { return LayerSpec{nn::Dense{inputs, outputs}}; }, py::arg("in_width"),
          py::arg("out_width"))
      .def_static(
          "relu", [](Index width) { return LayerSpec{nn::Relu{width}}; }, py::arg("width"))
      .def_static(
          "gelu", [](Index width) { return LayerSpec{nn::Gelu{width}}; }, py::arg("width"))
      .def_static(
          "layer_norm", [](Index width) { return LayerSpec{nn::LayerNorm{width}}; }, py::arg("width"))
      .def_static(
          "l2_normalize", [](Index width) { return LayerSpec{nn::L2Normalize{width}}; }, py::arg("width"))
      .def_static(
          "dropout",
          [](Index width, double keep_probability, std::uint64_t stream) {
            return LayerSpec{nn::Dropout{width, keep_probability, stream}};
          },
          py::arg("width"), py::arg("keep_probability"), py::arg("stream"));

  py::class_<Input>(m, "Input", "One column's way into a tower's joined vector.")
      .def_static(
          "embedding", [](Index column, Index table, Index width) { return Input{column, table, nn::Embedding{width}}; },
          py::arg("column"), py::arg("table"), py::arg("width"))
      .def_static(
          "bag",
          [](Index column, Index table, Index width, const std::string& pooling) {
            const auto kind = pooling == "sum" ? nn::Pooling::kSum : pooling == "sqrt" ? nn::Pooling::kSqrtN : nn::Pooling::kMean;
            if (kind == nn::Pooling::kMean && pooling != "mean")
              fail("Input", "pooling is '" + pooling + "', but must be 'mean', 'sum' or 'sqrt'");
            return Input{column, table, nn::Bag{width, kind}};
          },
          py::arg("column"), py::arg("table"), py::arg("width"), py::arg("pooling"))
      .def_static(
          "numeric", [](Index column, Index width) { return Input{column, -1, nn::Numeric{width}}; }, py::arg("column"),
          py::arg("width"));

  py::class_<model::TowerSpec>(m, "Tower", "Inputs, how they are joined, and the layers above.")
      .def(py::init([](std::vector<Input> inputs, bool concatenate, Index width, const std::vector<LayerSpec>& layers) {
             std::vector<nn::Layer> plain;
             for (const LayerSpec& spec : layers) plain.push_back(spec.layer);
             return model::TowerSpec{std::move(inputs), concatenate ? Join::kConcatenate : Join::kSum,
                                     nn::Sequential(width, std::move(plain))};
           }),
           py::kw_only(), py::arg("inputs"), py::arg("concatenate"), py::arg("width"), py::arg("layers"));
}

template <class Kind>
Kind named(const std::vector<std::pair<std::string, Kind>>& kinds, const std::string& name, const char* function,
           const char* argument) {
  std::string known;
  for (const auto& [word, kind] : kinds) {
    if (word == name) return kind;
    known += (known.empty() ? "'" : ", '") + word + "'";
  }
  fail(function, std::string(argument) + " is '" + name + "', but must be one of " + known);
}

// --- the model ----------------------------------------------------------------------------------------------------------

py::dict parameters_of(const Model& self) {
  const auto& parameters = self.parameters();
  py::dict named_arrays;
  named_arrays["arena"] = copy_of<float>(parameters.arena);
  for (const auto& table : parameters.tables) {
    auto values = new_matrix<float>(table.values.rows(), table.values.cols());
    rows_of(values) = table.values;
    named_arrays[py::str("table." + table.name)] = values;
  }
  return named_arrays;
}

void set_parameters(Model& self, const py::dict& named_arrays) {
  auto& parameters = self.parameters();
  const auto find = [&](const std::string& name) -> py::object {
    if (!named_arrays.contains(name)) fail("set_parameters", "'" + name + "' is missing");
    return named_arrays[py::str(name)];
  };
  const auto arena = vector_of<float>(find("arena"), "set_parameters", "arena");
  check_size("set_parameters", "size of arena", std::ssize(arena), "the model's", std::ssize(parameters.arena));
  std::vector<ConstRowMap<float>> tables;
  for (const auto& table : parameters.tables) {
    const std::string name = "table." + table.name;
    tables.push_back(matrix_of<float>(find(name), "set_parameters", name.c_str()));
    check_size("set_parameters", "rows of " + name, tables.back().rows(), "the model's", table.values.rows());
    check_size("set_parameters", "columns of " + name, tables.back().cols(), "the model's", table.values.cols());
  }
  std::copy(arena.begin(), arena.end(), parameters.arena.begin());
  for (std::size_t k = 0; k < tables.size(); ++k) parameters.tables[k].values = tables[k];
}

using Encode = void (Model::*)(const data::FeatureTable&, std::span<const Row>, Rows<float>, const Threads&) const;

template <Encode encode>
py::array_t<float> vectors(const Model& self, const data::FeatureTable& features, const py::object& rows, int num_threads) {
  const auto wanted = vector_of<Row>(rows, "TwoTower", "rows");
  auto out = new_matrix<float>(std::ssize(wanted), self.vector_width());
  auto map = rows_of(out);
  const py::gil_scoped_release release;
  (self.*encode)(features, wanted, map, Threads(num_threads));
  return out;
}

void bind_model(py::module_& m) {
  py::class_<Model>(m, "TwoTower", "Two towers and their parameters (float32).")
      .def(py::init([](const model::TowerSpec& query, const model::TowerSpec& item,
                       const std::vector<std::tuple<std::string, Index, Index>>& tables, double temperature, bool item_bias,
                       Index num_items, double deviation, std::uint64_t seed) {
             model::TwoTowerSpec spec{query, item, {}, temperature, item_bias, num_items, deviation, seed};
             for (const auto& [name, rows, width] : tables) spec.tables.push_back({name, rows, width});
             const py::gil_scoped_release release;
             return std::make_unique<Model>(spec);
           }),
           py::kw_only(), py::arg("query"), py::arg("item"), py::arg("tables"), py::arg("temperature"), py::arg("item_bias"),
           py::arg("num_items"), py::arg("deviation"), py::arg("seed"))
      .def_property_readonly("vector_width", &Model::vector_width)
      .def("parameters", &parameters_of, "Copies of all parameters by name.")
      .def("set_parameters", &set_parameters, py::arg("parameters"))
      .def("query_vectors", &vectors<&Model::query_vectors>, py::arg("features"), py::arg("rows"), py::arg("num_threads") = -1)
      .def("item_vectors", &vectors<&Model::item_vectors>, py::arg("features"), py::arg("rows"), py::arg("num_threads") = -1);
}

// --- the trainer --------------------------------------------------------------------------------------------------------

train::TrainerSpec trainer_spec(Index batch_size, Index group_size, double logq_strength, double user_balance, Index negatives,
                                double popularity_share, const std::string& optimizer, double weight_decay,
                                const std::string& schedule, double learning_rate, double warmup_share, double final_share,
                                Index epochs, std::uint64_t seed) {
  static const std::vector<std::pair<std::string, OptimizerKind>> optimizers{{"adam", OptimizerKind::kAdam},
                                                                             {"lazy_adam", OptimizerKind::kLazyAdam},
                                                                             {"adagrad", OptimizerKind::kAdagrad},
                                                                             {"rowwise_adagrad", OptimizerKind::kRowwiseAdagrad},
                                                                             {"sgd", OptimizerKind::kSgd}};
  static const std::vector<std::pair<std::string, ScheduleKind>> schedules{
      {"constant", ScheduleKind::kConstant}, {"linear", ScheduleKind::kLinear}, {"cosine", ScheduleKind::kCosine}};
  train::TrainerSpec spec;
  spec.batches = {batch_size, group_size, logq_strength, user_balance, {negatives, popularity_share}};
  spec.optimizer.kind = named(optimizers, optimizer, "Trainer", "optimizer");
  spec.optimizer.weight_decay = weight_decay;
  spec.schedule = {named(schedules, schedule, "Trainer", "schedule"), learning_rate, warmup_share, final_share};
  spec.epochs = epochs;
  spec.seed = seed;
  return spec;
}

void bind_trainer(py::module_& m) {
  py::class_<Trainer>(m, "Trainer", "Trains a TwoTower some steps at a time; Python keeps the bar, the clock and the best state.")
      .def(py::init([](Model& model, const data::FeatureTable& users, const data::FeatureTable& items,
                       const data::Interactions& interactions, Index batch_size, Index group_size, double logq_strength,
                       double user_balance, Index negatives, double popularity_share, const std::string& optimizer,
                       double weight_decay, const std::string& schedule, double learning_rate, double warmup_share,
                       double final_share, Index epochs, std::uint64_t seed) {
             const auto spec =
                 trainer_spec(batch_size, group_size, logq_strength, user_balance, negatives, popularity_share, optimizer,
                              weight_decay, schedule, learning_rate, warmup_share, final_share, epochs, seed);
             const py::gil_scoped_release release;
             return std::make_unique<Trainer>(model, users, items, interactions, spec);
           }),
           py::keep_alive<1, 2>(), py::keep_alive<1, 3>(), py::keep_alive<1, 4>(), py::keep_alive<1, 5>(), py::arg("model"),
           py::arg("users"), py::arg("items"), py::arg("interactions"), py::kw_only(), py::arg("batch_size"),
           py::arg("group_size"), py::arg("logq_strength"), py::arg("user_balance"), py::arg("negatives"),
           py::arg("popularity_share"), py::arg("optimizer"), py::arg("weight_decay"), py::arg("schedule"),
           py::arg("learning_rate"), py::arg("warmup_share"), py::arg("final_share"), py::arg("epochs"), py::arg("seed"))
      .def_property_readonly("steps_per_epoch", &Trainer::steps_per_epoch)
      .def_property_readonly("total_steps", &Trainer::total_steps)
      .def_property_readonly("step", &Trainer::step)
      .def_property_readonly("learning_rate", &Trainer::learning_rate)
      .def(
          "run_steps",
          [](Trainer& self, Index count, int num_threads) {
            const train::Progress progress = [&] {
              const py::gil_scoped_release release;
              return self.run_steps(count, Threads(num_threads));
            }();
            return py::make_tuple(progress.steps, progress.examples, progress.loss);
          },
          py::arg("count"), py::arg("num_threads") = -1, "Runs up to count steps: (steps, examples, mean loss).")
      .def(
          "finish",
          [](Trainer& self, int num_threads) {
            const py::gil_scoped_release release;
            self.finish(Threads(num_threads));
          },
          py::arg("num_threads") = -1, "Brings all parameters up to the last step.");
}

}  // namespace

void bind_train(py::module_& m) {
  bind_specs(m);
  bind_model(m);
  bind_trainer(m);
}

}  // namespace twotower::bindings
