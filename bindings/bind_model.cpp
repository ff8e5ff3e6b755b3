#include <pybind11/stl.h>

#include <algorithm>
#include <limits>
#include <memory>
#include <numeric>
#include <optional>

#include "bindings.hpp"
#include "numpy.hpp"
#include "side_data.hpp"
#include "specs.hpp"
#include "twotower/base/check.hpp"
#include "twotower/model/explain.hpp"
#include "twotower/model/two_tower.hpp"

namespace twotower::bindings {
namespace {

using Model = model::TwoTower<float>;
using model::Input;
using model::Join;

// --- specifications: plain data, made by name ---------------------------------------------------------------------------

/// A sequence encoder, made by one of the named constructors.
struct EncoderSpec {
  model::SequenceEncoder encoder;
};

void bind_layers(py::module_& m) {
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
          py::arg("width"), py::arg("keep_probability"), py::arg("stream"))
      .def_static(
          "cross", [](Index width, Index depth, Index rank) { return LayerSpec{nn::CrossNetwork{width, depth, rank}}; },
          py::arg("width"), py::arg("depth"), py::arg("rank"))
      .def_static(
          "factorization_machine", [](Index fields, Index width) { return LayerSpec{nn::FactorizationMachine{fields, width}}; },
          py::arg("fields"), py::arg("width"))
      .def_static(
          "slice", [](Index inputs, Index begin, Index width) { return LayerSpec{nn::Slice{inputs, begin, width}}; },
          py::arg("in_width"), py::arg("begin"), py::arg("width"))
      .def_static(
          "row_sum", [](Index width) { return LayerSpec{nn::RowSum{width}}; }, py::arg("width"))
      .def_static(
          "residual",
          [](Index width, const std::vector<LayerSpec>& layers) { return LayerSpec{nn::Residual(sequential(width, layers))}; },
          py::arg("width"), py::arg("layers"))
      .def_static(
          "parallel",
          [](Index width, const std::vector<LayerSpec>& left, const std::vector<LayerSpec>& right) {
            return LayerSpec{nn::Parallel(sequential(width, left), sequential(width, right))};
          },
          py::arg("width"), py::arg("left"), py::arg("right"));
}

nn::Pooling pooling_named(const std::string& name) {
  if (name == "mean") return nn::Pooling::kMean;
  if (name == "sum") return nn::Pooling::kSum;
  if (name == "sqrt") return nn::Pooling::kSqrtN;
  fail("Input", "pooling is '" + name + "', but must be 'mean', 'sum' or 'sqrt'");
}

void bind_inputs(py::module_& m) {
  py::class_<Input>(m, "Input", "One column's way into a tower's joined vector.")
      .def_static(
          "embedding",
          [](Index column, Index table, Index width, double unknown_share, bool context) {
            return Input{column, table, nn::Embedding{width}, context, unknown_share};
          },
          py::arg("column"), py::arg("table"), py::arg("width"), py::kw_only(), py::arg("unknown_share") = 0.0,
          py::arg("context") = false)
      .def_static(
          "bag",
          [](Index column, Index table, Index width, const std::string& pooling, bool context) {
            return Input{column, table, nn::Bag{width, pooling_named(pooling)}, context};
          },
          py::arg("column"), py::arg("table"), py::arg("width"), py::arg("pooling"), py::kw_only(), py::arg("context") = false)
      .def_static(
          "numeric", [](Index column, Index width, bool context) { return Input{column, -1, nn::Numeric{width}, context}; },
          py::arg("column"), py::arg("width"), py::kw_only(), py::arg("context") = false)
      .def_static(
          "projection",
          [](Index column, Index in_width, Index width, bool context) {
            return Input{column, -1, nn::Projection{in_width, width}, context};
          },
          py::arg("column"), py::arg("in_width"), py::arg("width"), py::kw_only(), py::arg("context") = false)
      .def_static(
          "given", [](Index column, Index width, bool context) { return Input{column, -1, nn::Given{width}, context}; },
          py::arg("column"), py::arg("width"), py::kw_only(), py::arg("context") = false);

  py::class_<EncoderSpec>(m, "SequenceEncoder", "What turns a sequence of vectors into one.")
      .def_static(
          "mean",
          [](Index width, double decay, const std::string& length) {
            static const Kinds<nn::MeanLength> kinds{
                {"mean", nn::MeanLength::kMean}, {"unit", nn::MeanLength::kUnit}, {"root", nn::MeanLength::kRoot}};
            return EncoderSpec{nn::MeanPool{width, decay, named(kinds, length, "SequenceEncoder", "length")}};
          },
          py::arg("width"), py::arg("decay"), py::arg("length"))
      .def_static(
          "attention", [](Index width, Index max_length) { return EncoderSpec{nn::AttentionPool{width, max_length}}; },
          py::arg("width"), py::arg("max_length"))
      .def_static(
          "gru", [](Index width) { return EncoderSpec{nn::Gru{width}}; }, py::arg("width"))
      .def_static(
          "transformer",
          [](Index width, Index heads, Index blocks, Index max_length, double keep_probability, std::uint64_t stream) {
            nn::CausalTransformer made;
            made.width = width;
            made.heads = heads;
            made.blocks = blocks;
            made.max_length = max_length;
            made.keep_probability = keep_probability;
            made.stream = stream;
            return EncoderSpec{made};
          },
          py::arg("width"), py::arg("heads"), py::arg("blocks"), py::arg("max_length"), py::arg("keep_probability"),
          py::arg("stream"));

  py::class_<model::SequenceSpec>(m, "SequenceInput", "A list column or the history, and its way into a tower's joined vector.")
      .def(py::init([](std::optional<Index> column, std::vector<Input> elements, const EncoderSpec& encoder) {
             return model::SequenceSpec{column.value_or(model::SequenceSpec::kHistory), std::move(elements), encoder.encoder};
           }),
           py::arg("column"), py::arg("elements"), py::arg("encoder"));
}

void bind_towers(py::module_& m) {
  py::class_<model::TowerSpec>(m, "Tower", "Inputs and sequences, how they are joined, and the layers above.")
      .def(py::init([](std::vector<Input> inputs, std::vector<model::SequenceSpec> sequences, bool concatenate, Index width,
                       const std::vector<LayerSpec>& layers) {
             return model::TowerSpec{std::move(inputs), concatenate ? Join::kConcatenate : Join::kSum, sequential(width, layers),
                                     std::move(sequences)};
           }),
           py::kw_only(), py::arg("inputs"), py::arg("sequences") = std::vector<model::SequenceSpec>{}, py::arg("concatenate"),
           py::arg("width"), py::arg("layers"));

  py::class_<BoundSide>(m, "SideData", "What a tower reads: features of entities, of interactions, and of what sequences hold.")
      .def(py::init([](const py::object& entities, const py::object& contexts, const py::list& elements) {
             std::vector<const data::FeatureTable*> tables;
             for (const auto& table : elements) tables.push_back(&table.cast<const data::FeatureTable&>());
             return BoundSide{
                 entities, contexts, elements,
                 model::SideData(entities.cast<const data::FeatureTable&>(),
                                 contexts.is_none() ? nullptr : &contexts.cast<const data::FeatureTable&>(), tables)};
           }),
           py::arg("entities"), py::kw_only(), py::arg("contexts") = py::none(), py::arg("elements") = py::list());
}

// --- the model ----------------------------------------------------------------------------------------------------------

using Encode = void (Model::*)(const model::SideData&, const model::TowerRows&, Rows<float>, const Threads&) const;

py::array_t<float> encoded(const Model& self, Encode encode, const BoundSide& side, const model::TowerRows& rows,
                           int num_threads) {
  auto out = new_matrix<float>(std::ssize(rows.entities), self.vector_width());
  auto map = rows_of(out);
  const py::gil_scoped_release release;
  (self.*encode)(side.data, rows, map, Threads(num_threads));
  return out;
}

py::array_t<float> query_vectors(const Model& self, const BoundSide& side, const py::object& rows, const py::object& contexts,
                                 const py::object& history, int num_threads) {
  const auto wanted = vector_of<Row>(rows, "query_vectors", "rows");
  const auto context_rows = optional_vector_of<Row>(contexts, "query_vectors", "contexts").value_or(std::span<const Row>{});
  const data::Histories histories = histories_of(history, wanted.size(), side, "query_vectors");
  return encoded(self, &Model::query_vectors, side, {wanted, context_rows, history.is_none() ? nullptr : &histories},
                 num_threads);
}

py::array_t<float> item_vectors(const Model& self, const BoundSide& side, const py::object& rows, int num_threads) {
  return encoded(self, &Model::item_vectors, side, {vector_of<Row>(rows, "item_vectors", "rows")}, num_threads);
}

py::tuple explain(const Model& self, const BoundSide& users, Row user_row, const BoundSide& items, Row item_row,
                  const std::optional<Row>& context, const py::object& history) {
  data::Histories histories;
  if (!history.is_none()) {
    const auto parts = history.cast<py::tuple>();
    check_size("explain", "size of history", static_cast<Index>(parts.size()), "2, items and weights", 2);
    const auto row_items = vector_of<Row>(parts[0], "explain", "history items");
    const auto weights = optional_vector_of<float>(parts[1], "explain", "history weights").value_or(std::span<const float>{});
    const std::vector<std::int64_t> offsets{0, std::ssize(row_items)};
    const data::ItemLists lists{offsets, row_items, weights};
    lists.check("explain", 1, items.data.entities->rows());
    histories.assign(lists, std::vector<Row>{0}, std::numeric_limits<Index>::max());
  }
  const std::vector<Row> user{user_row}, item{item_row}, context_row(context ? 1 : 0, context.value_or(0));
  const model::Explanation found = [&] {
    const py::gil_scoped_release release;
    return model::explain(self, users.data, {user, context_row, history.is_none() ? nullptr : &histories}, items.data, {item});
  }();
  return py::make_tuple(copy_of<double>(found.query), copy_of<double>(found.item), found.bias,
                        found.query_exact && found.item_exact);
}

void bind_two_tower(py::module_& m) {
  py::class_<Model>(m, "TwoTower", "Two towers and their parameters (float32).")
      .def(py::init([](const model::TowerSpec& query, const model::TowerSpec& item, const TableTuples& tables, double temperature,
                       bool item_bias, Index bias_rows, double deviation, std::uint64_t seed) {
             const model::TwoTowerSpec spec{query, item, table_specs(tables), temperature, item_bias, bias_rows, deviation, seed};
             const py::gil_scoped_release release;
             return std::make_unique<Model>(spec);
           }),
           py::kw_only(), py::arg("query"), py::arg("item"), py::arg("tables"), py::arg("temperature"), py::arg("item_bias"),
           py::arg("bias_rows"), py::arg("deviation"), py::arg("seed"))
      .def_property_readonly("vector_width", &Model::vector_width)
      .def(
          "parameters", [](const Model& self) { return parameters_of(self.parameters()); }, "Copies of all parameters by name.")
      .def(
          "set_parameters",
          [](Model& self, const py::dict& named_arrays, bool grow) { set_parameters(self.parameters(), named_arrays, grow); },
          py::arg("parameters"), py::kw_only(), py::arg("grow") = false)
      .def("query_vectors", &query_vectors, py::arg("data"), py::arg("rows"), py::kw_only(), py::arg("contexts") = py::none(),
           py::arg("history") = py::none(), py::arg("num_threads") = -1)
      .def("item_vectors", &item_vectors, py::arg("data"), py::arg("rows"), py::kw_only(), py::arg("num_threads") = -1);

  m.def("explain", &explain, py::arg("model"), py::arg("users"), py::arg("user_row"), py::arg("items"), py::arg("item_row"),
        py::kw_only(), py::arg("context") = py::none(), py::arg("history") = py::none(),
        "What each part of the user's and of the item's side adds to a score, the item's bias, and whether these are exact "
        "shares.");
}

}  // namespace

py::dict parameters_of(const nn::Parameters<float>& parameters) {
  py::dict named_arrays;
  named_arrays["arena"] = copy_of<float>(parameters.arena);
  for (const auto& table : parameters.tables) {
    auto values = new_matrix<float>(table.values.rows(), table.values.cols());
    rows_of(values) = table.values;
    named_arrays[py::str("table." + table.name)] = values;
  }
  return named_arrays;
}

void set_parameters(nn::Parameters<float>& parameters, const py::dict& named_arrays, bool grow) {
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
    if (grow)
      check_at_least("set_parameters", "rows of " + name + " in the model", table.values.rows(), tables.back().rows());
    else
      check_size("set_parameters", "rows of " + name, tables.back().rows(), "the model's", table.values.rows());
    check_size("set_parameters", "columns of " + name, tables.back().cols(), "the model's", table.values.cols());
  }
  std::copy(arena.begin(), arena.end(), parameters.arena.begin());
  for (std::size_t k = 0; k < tables.size(); ++k) nn::take_known_rows(parameters.tables[k].values, tables[k]);
}

void bind_model(py::module_& m) {
  bind_layers(m);
  bind_inputs(m);
  bind_towers(m);
  bind_two_tower(m);
}

}  // namespace twotower::bindings
