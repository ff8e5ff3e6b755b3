#include <pybind11/stl.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "bindings.hpp"
#include "numpy.hpp"
#include "side_data.hpp"
#include "specs.hpp"
#include "twotower/base/check.hpp"
#include "twotower/model/two_tower.hpp"
#include "twotower/train/trainer.hpp"

namespace twotower::bindings {
namespace {

using Model = model::TwoTower<float>;
using train::Trainer;

train::TrainerSpec trainer_spec(Index batch_size, Index group_size, double logq_strength, double user_balance, Index negatives,
                                double popularity_share, const std::string& optimizer, double weight_decay,
                                const std::string& schedule, double learning_rate, double warmup_share, double final_share,
                                Index epochs, std::uint64_t seed, const std::string& history, Index max_length,
                                double first_session_weight) {
  train::TrainerSpec spec;
  spec.batches = {batch_size,
                  group_size,
                  logq_strength,
                  user_balance,
                  {negatives, popularity_share},
                  history_named(history, "Trainer"),
                  max_length,
                  first_session_weight};
  spec.optimizer.kind = optimizer_named(optimizer, "Trainer");
  spec.optimizer.weight_decay = weight_decay;
  spec.schedule = {schedule_named(schedule, "Trainer"), learning_rate, warmup_share, final_share};
  spec.epochs = epochs;
  spec.seed = seed;
  return spec;
}

/// Named arrays: "steps", and for the arena and each table its moments, where the kind has them.
py::dict state_of(Trainer& self, const Model& model) {
  const auto state = self.optimizer().state();
  py::dict named_arrays;
  named_arrays["steps"] = copy_of<std::int64_t>(std::span(&state.steps, 1));
  const auto add = [&](const std::string& name, const Matrix<float>& values) {
    if (values.size() == 0) return;
    auto array = new_matrix<float>(values.rows(), values.cols());
    rows_of(array) = values;
    named_arrays[py::str(name)] = array;
  };
  for (std::size_t k = 0; k < state.first.size(); ++k) {
    const std::string name = k == 0 ? "arena" : "table." + model.parameters().tables[k - 1].name;
    add(name + ".first", state.first[k]);
    add(name + ".second", state.second[k]);
  }
  return named_arrays;
}

void set_state(Trainer& self, const Model& model, const py::dict& named_arrays) {
  train::OptimizerState<float> state;
  if (!named_arrays.contains("steps")) fail("set_optimizer_state", "'steps' is missing");
  const auto steps = vector_of<std::int64_t>(named_arrays["steps"], "set_optimizer_state", "steps");
  check_size("set_optimizer_state", "size of steps", std::ssize(steps), "1", 1);
  state.steps = steps[0];
  const auto found = [&](const std::string& name) -> Matrix<float> {
    if (!named_arrays.contains(name)) return {};
    return matrix_of<float>(named_arrays[py::str(name)], "set_optimizer_state", name.c_str());
  };
  for (std::size_t k = 0; k <= model.parameters().tables.size(); ++k) {
    const std::string name = k == 0 ? "arena" : "table." + model.parameters().tables[k - 1].name;
    state.first.push_back(found(name + ".first"));
    state.second.push_back(found(name + ".second"));
  }
  self.optimizer().resume(state);
}

/// A trainer, and what it looks at.
struct BoundTrainer {
  py::object model, users, items, interactions, lists;
  std::optional<data::ItemLists> list_views;
  std::unique_ptr<Trainer> trainer;

