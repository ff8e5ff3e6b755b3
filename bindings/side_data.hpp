#pragma once
// What bind_model and bind_train share: a side's tables with the Python objects that own them, and lists of items.
#include <pybind11/pybind11.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <vector>

#include "numpy.hpp"
#include "twotower/data/histories.hpp"
#include "twotower/model/tower.hpp"

namespace twotower::bindings {

/// A SideData and what keeps its tables alive.
struct BoundSide {
  py::object entities, contexts;
  py::list elements;
  model::SideData data;
};

/// Views of (offsets int64, items int32, weights float32 or None); the caller keeps the tuple alive.
inline data::ItemLists item_lists(const py::object& lists, const char* function, const std::string& name) {
  if (!py::isinstance<py::tuple>(lists) || py::len(lists) != 3)
    throw py::type_error(std::string(function) + ": " + name + " is " + describe(lists) +
                         ", but must be a tuple of offsets, items and weights or None");
  const auto parts = lists.cast<py::tuple>();
  return {vector_of<std::int64_t>(parts[0], function, (name + " offsets").c_str()),
          vector_of<Row>(parts[1], function, (name + " items").c_str()),
          optional_vector_of<float>(parts[2], function, (name + " weights").c_str()).value_or(std::span<const float>{})};
}

/// Histories of one reader each, or none.
inline data::Histories histories_of(const py::object& history, std::size_t count, const BoundSide& side, const char* function) {
  data::Histories made;
  if (history.is_none()) return made;
  const data::ItemLists lists = item_lists(history, function, "history");
  Index items = 0;
  for (const data::FeatureTable* table : side.data.elements) items = std::max(items, table->rows());
  lists.check(function, static_cast<Index>(count), items);
  std::vector<Row> all(count);
  std::iota(all.begin(), all.end(), Row{0});
  made.assign(lists, all, std::numeric_limits<Index>::max());
  return made;
}

}  // namespace twotower::bindings
