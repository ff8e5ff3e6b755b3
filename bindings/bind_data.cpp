#include "bindings.hpp"
#include "numpy.hpp"
#include "twotower/data/feature_table.hpp"
#include "twotower/data/interactions.hpp"

namespace twotower::bindings {
namespace {

using data::FeatureTable;
using data::Interactions;

void bind_interactions(py::module_& m) {
  py::class_<Interactions>(m, "Interactions", "Pairs of users and items as lists: positives to train on, and everything seen.")
      .def(py::init([](const py::object& user_rows, const py::object& item_rows, const py::object& weights, Index num_users,
                       Index num_items, const py::object& history_weights, const py::object& sessions) {
             const auto users = vector_of<Row>(user_rows, "Interactions", "user_rows");
             const auto items = vector_of<Row>(item_rows, "Interactions", "item_rows");
             const auto weight = optional_vector_of<float>(weights, "Interactions", "weights");
             const auto history_weight = optional_vector_of<float>(history_weights, "Interactions", "history_weights");
             const auto session = optional_vector_of<Row>(sessions, "Interactions", "sessions");
             const py::gil_scoped_release release;
             return std::make_unique<Interactions>(users, items, weight, num_users, num_items, history_weight, session);
           }),
           py::arg("user_rows"), py::arg("item_rows"), py::arg("weights"), py::arg("num_users"), py::arg("num_items"),
           py::arg("history_weights") = py::none(), py::arg("sessions") = py::none())
      .def_property_readonly("num_users", &Interactions::num_queries)
      .def_property_readonly("num_items", &Interactions::num_items)
      .def_property_readonly("num_positives", &Interactions::num_positives)
      .def_property_readonly("positive_offsets",
                             [](const Interactions& self) { return copy_of<std::int64_t>(self.positives().offsets); })
      .def_property_readonly("positive_items", [](const Interactions& self) { return copy_of<Row>(self.positives().items); })
      .def_property_readonly("positive_history_weights",
                             [](const Interactions& self) -> py::object {
                               if (self.history_weights().empty()) return py::none();
                               return copy_of<float>(self.history_weights());
                             })
      .def_property_readonly("seen_offsets", [](const Interactions& self) { return copy_of<std::int64_t>(self.seen().offsets); })
      .def_property_readonly("seen_items", [](const Interactions& self) { return copy_of<Row>(self.seen().items); })
      .def_property_readonly("item_counts", [](const Interactions& self) { return copy_of<double>(self.item_counts()); })
      .def_property_readonly("user_counts", [](const Interactions& self) {
        auto counts = new_vector<std::int64_t>(self.num_queries());
        for (Index query = 0; query < self.num_queries(); ++query)
          counts.mutable_at(query) = std::ssize(self.positives().of(query));
        return counts;
      });
}

void bind_feature_table(py::module_& m) {
  py::class_<FeatureTable>(m, "FeatureTable", "The encoded features of one side, one row an entity.")
      .def(py::init<Index>(), py::arg("num_rows"))
      .def_property_readonly("rows", &FeatureTable::rows)
      .def_property_readonly("columns", &FeatureTable::columns)
      .def(
          "add_codes",
          [](FeatureTable& self, const py::object& codes, Index vocabulary) {
            return self.add_codes(vector_of<Row>(codes, "FeatureTable", "codes"), vocabulary);
          },
          py::arg("codes"), py::arg("vocabulary"))
      .def(
          "add_bags",
          [](FeatureTable& self, const py::object& offsets, const py::object& codes, const py::object& weights,
             Index vocabulary) {
            return self.add_bags(vector_of<std::int64_t>(offsets, "FeatureTable", "offsets"),
                                 vector_of<Row>(codes, "FeatureTable", "codes"),
                                 optional_vector_of<float>(weights, "FeatureTable", "weights"), vocabulary);
          },
          py::arg("offsets"), py::arg("codes"), py::arg("weights"), py::arg("vocabulary"))
      .def(
          "add_vectors",
          [](FeatureTable& self, const py::object& values) {
            return self.add_vectors(matrix_of<float>(values, "FeatureTable", "values"));
          },
          py::arg("values"))
      .def(
          "add_numbers",
          [](FeatureTable& self, const py::object& values) {
            return self.add_numbers(vector_of<float>(values, "FeatureTable", "values"));
          },
          py::arg("values"));
}

}  // namespace

void bind_data(py::module_& m) {
  bind_interactions(m);
  bind_feature_table(m);
}

}  // namespace twotower::bindings