  const Model& of() const { return model.cast<const Model&>(); }
};

std::unique_ptr<BoundTrainer> make_trainer(const py::object& model, const py::object& users, const py::object& items,
                                           const py::object& interactions, train::TrainerSpec spec, const py::object& lists,
                                           const py::object& trainable_items) {
  auto made = std::make_unique<BoundTrainer>(BoundTrainer{model, users, items, interactions, lists, {}, {}});
  if (const auto mask = optional_vector_of<std::uint8_t>(trainable_items, "Trainer", "trainable_items"))
    spec.trainable_items.assign(mask->begin(), mask->end());
  if (!lists.is_none()) made->list_views = item_lists(lists, "Trainer", "lists");
  Model& target = model.cast<Model&>();
  const model::SideData &queries = users.cast<const BoundSide&>().data, &catalogue = items.cast<const BoundSide&>().data;
  const auto& pairs = interactions.cast<const data::Interactions&>();
  const data::ItemLists* views = made->list_views ? &*made->list_views : nullptr;
  const py::gil_scoped_release release;
  made->trainer = std::make_unique<Trainer>(target, queries, catalogue, pairs, spec, views);
  return made;
}

void bind_trainer(py::module_& m) {
  py::class_<BoundTrainer>(m, "Trainer",
                           "Trains a TwoTower some steps at a time; Python keeps the bar, the clock and the best state.")
      .def(py::init([](const py::object& model, const py::object& users, const py::object& items, const py::object& interactions,
                       Index batch_size, Index group_size, double logq_strength, double user_balance, Index negatives,
                       double popularity_share, const std::string& optimizer, double weight_decay, const std::string& schedule,
                       double learning_rate, double warmup_share, double final_share, Index epochs, std::uint64_t seed,
                       const std::string& history, Index max_length, double first_session_weight, const py::object& lists,
                       const py::object& trainable_items) {
             return make_trainer(model, users, items, interactions,
                                 trainer_spec(batch_size, group_size, logq_strength, user_balance, negatives, popularity_share,
                                              optimizer, weight_decay, schedule, learning_rate, warmup_share, final_share, epochs,
                                              seed, history, max_length, first_session_weight),
                                 lists, trainable_items);
           }),
           py::arg("model"), py::arg("users"), py::arg("items"), py::arg("interactions"), py::kw_only(), py::arg("batch_size"),
           py::arg("group_size"), py::arg("logq_strength"), py::arg("user_balance"), py::arg("negatives"),
           py::arg("popularity_share"), py::arg("optimizer"), py::arg("weight_decay"), py::arg("schedule"),
           py::arg("learning_rate"), py::arg("warmup_share"), py::arg("final_share"), py::arg("epochs"), py::arg("seed"),
           py::arg("history") = "none", py::arg("max_length") = 50, py::arg("first_session_weight") = 1.0,
           py::arg("lists") = py::none(), py::arg("trainable_items") = py::none())
      .def_property_readonly("steps_per_epoch", [](const BoundTrainer& self) { return self.trainer->steps_per_epoch(); })
      .def_property_readonly("total_steps", [](const BoundTrainer& self) { return self.trainer->total_steps(); })
      .def_property_readonly("step", [](const BoundTrainer& self) { return self.trainer->step(); })
      .def_property_readonly("learning_rate", [](const BoundTrainer& self) { return self.trainer->learning_rate(); })
      .def(
          "run_steps",
          [](BoundTrainer& self, Index count, int num_threads) {
            const train::Progress progress = [&] {
              const py::gil_scoped_release release;
              return self.trainer->run_steps(count, Threads(num_threads));
            }();
            return py::make_tuple(progress.steps, progress.examples, progress.loss);
          },
          py::arg("count"), py::arg("num_threads") = -1, "Runs up to count steps: (steps, examples, mean loss).")
      .def(
          "finish",
          [](BoundTrainer& self, int num_threads) {
            const py::gil_scoped_release release;
            self.trainer->finish(Threads(num_threads));
          },
          py::arg("num_threads") = -1, "Brings all parameters up to the last step.")
      .def(
          "optimizer_state", [](BoundTrainer& self) { return state_of(*self.trainer, self.of()); },
          "What the optimizer remembers, by name; call it after finish().")
      .def(
          "set_optimizer_state", [](BoundTrainer& self, const py::dict& state) { set_state(*self.trainer, self.of(), state); },
          py::arg("state"), "Goes on from another training; tables may have fewer rows there.");
}

}  // namespace

void bind_train(py::module_& m) { bind_trainer(m); }

}  // namespace twotower::bindings
